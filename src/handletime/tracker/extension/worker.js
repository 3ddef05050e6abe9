// The worker: hears the pages, keeps what it knows, sends. It may be ended at any moment, and nothing keeps it alive.
import { ask } from "./asking.js";
import { jumped } from "./clock.js";
import { closed, heard, idled, newScreen, paused, restarted } from "./focus.js";
import { answered, newOutbox, next, put } from "./sending.js";
import { readSettings } from "./settings.js";

/** @typedef {import("./focus.js").Move} Move */
/** @typedef {import("./focus.js").Screen} Screen */
/** @typedef {import("./sending.js").Outbox} Outbox */
/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {{ screen: Screen, outbox: Outbox, off: boolean, settings: Settings }} Known */

/** @type {Known} */
let known;
/** @type {{ clock: number, steady: number } | null} */
let clocks = null;
let sending = false;
let shownState = "";

const ready = begin();

// One thing after the other, each with what the one before left.
/** @type {Promise<unknown>} */
let line = ready;

/**
 * @template T
 * @param {() => T | Promise<T>} what
 * @returns {Promise<T>}
 */
function inTurn(what) {
  const done = line.then(what);
  line = done.catch((error) => console.error(error));
  return done;
}

async function begin() {
  const [kept, session, settings] = await Promise.all([
    chrome.storage.local.get(["screen", "outbox", "off"]),
    chrome.storage.session.get("running"),
    readSettings(),
  ]);
  known = {
    screen: /** @type {Screen} */ (kept["screen"] ?? newScreen()),
    outbox: /** @type {Outbox} */ (kept["outbox"] ?? newOutbox(aName())),
    off: kept["off"] === true,
    settings,
  };
  chrome.idle.setDetectionInterval(settings.idleSeconds);
  if (!session["running"]) {
    // A browser that was started anew, or an extension that was loaded anew.
    noted(restarted(known.screen));
    // A profile may have been copied to many machines: each goes on under a name of its own.
    known.outbox.installation = aName();
    known.outbox.clock = null;
    known.screen.idle = (await chrome.idle.queryState(settings.idleSeconds)) !== "active";
    await keep(true);
    await chrome.storage.session.set({ running: true });
  }
  known.screen.paused = halted();
  show();
}

function aName() {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 16);
}

/**
 * Whether a page's word is one: a page is less to be trusted than the extension.
 * @param {import("./focus.js").Word} word
 */
function isWord({ page, number, at, conversation }) {
  const named = conversation === null || (typeof conversation === "string" && /^.{1,128}$/.test(conversation));
  return named && typeof page === "string" && Number.isInteger(number) && Number.isFinite(at) && at < Date.now() + 60_000;
}

/** Nothing is watched where the agent paused it, or where nobody has said who the agent is. */
function halted() {
  return known.off || !known.settings.key || !known.settings.server || !known.settings.account;
}

/**
 * @param {Move[]} moves
 * @returns {boolean} whether there were any
 */
function noted(moves) {
  for (const move of moves) put(known.outbox, move);
  return moves.length > 0;
}

/** @param {boolean} all also what waits to be sent, which may be much */
function keep(all) {
  const { screen, outbox, off } = known;
  /** @type {Record<string, unknown>} */
  const values = all ? { screen, outbox, off } : { screen };
  return chrome.storage.local.set(values);
}

/** @param {Move[]} moves */
async function moved(moves) {
  watchClock();
  await keep(noted(moves));
  show();
  void send();
}

// Where the clock was set, what was measured of it is worth nothing.
function watchClock() {
  const now = { clock: Date.now(), steady: performance.now() };
  if (jumped(clocks, now)) known.outbox.clock = null;
  clocks = now;
}

async function send() {
  if (sending) return;
  sending = true;
  try {
    while (!(known.settings.key === "")) {
      const events = await inTurn(async () => {
        const found = next(known.outbox, Date.now());
        if (found) await keep(true);
        return found;
      });
      if (!events) break;
      const where = known.settings;
      const answer = await ask(where, events, false);
      await inTurn(async () => {
        // An answer to another key, or from another server, says nothing about this one.
        if (where.key !== known.settings.key || where.server !== known.settings.server || where.account !== known.settings.account) return;
        answered(known.outbox, events, answer);
        await keep(true);
        show();
      });
    }
  } finally {
    sending = false;
  }
}

