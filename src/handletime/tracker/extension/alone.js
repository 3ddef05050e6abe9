// What the scripts in pages share: one page is watched and sends by itself, without an extension.
//
// Who may read a page may read its scripts. So there is no key in this one, and no list of agents and keys either: each
// agent enters their own key once, in a small box, and it stays in this browser. It can still be read by whatever else
// runs in the page. Prefer the extension.
import { ask, addressOf } from "./asking.js";
import { heard, idled, newScreen, paused } from "./focus.js";
import { answered, newOutbox, next, put } from "./sending.js";
import { BUILT } from "./config.js";

/** @typedef {import("./focus.js").Word} Word */
/** @typedef {import("./focus.js").Move} Move */
/** @typedef {import("./sending.js").Outbox} Outbox */
/** @typedef {{ waiting: import("./sending.js").Waiting[], clock: import("./clock.js").Measured | null, at: number }} Kept */

const KEY = "handletime-focus-key";
const QUEUE = "handletime-focus-queue";
const INPUTS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"];
const IDLE_LOOK_MS = 1_000;
const FRESH_MS = 60_000;

/**
 * One page's part: it hears its own words and those of the other pages of this origin, and tells the moves of its own.
 * @returns {{ word: (word: Word) => void, leave: () => void }}
 */
export function alone() {
  const screen = newScreen();
  const installation = `p${Math.random().toString(36).slice(2, 12)}${Date.now().toString(36)}`;
  const outbox = newOutbox(installation);
  /** @type {Set<string>} */
  const own = new Set();
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("handletime-focus") : null;
  let sending = false;
  let stored = false;
  let touched = performance.now();

  /** @param {Move[]} moves */
  const noted = (moves) => {
    const mine = moves.filter((move) => own.has(move.page));
    if (mine.length) {
      take();
      for (const move of mine) put(outbox, move);
      keep();
    }
    void send();
  };

  // What waits is shared by the pages of this origin; whoever has time sends it.
  const take = () => {
    try {
      const kept = /** @type {Kept} */ (JSON.parse(localStorage.getItem(QUEUE) ?? "null"));
      if (!kept) return;
      // A page that has asked the server for the time has asked for all of them.
      if (!outbox.clock && Math.abs(Date.now() - kept.at) < FRESH_MS) outbox.clock = kept.clock;
      const ids = new Set(kept.waiting.map((each) => each.event.eventId));
      outbox.waiting = [...kept.waiting, ...(stored ? [] : outbox.waiting.filter((each) => !ids.has(each.event.eventId)))];
    } catch {
      // No storage: what waits stays with this page.
    }
  };
  const keep = () => {
    try {
      /** @type {Kept} */
      const kept = { waiting: outbox.waiting, clock: outbox.clock, at: Date.now() };
      localStorage.setItem(QUEUE, JSON.stringify(kept));
      stored = true;
    } catch {
      stored = false;
    }
  };

  const key = () => {
    try {
      return localStorage.getItem(KEY) ?? "";
    } catch {
      return "";
    }
  };

  const send = () => {
    if (sending || !key()) return;
    sending = true;
    const done = () => {
      sending = false;
    };
    if (navigator.locks) return navigator.locks.request(QUEUE, { ifAvailable: true }, (lock) => (lock ? deliver() : undefined)).then(done, done);
    return deliver().then(done, done);
  };

  const deliver = async () => {
    for (;;) {
      take();
      const events = next(outbox, Date.now());
      if (!events) return;
      keep();
      const answer = await ask({ server: BUILT.server, account: BUILT.account, key: key() }, events, true);
      take();
      answered(outbox, events, answer);
      keep();
      if (answer.status === 401 || answer.status === 403) askForKey(outbox.trouble);
    }
  };

  channel?.addEventListener("message", ({ data }) => noted(heard(screen, data, BUILT.mode)));

  for (const name of INPUTS) {
    addEventListener(name, () => (touched = performance.now()), { capture: true, passive: true });
  }
  setInterval(() => {
    const idle = performance.now() - touched >= BUILT.idleSeconds * 1000;
    if (idle !== screen.idle) noted(idled(screen, idle, Date.now(), BUILT.mode));
  }, IDLE_LOOK_MS);

  if (!key()) {
    noted(paused(screen, true, Date.now(), BUILT.mode));
    askForKey("");
  }

  /** @param {string} why */
  function askForKey(why) {
    if (document.getElementById(KEY)) return;
    const box = document.createElement("form");
    box.id = KEY;
    box.style.cssText = "position:fixed;right:1rem;bottom:1rem;z-index:2147483647;padding:.75rem;background:Canvas;color:CanvasText;border:1px solid;border-radius:.25rem;font:14px system-ui;color-scheme:light dark";
    const label = document.createElement("label");
    const input = document.createElement("input");
    const save = document.createElement("button");
    input.type = "password";
    input.autocomplete = "off";
    label.append(`${why} Your handletime key: `.trimStart(), input);
    save.textContent = "Save";
    box.append(label, " ", save);
    box.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!/^ht_\w+_\w+$/.test(input.value.trim())) return input.focus();
      localStorage.setItem(KEY, input.value.trim());
      box.remove();
      outbox.notBefore = 0;
      outbox.trouble = "";
      noted(paused(screen, false, Date.now(), BUILT.mode));
    });
    const place = () => document.body.append(box);
    if (document.body) place();
    else addEventListener("DOMContentLoaded", place, { once: true });
  }

  return {
    word: (word) => {
      own.add(word.page);
      channel?.postMessage(word);
      noted(heard(screen, word, BUILT.mode));
    },
    leave: () => {
      // The page may be gone before an answer comes: what was taken is sent once more by the next one, which does no harm.
      const events = key() ? (take(), next(outbox, Date.now())) : null;
      if (!events?.length) return;
      keep();
      const body = new Blob([JSON.stringify({ key: key(), events })], { type: "text/plain" });
      navigator.sendBeacon(addressOf(BUILT.server, BUILT.account), body);
    },
  };
}
