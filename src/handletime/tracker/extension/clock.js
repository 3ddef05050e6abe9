// How far this computer's clock is from the server's.

/** @typedef {{ offset: number, roundTrip: number }} Measured */

export const FROM_MS = 1_000;
const JUMP_MS = 1_000;

/**
 * What is known after one more answer. The smallest round trip counts, for it leaves the least room for a mistake;
 * but two that contradict each other mean that the clock was set, and then the new one counts.
 * @param {Measured | null} known
 * @param {{ received: number, roundTrip: number, now: number }} answer `received` by this clock, `now` by the server's
 * @returns {Measured}
 */
export function measured(known, answer) {
  const roundTrip = Math.max(0, answer.roundTrip);
  const fresh = { offset: Math.round(answer.now + roundTrip / 2 - answer.received), roundTrip };
  if (!known || roundTrip <= known.roundTrip) return fresh;
  const room = (roundTrip + known.roundTrip) / 2 + FROM_MS;
  return Math.abs(fresh.offset - known.offset) > room ? fresh : known;
}

/**
 * A time of this clock in the server's.
 * @param {Measured} known
 * @param {number} time
 */
export function corrected(known, time) {
  return Math.abs(known.offset) >= FROM_MS ? time + known.offset : time;
}

/**
 * Was the clock set, since two pairs of readings? `steady` counts on, whatever the clock says. A computer that slept
 * looks the same; then the time is only asked for once more.
 * @param {{ clock: number, steady: number } | null} before
 * @param {{ clock: number, steady: number }} now
 */
export function jumped(before, now) {
  return before !== null && Math.abs(now.clock - before.clock - (now.steady - before.steady)) >= JUMP_MS;
}
