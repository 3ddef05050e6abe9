// What `handletime tracker build` was told. This file is written by it; here stands what it looks like.

/** @type {{ server: string, account: string, key: string, mode: "visible" | "strict", idleSeconds: number }} */
export const BUILT = { server: "", account: "", key: "", mode: "visible", idleSeconds: 120 };
