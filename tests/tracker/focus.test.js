// Whose turn it is on the screen (sources of focus, rules 1 to 4), with the time given.
import assert from "node:assert/strict";
import test from "node:test";
import { LEASE_MS, closed, heard, idled, newScreen, paused, restarted } from "../../src/handletime/tracker/extension/focus.js";

/** A desk of made-up pages. */
function desk(mode = "visible") {
  const screen = newScreen();
  const numbers = {};
  const moves = [];
  const note = (more) => {
    moves.push(...more);
    return more.map(({ type, conversationId, time }) => `${type} ${conversationId} ${time}`);
  };
  return {
    screen,
    moves,
    say: (page, at, conversation, { visible = true, keyboard = visible, gone = false, number, tab } = {}) => {
      numbers[page] = number ?? (numbers[page] ?? 0) + 1;
      return note(heard(screen, { page, number: numbers[page], at, conversation, visible, keyboard, gone, tab }, mode));
    },
    idle: (at, idle) => note(idled(screen, idle, at, mode)),
    pause: (at, off) => note(paused(screen, off, at, mode)),
    close: (at, tab) => note(closed(screen, tab, at, mode)),
    restart: () => note(restarted(screen)),
  };
}

test("from conversation to conversation is one event", () => {
  const { say } = desk();
  assert.deepEqual(say("a", 1000, "1"), ["focused 1 1000"]);
  assert.deepEqual(say("a", 2000, "2"), ["focused 2 2000"]);
  assert.deepEqual(say("a", 3000, null), ["unfocused 2 3000"]);
  assert.deepEqual(say("a", 4000, null), []);
});

test("another tab over it, or a page that is left, ends the focus", () => {
  const { say } = desk();
  say("a", 1000, "1");
  assert.deepEqual(say("a", 2000, "1", { visible: false }), ["unfocused 1 2000"]);
  assert.deepEqual(say("a", 3000, "1"), ["focused 1 3000"]);
  assert.deepEqual(say("a", 4000, null, { gone: true, visible: false }), ["unfocused 1 4000"]);
  assert.deepEqual(say("a", 4001, "1"), ["focused 1 4001"].slice(1), "a page that went does not come back by a late word");
});

test("of two windows the one with the keyboard has the focus, or had it last", () => {
  const { say } = desk();
  say("a", 1000, "1");
  assert.deepEqual(say("b", 2000, "2"), ["focused 2 2000"]);
  assert.deepEqual(say("a", 2001, "1", { keyboard: false }), []);
  assert.deepEqual(say("b", 3000, "2", { keyboard: false }), [], "another program has the keyboard");
  assert.deepEqual(say("a", 4000, "1"), ["focused 1 4000"]);
  assert.deepEqual(say("a", 5000, "1", { visible: false }), ["focused 2 5000"], "b is still on the screen");
});

test("strict: only with the keyboard", () => {
  const { say } = desk("strict");
  assert.deepEqual(say("a", 1000, "1"), ["focused 1 1000"]);
  assert.deepEqual(say("a", 2000, "1", { keyboard: false }), ["unfocused 1 2000"]);
});

test("idle or locked ends it at that moment, and active begins it again", () => {
  const { say, idle } = desk();
  say("a", 1000, "1");
  assert.deepEqual(idle(9000, true), ["unfocused 1 9000"]);
  assert.deepEqual(say("a", 11_000, "1"), []);
  assert.deepEqual(idle(12_000, false), ["focused 1 12000"]);
});

test("paused, nothing is told, and what is on the screen begins anew afterwards", () => {
  const { say, pause } = desk();
  say("a", 1000, "1");
  assert.deepEqual(pause(2000, true), ["unfocused 1 2000"]);
  assert.deepEqual(say("a", 3000, "2"), []);
  assert.deepEqual(pause(4000, false), ["focused 2 4000"]);
});

test("a lease is renewed after 30 s of one view", () => {
  const { say, moves } = desk();
  for (let at = 0; at <= 100_000; at += 10_000) say("a", at, "1");
  assert.deepEqual(moves.map((move) => move.time), [0, 30_000, 60_000, 90_000]);
  assert.ok(moves.every((move) => move.type === "focused" && move.leaseMillis === LEASE_MS));
});

