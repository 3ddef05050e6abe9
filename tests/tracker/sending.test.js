// What waits to be sent: each once, in its own time, whatever the server answers.
import assert from "node:assert/strict";
import test from "node:test";
import { corrected, jumped, measured } from "../../src/handletime/tracker/extension/clock.js";
import { MOST_TOLD, MOST_WAITING, answered, newOutbox, next, put } from "../../src/handletime/tracker/extension/sending.js";

const T = 1_800_000_000_000;
const move = (at, id = "1") => ({ type: "focused", conversationId: id, time: at, leaseMillis: 45_000, page: "p" });

/** A server that keeps what it is sent. `ahead`: its clock before the browser's. */
function server({ ahead = 0, refuses = () => false } = {}) {
  const kept = new Map();
  const requests = [];
  const answer = (events, now) => {
    requests.push(events.length);
    const base = { retryAfter: null, received: now, roundTrip: 20 };
    const bad = events.findIndex((event) => refuses(event));
    if (bad >= 0) return { ...base, status: 400, body: { causes: [`element ${bad + 1}: conversationId: odd`], message: "" } };
    for (const event of events) if (!kept.has(event.eventId)) kept.set(event.eventId, { ...event });
    return { ...base, status: 200, body: { accepted: events.length, duplicates: 0, now: now + ahead - 10 } };
  };
  return { kept, requests, answer };
}

function drain(outbox, { answer }, now) {
  for (let i = 0; i < 1000; i += 1) {
    const events = next(outbox, now);
    if (!events) return;
    answered(outbox, events, answer(events, now));
  }
  assert.fail("it never ends");
}

test("first the time is asked for, then what waits is sent with the server's", () => {
  const outbox = newOutbox("i");
  const desk = server({ ahead: 600_000 });
  put(outbox, move(T));
  assert.deepEqual(next(outbox, T), []);
  drain(outbox, desk, T);
  assert.deepEqual(desk.requests, [0, 1]);
  const [event] = desk.kept.values();
  assert.deepEqual(event, { eventId: "f:i:1", conversationId: "1", time: T + 600_000, sequence: 1, type: "focused", leaseMillis: 45_000 });
});

test("what the clock is off by less than a second is left", () => {
  const outbox = newOutbox("i");
  const desk = server({ ahead: 900 });
  put(outbox, move(T));
  drain(outbox, desk, T);
  assert.equal([...desk.kept.values()][0].time, T);
});

test("one that is refused is dropped and shown, the others stay", () => {
  const outbox = newOutbox("i");
  const desk = server({ refuses: (event) => event.conversationId === "bad" });
  for (let i = 1; i <= 100; i += 1) put(outbox, move(T + i, i === 57 ? "bad" : "1"));
  drain(outbox, desk, T);
  assert.equal(desk.kept.size, 99);
  assert.equal(outbox.waiting.length, 0);
  assert.match(outbox.told.find((told) => told.event.sequence === 57).answer, /refused: .*odd/);
  assert.ok(desk.requests.length < 25, `${desk.requests}`);
});

test("a 400 that is not the server's own drops nothing", () => {
  const outbox = newOutbox("i");
  put(outbox, move(T));
  answered(outbox, next(outbox, T), { status: 200, body: { now: T }, retryAfter: null, received: T, roundTrip: 1 });
  answered(outbox, next(outbox, T), { status: 400, body: "<html>", retryAfter: null, received: T, roundTrip: 1 });
  assert.equal(outbox.waiting.length, 1);
  assert.notEqual(outbox.trouble, "");
});

test("a page of a hotel's network that answers 200 takes nothing", () => {
  const outbox = newOutbox("i");
  put(outbox, move(T));
  answered(outbox, [], { status: 200, body: null, retryAfter: null, received: T, roundTrip: 1 });
  assert.equal(outbox.waiting.length, 1);
  assert.match(outbox.trouble, /Something else/);
});

