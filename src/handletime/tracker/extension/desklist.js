// The desks that `handletime tracker build` was told. This file is written by it; here stands what it looks like.

/** @type {import("./desks.js").Desk[]} */
export const DESKS = [];
