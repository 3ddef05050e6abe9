// Whose turn it is on the screen: pages say what they show, one of them has the focus, and each move becomes an event.
// Pure: it is given the time, and gives events.

/**
 * What a page says. `number` counts the words of one page: they may overtake each other.
 * @typedef {object} Word
 * @property {string} page
 * @property {number} number
 * @property {number} at
 * @property {string | null} conversation
 * @property {boolean} visible
 * @property {boolean} keyboard
 * @property {boolean} [gone]
 * @property {number} [tab]
 */

/**
 * @typedef {object} Page
 * @property {number} number
 * @property {number} spokeAt
 * @property {string | null} conversation
 * @property {boolean} visible
 * @property {boolean} keyboard
 * @property {number} keyboardAt when it last had the keyboard; 0: never
 * @property {boolean} gone
 * @property {number} tab
 */

/** @typedef {{ conversation: string, page: string, spokeAt: number, leasedAt: number }} Focus */
/** @typedef {{ type: "focused" | "unfocused", conversationId: string, time: number, leaseMillis?: number, page: string }} Move */
/** @typedef {"visible" | "strict"} Mode */

/**
 * @typedef {object} Screen
 * @property {Record<string, Page>} pages
 * @property {Focus | null} focus
 * @property {boolean} idle
 * @property {boolean} paused
 * @property {number} lastTime of the last move
 */

export const LEASE_MS = 45_000;
export const RENEW_MS = 30_000;
export const SILENCE_MS = 25_000;
// Pages that went are remembered for so long, so that a word of theirs that comes late does not bring them back.
const FORGET_MS = 600_000;

/** @returns {Screen} */
export function newScreen() {
  return { pages: {}, focus: null, idle: false, paused: false, lastTime: 0 };
}

/**
 * A page has spoken.
 * @param {Screen} screen is changed
 * @param {Word} word
 * @param {Mode} mode
 * @returns {Move[]}
 */
export function heard(screen, word, mode) {
  const before = screen.pages[word.page];
  if (before && (before.gone || word.number <= before.number)) return [];
  const moves = silence(screen, word.at);
  const tab = word.tab ?? -1;
  // A page that is loaded anew in a tab goes on from the one before.
  const inTab = Object.values(screen.pages).filter((each) => tab >= 0 && each.tab === tab);
  const had = before ? before.keyboardAt : Math.max(0, ...inTab.map((each) => each.keyboardAt));
  const keeps = word.keyboard || (before !== undefined && before.keyboard);
  screen.pages[word.page] = {
    number: word.number,
    spokeAt: word.at,
    conversation: word.conversation,
    visible: word.visible && !word.gone,
    keyboard: word.keyboard && !word.gone,
    keyboardAt: keeps ? word.at : had,
    gone: word.gone === true,
    tab,
  };
  if (word.keyboard && !word.gone) {
    // There is one keyboard, also where the word of who lost it is still on its way.
    for (const [name, page] of Object.entries(screen.pages)) {
      if (name !== word.page && page.spokeAt <= word.at) page.keyboard = false;
    }
  }
  return [...moves, ...decided(screen, word.at, mode)];
}

/**
 * A tab was closed.
 * @param {Screen} screen is changed
 * @param {number} tab
 * @param {number} at
 * @param {Mode} mode
 * @returns {Move[]}
 */
export function closed(screen, tab, at, mode) {
  const moves = silence(screen, at);
  for (const page of Object.values(screen.pages)) if (page.tab === tab) left(page);
  return [...moves, ...decided(screen, at, mode)];
}

/**
 * The agent is idle (or the screen locked), or there again.
 * @param {Screen} screen is changed
 * @param {boolean} idle
 * @param {number} at
 * @param {Mode} mode
 * @returns {Move[]}
 */
export function idled(screen, idle, at, mode) {
  const moves = silence(screen, at);
  screen.idle = idle;
  return [...moves, ...decided(screen, at, mode)];
}

