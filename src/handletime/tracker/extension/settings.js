// What holds: the company's settings before the agent's own, and those before what was built in.
import { BUILT } from "./config.js";

/** @typedef {{ server: string, account: string, key: string, mode: "visible" | "strict", idleSeconds: number, ownPattern: string }} Settings */

export const LEAST_IDLE_S = 15;

/**
 * @param {Record<string, unknown>} managed
 * @param {Record<string, unknown>} own
 * @returns {Settings}
 */
export function settled(managed, own) {
  const pick = (/** @type {string} */ name) => managed[name] ?? own[name];
  const text = (/** @type {string} */ name, /** @type {string} */ otherwise) => {
    const value = pick(name);
    return typeof value === "string" && value !== "" ? value : otherwise;
  };
  const idle = Number(pick("idleSeconds") ?? BUILT.idleSeconds);
  return {
    server: text("server", BUILT.server),
    account: text("account", BUILT.account),
    key: text("key", BUILT.key),
    mode: text("mode", BUILT.mode) === "strict" ? "strict" : "visible",
    idleSeconds: Number.isFinite(idle) ? Math.max(LEAST_IDLE_S, Math.round(idle)) : BUILT.idleSeconds,
    ownPattern: text("ownPattern", ""),
  };
}

/**
 * What the company has set, which nobody else can change. Empty where there is nothing.
 * @returns {Promise<Record<string, unknown>>}
 */
export async function managedSettings() {
  try {
    return await chrome.storage.managed.get();
  } catch {
    return {};
  }
}

/** @returns {Promise<Settings>} */
export async function readSettings() {
  const [managed, { settings }] = await Promise.all([managedSettings(), chrome.storage.local.get("settings")]);
  return settled(managed, /** @type {Record<string, unknown>} */ (settings ?? {}));
}