function state() {
  if (known.off) return "paused";
  if (halted() || known.outbox.trouble) return "error";
  if (known.screen.idle) return "idle";
  return known.screen.focus ? "on" : "off";
}

/** @type {Record<string, string>} */
const TITLES = {
  on: "handletime: a conversation is on the screen",
  off: "handletime: no conversation is on the screen",
  idle: "handletime: you are away, nothing counts",
  paused: "handletime: paused. Click to go on",
};

function show() {
  const now = state();
  const title =
    TITLES[now] ?? `handletime: ${halted() ? "not set up yet; open its options" : known.outbox.trouble}`;
  if (`${now} ${title}` === shownState) return;
  shownState = `${now} ${title}`;
  void chrome.action.setIcon({ path: { 16: `icons/${now}-16.png`, 32: `icons/${now}-32.png` } });
  void chrome.action.setTitle({ title });
}

chrome.runtime.onMessage.addListener((message, sender, reply) => {
  const tab = sender.tab?.id;
  if (sender.id !== chrome.runtime.id) return false;
  const answer =
    message?.tell === "shows" && tab !== undefined && isWord(message.word ?? {})
      ? inTurn(() => word({ ...message.word, tab }))
      : message?.tell === "options" && sender.url?.startsWith(chrome.runtime.getURL(""))
        ? inTurn(() => options(message))
        : null;
  if (!answer) return false;
  answer.then(reply, () => reply(null));
  return true;
});

/** @param {import("./focus.js").Word} said */
async function word(said) {
  const { screen, settings } = known;
  if (screen.idle && (await chrome.idle.queryState(settings.idleSeconds)) === "active") {
    noted(idled(screen, false, said.at, settings.mode));
  }
  await moved(heard(screen, said, settings.mode));
  return { pattern: settings.ownPattern };
}

/** @param {{ off?: boolean, forget?: boolean }} message */
async function options(message) {
  if (message.forget) {
    known.outbox.waiting = [];
    await keep(true);
  }
  if (message.off !== undefined) await pause(message.off);
  const { outbox, screen } = known;
  return {
    state: state(),
    trouble: halted() && !known.off ? "" : outbox.trouble,
    off: known.off,
    waiting: outbox.waiting.length,
    lost: outbox.lost,
    conversation: screen.focus?.conversation ?? null,
    told: outbox.told,
  };
}

/** @param {boolean} off */
async function pause(off) {
  known.off = off;
  const moves = paused(known.screen, halted(), Date.now(), known.settings.mode);
  noted(moves);
  await keep(true);
  await moved([]);
}

chrome.action.onClicked.addListener(() => void inTurn(() => pause(!known.off)));

chrome.tabs.onRemoved.addListener((tab) => {
  const at = Date.now();
  void inTurn(() => moved(closed(known.screen, tab, at, known.settings.mode)));
});

chrome.idle.onStateChanged.addListener((now) => {
  const at = Date.now();
  void inTurn(() => moved(idled(known.screen, now !== "active", at, known.settings.mode)));
});

// Has to be there from the first moment on: what is kept besides is written by this worker.
chrome.storage.onChanged.addListener((changes, area) => {
  if (area === "managed" || (area === "local" && changes["settings"])) void inTurn(resettled);
});

async function resettled() {
  const before = known.settings;
  known.settings = await readSettings();
  chrome.idle.setDetectionInterval(known.settings.idleSeconds);
  const now = Date.now();
  const { key, server, account } = known.settings;
  let moves = /** @type {Move[]} */ ([]);
  if (key !== before.key || server !== before.server || account !== before.account) {
    // What was on the screen belongs to the key that was there; the next one begins anew.
    moves = paused(known.screen, true, now, before.mode);
    known.outbox.clock = null;
    known.outbox.notBefore = 0;
    known.outbox.trouble = "";
  }
  moves = [...moves, ...paused(known.screen, halted(), now, known.settings.mode)];
  noted(moves);
  await keep(true);
  await moved([]);
}

chrome.runtime.onInstalled.addListener(({ reason }) => {
  void inTurn(() => {
    if (reason === "install" && halted()) void chrome.runtime.openOptionsPage();
  });
});

// Only so that the browser starts the worker with itself, and what ended with the last one is told.
chrome.runtime.onStartup.addListener(() => void inTurn(() => moved([])));

void ready.then(send);
