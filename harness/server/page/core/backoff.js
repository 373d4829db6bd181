/* Backoff: when to try the connection again, and when to call it dead.
 *
 * In    the number of attempts so far, moments in ms, a throw of the dice in [0, 1)
 * Out   milliseconds to wait; "fine", "ping" or "dead"
 * Rule  full jitter: any time from 0 to the cap, so a thousand pages do not come back in the same second
 * Why   a socket can be open and dead at once (a laptop that slept, a cable that was pulled): only an answer proves it
 */

const FIRST_MS = 500;
const LAST_MS = 30_000;
const QUIET_MS = 12_000;
const ANSWER_MS = 6_000;

/** Attempts count from 0. */
export function delayMs(attempt, dice) {
  return Math.round(dice * Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 16)));
}

/** What to do about an open connection, by when it was last heard from and last asked. */
export function pulse(now, heardAt, pingedAt) {
  if (pingedAt > heardAt) return now - pingedAt > ANSWER_MS ? "dead" : "fine";
  return now - heardAt > QUIET_MS ? "ping" : "fine";
}