/**
 * Nothing is to be told, or everything again.
 * @param {Screen} screen is changed
 * @param {boolean} off
 * @param {number} at
 * @param {Mode} mode
 * @returns {Move[]}
 */
export function paused(screen, off, at, mode) {
  const moves = silence(screen, at);
  screen.paused = off;
  return [...moves, ...decided(screen, at, mode)];
}

/**
 * The browser was started anew: what was on the screen ended when it last spoke.
 * @param {Screen} screen is changed
 * @returns {Move[]}
 */
export function restarted(screen) {
  const moves = ended(screen);
  screen.pages = {};
  screen.idle = false;
  return moves;
}

/** @param {Page} page */
function left(page) {
  page.gone = true;
  page.visible = false;
  page.keyboard = false;
}

/**
 * After silence, or where the clock was set back, the focus ended when its page last spoke.
 * @param {Screen} screen
 * @param {number} at
 */
function silence(screen, at) {
  const moves = screen.focus && Math.abs(at - screen.focus.spokeAt) > SILENCE_MS ? ended(screen) : [];
  if (at < screen.lastTime - SILENCE_MS) screen.lastTime = 0;
  for (const [name, page] of Object.entries(screen.pages)) {
    if (Math.abs(at - page.spokeAt) > FORGET_MS) delete screen.pages[name];
  }
  return moves;
}

/**
 * @param {Screen} screen
 * @returns {Move[]}
 */
function ended(screen) {
  const focus = screen.focus;
  if (!focus) return [];
  screen.focus = null;
  return [{ type: "unfocused", conversationId: focus.conversation, time: inOrder(screen, focus.spokeAt), page: focus.page }];
}

/**
 * Moves the focus to where it belongs now, and renews its lease.
 * @param {Screen} screen
 * @param {number} at
 * @param {Mode} mode
 * @returns {Move[]}
 */
function decided(screen, at, mode) {
  const name = screen.idle || screen.paused ? null : chosen(screen, at, mode);
  const focus = screen.focus;
  if (name === null) {
    if (focus) focus.spokeAt = Math.max(focus.spokeAt, at);
    return ended(screen);
  }
  const page = screen.pages[name];
  const conversation = /** @type {string} */ (page?.conversation);
  const spokeAt = Math.max(page?.spokeAt ?? 0, focus && focus.page === name ? focus.spokeAt : 0);
  if (focus && focus.conversation === conversation) {
    focus.page = name;
    focus.spokeAt = Math.max(focus.spokeAt, spokeAt);
    if (focus.spokeAt - focus.leasedAt < RENEW_MS) return [];
    focus.leasedAt = inOrder(screen, focus.spokeAt);
    return [focused(focus)];
  }
  const time = inOrder(screen, at);
  screen.focus = { conversation, page: name, spokeAt: time, leasedAt: time };
  return [focused(screen.focus)];
}

/**
 * @param {Focus} focus
 * @returns {Move}
 */
function focused(focus) {
  return { type: "focused", conversationId: focus.conversation, time: focus.leasedAt, leaseMillis: LEASE_MS, page: focus.page };
}

/**
 * The visible page with a conversation that has the keyboard, or had it last.
 * @param {Screen} screen
 * @param {number} at
 * @param {Mode} mode
 * @returns {string | null}
 */
function chosen(screen, at, mode) {
  const may = Object.entries(screen.pages).filter(
    ([, page]) =>
      page.visible &&
      page.conversation !== null &&
      Math.abs(at - page.spokeAt) <= SILENCE_MS &&
      (mode === "visible" || page.keyboard),
  );
  may.sort(
    ([, a], [, b]) =>
      Number(b.keyboard) - Number(a.keyboard) || b.keyboardAt - a.keyboardAt || b.spokeAt - a.spokeAt,
  );
  return may[0]?.[0] ?? null;
}

/**
 * No move is told as earlier than one that was told before it.
 * @param {Screen} screen
 * @param {number} at
 */
function inOrder(screen, at) {
  screen.lastTime = Math.max(screen.lastTime, at);
  return screen.lastTime;
}