test("after silence the focus ended when the page last spoke, told late", () => {
  const { say } = desk();
  say("a", 0, "1");
  say("a", 10_000, "1");
  assert.deepEqual(say("a", 3_600_000, "1"), ["unfocused 1 10000", "focused 1 3600000"]);
});

test("silence is noticed whoever speaks first", () => {
  for (const first of [(d) => d.idle(90_000, true), (d) => d.close(90_000, 7), (d) => d.say("b", 90_000, null)]) {
    const d = desk();
    d.say("a", 0, "1", { tab: 7 });
    assert.deepEqual(first(d), ["unfocused 1 0"]);
  }
});

test("25 s of silence are none yet", () => {
  const { say } = desk();
  say("a", 0, "1");
  assert.deepEqual(say("a", 25_000, "1"), []);
});

test("a browser that was started anew ends what the last one had", () => {
  const { say, restart, screen } = desk();
  say("a", 0, "1");
  say("a", 10_000, "1");
  assert.deepEqual(restart(), ["unfocused 1 10000"]);
  assert.deepEqual(screen.pages, {});
});

test("a closed tab ends its focus, and the one beside it gets it", () => {
  const { say, close } = desk();
  say("b", 500, "2", { tab: 2 });
  say("a", 1000, "1", { tab: 1 });
  assert.deepEqual(close(2000, 1), ["focused 2 2000"]);
});

test("words that overtake each other", () => {
  const { say } = desk();
  say("a", 1000, "1", { number: 1 });
  assert.deepEqual(say("a", 3000, "3", { number: 3 }), ["focused 3 3000"]);
  assert.deepEqual(say("a", 2000, "2", { number: 2 }), []);
  assert.deepEqual(say("b", 2900, null, { visible: false }), [], "what another page said before changes nothing");
});

test("a clock that is set back ends the view and begins another", () => {
  const { say } = desk();
  say("a", 10_000_000, "1");
  assert.deepEqual(say("a", 1_000_000, "1"), ["unfocused 1 10000000", "focused 1 1000000"]);
});

test("a page that is loaded anew in its tab keeps its place", () => {
  const { say } = desk();
  say("b", 500, "2", { tab: 2 });
  say("a", 1000, "1", { tab: 1 });
  say("a", 2000, null, { tab: 1, gone: true, visible: false });
  assert.deepEqual(say("c", 2100, "1", { tab: 1, keyboard: false }), ["focused 1 2100"]);
});

test("whatever comes in whatever order: no view is longer than its pages spoke, and a lease", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    let state = seed;
    const dice = (n) => (state = (state * 48271) % 2147483647) % n;
    const d = desk(seed % 2 ? "visible" : "strict");
    const words = [];
    const numbers = {};
    let at = 1_000_000;
    for (let i = 0; i < 120; i += 1) {
      at += dice(10) ? dice(12_000) : dice(200_000);
      const page = `p${dice(3)}`;
      numbers[page] = (numbers[page] ?? 0) + 1;
      words.push({ page, at, number: numbers[page], conversation: dice(5) ? `${dice(4)}` : null, visible: dice(4) > 0, keyboard: dice(3) > 0 });
    }
    for (let i = 0; i + 1 < words.length; i += 1) {
      if (!dice(6) && words[i + 1].at - words[i].at < 200) [words[i], words[i + 1]] = [words[i + 1], words[i]];
    }
    for (const word of words) {
      const roll = dice(12);
      if (roll === 0) d.idle(word.at, dice(2) === 0);
      else if (roll === 1) d.pause(word.at, dice(2) === 0);
      d.say(word.page, word.at, word.conversation, { ...word, keyboard: word.visible && word.keyboard });
    }
    // As the server reads it: what stands on the screen, and until when.
    let open = null;
    let last = 0;
    for (const move of d.moves) {
      assert.ok(move.time >= last, `seed ${seed}: moves are in order`);
      last = move.time;
      if (open) {
        const end = Math.min(move.time, open.end);
        const spoken = words.filter((word) => word.at >= open.time && word.at <= end).map((word) => word.at);
        assert.ok(end - Math.max(open.time, ...spoken) <= LEASE_MS, `seed ${seed}`);
      }
      open = move.type === "focused" ? { time: move.time, end: move.time + LEASE_MS } : null;
    }
  }
});
