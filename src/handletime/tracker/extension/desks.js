// Which conversation an address shows. Pure; nothing of an address leaves this file but the id.

/** @typedef {{ origin: string, kind: string, pattern?: string }} Desk */

export const MOST_ID = 128;

// The whole path (Zammad: the whole fragment), so that an address which only looks alike shows nothing.
/** @type {Record<string, { part: "pathname" | "hash", patterns: RegExp[] }>} */
export const KINDS = {
  chatwoot: {
    part: "pathname",
    patterns: [
      /^\/app\/accounts\/\d+\/(?:(?:inbox|label|team|custom_view)\/[^/]+\/|(?:mentions|unattended|participating)\/)?conversations\/(\d+)\/?$/,
      /^\/app\/accounts\/\d+\/inbox-view\/conversation\/(\d+)\/?$/,
    ],
  },
  zendesk: { part: "pathname", patterns: [/^\/agent\/tickets\/(\d+)\/?$/] },
  rocketchat: {
    part: "pathname",
    // Behind the id may stand the tab of the bar beside the conversation.
    patterns: [/^\/live\/([^/]+)(?:\/[^/]+)*\/?$/, /^\/omnichannel\/current\/([^/]+)(?:\/[^/]+)*\/?$/],
  },
  intercom: { part: "pathname", patterns: [/^\/a\/(?:[^/]+\/)+conversation\/(\d+)\/?$/] },
  zammad: { part: "hash", patterns: [/^#ticket\/zoom\/(\d+)(?:\/\d+)?\/?$/] },
  freshdesk: { part: "pathname", patterns: [/^\/a\/tickets\/(\d+)\/?$/] },
  front: { part: "pathname", patterns: [/^(?:\/[^/]+)*\/open\/(cnv_[0-9a-z]+)\/?$/] },
};

/**
 * The id of the conversation that an address shows, or null.
 * @param {Desk[]} desks
 * @param {string} address
 * @param {string} [ownPattern] an expression in the place of the desks' own ones
 * @returns {string | null}
 */
export function conversationAt(desks, address, ownPattern) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  const desk = desks.find((each) => each.origin === url.origin);
  if (!desk) return null;
  if (desk.kind === "own") {
    const expression = compiled(ownPattern || desk.pattern || "");
    return idOf(expression && expression.exec(url.pathname + url.search + url.hash));
  }
  const kind = KINDS[desk.kind];
  if (!kind) return null;
  for (const pattern of kind.patterns) {
    const id = idOf(pattern.exec(url[kind.part]));
    if (id !== null) return id;
  }
  return null;
}

/**
 * An expression of the user's, which has to match the whole of path, query and fragment; null where it is none.
 * @param {string} pattern
 * @returns {RegExp | null}
 */
export function compiled(pattern) {
  const groups = groupsOf(pattern);
  return groups === 1 ? new RegExp(`^(?:${pattern})$`) : null;
}

/**
 * How many groups an expression has; null where it does not compile.
 * @param {string} pattern
 * @returns {number | null}
 */
export function groupsOf(pattern) {
  try {
    new RegExp(pattern);
    const empty = new RegExp(`${pattern}|`).exec("");
    return empty ? empty.length - 1 : null;
  } catch {
    return null;
  }
}

/**
 * @param {RegExpExecArray | null} found
 * @returns {string | null}
 */
function idOf(found) {
  if (!found || !found[1]) return null;
  let id;
  try {
    id = decodeURIComponent(found[1]);
  } catch {
    return null;
  }
  // eslint-disable-next-line no-control-regex
  return id.length <= MOST_ID && id.isWellFormed() && !/[\u0000-\u001f\u007f-\u009f]/.test(id) ? id : null;
}