for (const [status, word] of [[401, /key/], [403, /focus key/], [404, /no handletime server/], [500, /500/]]) {
  test(`${status} keeps all, says why, and tries again after a minute`, () => {
    const outbox = newOutbox("i");
    put(outbox, move(T));
    answered(outbox, [], { status, body: {}, retryAfter: null, received: T, roundTrip: 1 });
    assert.match(outbox.trouble, word);
    assert.equal(next(outbox, T + 59_999), null);
    assert.notEqual(next(outbox, T + 60_000), null);
    drain(outbox, server(), T + 60_000);
    assert.equal(outbox.trouble, "");
    assert.equal(outbox.waiting.length, 0);
  });
}

test("busy: after the time that the server says", () => {
  const outbox = newOutbox("i");
  put(outbox, move(T));
  answered(outbox, [], { status: 429, body: {}, retryAfter: "7", received: T, roundTrip: 1 });
  assert.equal(next(outbox, T + 6_999), null);
  assert.notEqual(next(outbox, T + 7_000), null);
});

test("too large: halves", () => {
  const outbox = newOutbox("i");
  const desk = server();
  for (let i = 0; i < 100; i += 1) put(outbox, move(T + i));
  drain(outbox, { answer: (events, now) => (events.length > 30 ? { status: 413, body: {}, retryAfter: null, received: now, roundTrip: 1 } : desk.answer(events, now)) }, T);
  assert.equal(desk.kept.size, 100);
});

test("an hour offline: all are sent later, each once, with their own times", () => {
  const outbox = newOutbox("i");
  const desk = server();
  let now = T;
  let asked = 0;
  for (; now < T + 3_600_000; now += 10_000) {
    if ((now - T) % 90_000 === 0) put(outbox, move(now));
    const events = next(outbox, now);
    if (!events) continue;
    asked += 1;
    answered(outbox, events, { status: 0, body: null, retryAfter: null, received: now, roundTrip: 1 });
  }
  assert.ok(asked < 70, `${asked}`);
  drain(outbox, desk, now + 60_000);
  assert.deepEqual([...desk.kept.values()].map((event) => event.time), Array.from({ length: 40 }, (_, i) => T + i * 90_000));
  assert.deepEqual([...desk.kept.values()].map((event) => event.sequence), Array.from({ length: 40 }, (_, i) => i + 1));
});

test("what was sent and not answered is sent again as it was, also where the clock is known better by then", () => {
  const outbox = newOutbox("i");
  put(outbox, move(T));
  answered(outbox, [], { status: 200, body: { now: T + 5_000 }, retryAfter: null, received: T, roundTrip: 800 });
  const first = structuredClone(next(outbox, T));
  answered(outbox, first, { status: 0, body: null, retryAfter: null, received: T, roundTrip: 1 });
  outbox.clock = { offset: 7_000, roundTrip: 1 };
  assert.deepEqual(next(outbox, T + 60_000), first);
});

test("there is an end to what is kept", () => {
  const outbox = newOutbox("i");
  for (let i = 0; i < MOST_WAITING + 5; i += 1) put(outbox, move(T + i));
  assert.equal(outbox.waiting.length, MOST_WAITING);
  assert.equal(outbox.lost, 5);
  assert.equal(outbox.waiting[0].event.sequence, 6);
  drain(outbox, server(), T);
  assert.equal(outbox.told.length, MOST_TOLD);
});

test("the smallest round trip counts, until the clock is set", () => {
  const known = measured(null, { received: T, roundTrip: 100, now: T + 600_000 });
  assert.deepEqual(known, { offset: 600_050, roundTrip: 100 });
  assert.equal(measured(known, { received: T, roundTrip: 900, now: T + 599_700 }), known);
  assert.equal(measured(known, { received: T, roundTrip: 40, now: T + 599_990 }).offset, 600_010);
  assert.equal(measured(known, { received: T, roundTrip: 900, now: T }).offset, 450);
  assert.equal(corrected({ offset: 999, roundTrip: 1 }, T), T);
  assert.equal(corrected({ offset: -1000, roundTrip: 1 }, T), T - 1000);
});

test("a clock that was set is seen", () => {
  assert.equal(jumped(null, { clock: T, steady: 5 }), false);
  assert.equal(jumped({ clock: T, steady: 5 }, { clock: T + 100, steady: 105 }), false);
  assert.equal(jumped({ clock: T, steady: 5 }, { clock: T - 60_000, steady: 105 }), true);
});
