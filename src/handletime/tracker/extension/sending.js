// What waits to be sent, and what an answer does to it. Pure: somebody else asks the server.
import { corrected, measured } from "./clock.js";

/** @typedef {import("./clock.js").Measured} Measured */
/** @typedef {import("./focus.js").Move} Move */

/**
 * What is sent of a move: this and no more.
 * @typedef {object} FocusEvent
 * @property {string} eventId
 * @property {string} conversationId
 * @property {number} time
 * @property {number} sequence
 * @property {"focused" | "unfocused"} type
 * @property {number} [leaseMillis]
 */

/** @typedef {{ event: FocusEvent, own: boolean }} Waiting `own`: its time is still by this computer's clock */
/** @typedef {{ event: FocusEvent, at: number, answer: string }} Told */

/**
 * @typedef {object} Outbox
 * @property {string} installation
 * @property {number} counter
 * @property {Waiting[]} waiting the oldest first
 * @property {Measured | null} clock
 * @property {number} most events of the next request
 * @property {number} notBefore
 * @property {number} failures one after the other
 * @property {string} trouble "" where there is none
 * @property {number} lost that had to be dropped because too many waited
 * @property {Told[]} told the last hundred, the newest last
 */

/**
 * `status` 0: there was no answer.
 * @typedef {{ status: number, body: unknown, retryAfter: string | null, received: number, roundTrip: number }} Answer
 */

export const MOST_EVENTS = 100;
export const MOST_WAITING = 20_000;
export const MOST_TOLD = 100;
const AGAIN_MS = 60_000;
const FIRST_WAIT_MS = 5_000;
const MOST_WAIT_MS = 60_000;
// What these mean is said better here than by the server, which answers programs.
const KNOWN = [200, 401, 403, 404];
const MOST_RETRY_AFTER_S = 3_600;

/**
 * @param {string} installation
 * @returns {Outbox}
 */
export function newOutbox(installation) {
  return {
    installation,
    counter: 0,
    waiting: [],
    clock: null,
    most: MOST_EVENTS,
    notBefore: 0,
    failures: 0,
    trouble: "",
    lost: 0,
    told: [],
  };
}

/**
 * Puts a move among what waits. Its time is the server's as far as that is known by now.
 * @param {Outbox} outbox is changed
 * @param {Move} move
 */
export function put(outbox, move) {
  outbox.counter += 1;
  /** @type {FocusEvent} */
  const event = {
    eventId: `f:${outbox.installation}:${outbox.counter}`,
    conversationId: move.conversationId,
    time: outbox.clock ? corrected(outbox.clock, move.time) : move.time,
    sequence: outbox.counter,
    type: move.type,
  };
  if (move.leaseMillis !== undefined) event.leaseMillis = move.leaseMillis;
  outbox.waiting.push({ event, own: outbox.clock === null });
  while (outbox.waiting.length > MOST_WAITING) {
    outbox.waiting.shift();
    outbox.lost += 1;
  }
}

/**
 * What to send now: events, an empty array to learn the time first, or null: nothing.
 * Times that are sent are not changed any more: what is sent twice has to be the same.
 * @param {Outbox} outbox is changed
 * @param {number} now
 * @returns {FocusEvent[] | null}
 */
export function next(outbox, now) {
  if (outbox.waiting.length === 0 || (now < outbox.notBefore && outbox.notBefore - now <= MOST_RETRY_AFTER_S * 1000)) return null;
  const batch = outbox.waiting.slice(0, outbox.most);
  for (const each of batch) {
    if (!each.own) continue;
    if (!outbox.clock) return [];
    each.event.time = corrected(outbox.clock, each.event.time);
    each.own = false;
  }
  return batch.map((each) => each.event);
}

/**
 * An answer to events (or to an empty array) has come, or none.
 * @param {Outbox} outbox is changed
 * @param {FocusEvent[]} sent
 * @param {Answer} answer
 */
export function answered(outbox, sent, answer) {
  const { status } = answer;
  const body = /** @type {Record<string, unknown>} */ (typeof answer.body === "object" && answer.body ? answer.body : {});
  if (status === 200 && typeof body["now"] === "number") {
    outbox.clock = measured(outbox.clock, { received: answer.received, roundTrip: answer.roundTrip, now: body["now"] });
    took(outbox, sent, answer.received, "taken");
    outbox.most = Math.min(MOST_EVENTS, outbox.most * 2);
    outbox.notBefore = 0;
    outbox.failures = 0;
    outbox.trouble = "";
  } else if (sent.length && (status === 413 || (status === 400 && Array.isArray(body["causes"])))) {
    // One of them is refused. Halves find which; the others stay, each once.
    if (sent.length > 1) outbox.most = Math.ceil(sent.length / 2);
    else {
      took(outbox, sent, answer.received, `refused: ${saying(body, "too large")}`);
      outbox.most = Math.min(MOST_EVENTS, outbox.most * 2);
    }
    outbox.notBefore = 0;
  } else later(outbox, answer, body);
}

/**
 * @param {Outbox} outbox
 * @param {Answer} answer
 * @param {Record<string, unknown>} body
 */
function later(outbox, answer, body) {
  const { status } = answer;
  outbox.failures += 1;
  let wait = Math.min(FIRST_WAIT_MS * 2 ** Math.min(outbox.failures - 1, 10), MOST_WAIT_MS);
  if (status === 429 || status === 503) {
    const seconds = Number(answer.retryAfter ?? "");
    if (Number.isFinite(seconds) && seconds > 0) wait = Math.min(seconds, MOST_RETRY_AFTER_S) * 1000;
    outbox.trouble = status === 429 ? "" : "The server is busy; what is to be sent waits.";
  } else if (status === 0) outbox.trouble = "The server cannot be reached; what is to be sent waits.";
  else {
    wait = AGAIN_MS;
    outbox.trouble = KNOWN.includes(status) ? meaning(status) : `${meaning(status)} ${saying(body, "")}`.trim();
  }
  outbox.notBefore = answer.received + wait;
}

/**
 * What an answer that is no success means, in a sentence.
 * @param {number} status
 */
export function meaning(status) {
  if (status === 401) return "The key is not right: it is wrong, was revoked, or belongs to another account. Ask whoever looks after handletime for a new one; nothing is lost.";
  if (status === 403) return "The key is right, but it is not a focus key of an agent.";
  if (status === 404) return "There is no handletime server at this address.";
  if (status === 200) return "Something else than a handletime server answers at this address.";
  return `The server answered ${status}.`;
}

/**
 * @param {Record<string, unknown>} body
 * @param {string} otherwise
 */
function saying(body, otherwise) {
  const causes = Array.isArray(body["causes"]) ? body["causes"].join("; ") : "";
  const text = causes || (typeof body["message"] === "string" ? body["message"] : otherwise);
  return text.slice(0, 300);
}

/**
 * Takes events out of what waits and notes what became of them.
 * @param {Outbox} outbox
 * @param {FocusEvent[]} sent
 * @param {number} at
 * @param {string} answer
 */
function took(outbox, sent, at, answer) {
  const ids = new Set(sent.map((event) => event.eventId));
  outbox.waiting = outbox.waiting.filter((each) => !ids.has(each.event.eventId));
  outbox.told = [...outbox.told, ...sent.map((event) => ({ event, at, answer }))].slice(-MOST_TOLD);
}
