// Asks the server.

/** @typedef {import("./sending.js").Answer} Answer */
/** @typedef {import("./sending.js").FocusEvent} FocusEvent */

const PATIENCE_MS = 20_000;

/**
 * The address that takes an account's moves of focus.
 * @param {string} server
 * @param {string} account
 */
export function addressOf(server, account) {
  return `${server.replace(/\/+$/, "")}/api/account/${encodeURIComponent(account)}/focus`;
}

/**
 * One request and its answer; never throws. `simple`: as text/plain, with the key in the body, which asks no
 * permission before (for pages), and goes on when the page is left.
 * @param {{ server: string, account: string, key: string }} where
 * @param {FocusEvent[]} events
 * @param {boolean} simple
 * @returns {Promise<Answer>}
 */
export async function ask(where, events, simple) {
  const began = performance.now();
  try {
    const response = await fetch(addressOf(where.server, where.account), {
      method: "POST",
      headers: simple
        ? { "Content-Type": "text/plain" }
        : { "Content-Type": "application/json", Authorization: `Bearer ${where.key}` },
      body: JSON.stringify(simple ? { key: where.key, events } : events),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
      keepalive: simple,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const [received, roundTrip] = [Date.now(), performance.now() - began];
    const body = await response.json().catch(() => null);
    return { status: response.status, body, retryAfter: response.headers.get("Retry-After"), received, roundTrip };
  } catch {
    return { status: 0, body: null, retryAfter: null, received: Date.now(), roundTrip: performance.now() - began };
  }
}
