/* Backoff: when to try the connection again, and when to call it dead.
 *
 * In    attempts so far, the close code, whether anybody looks, moments in ms, a throw of the dice in [0, 1)
 * Out   milliseconds to wait; "fine", "ping" or "dead"; whether a connection has proved itself
 * Rule  full jitter: any time from 0 to the cap, so a thousand pages do not come back in the same second; what is
 *       closed at once was one more attempt
 * Why   a socket can be open and dead at once (a laptop that slept, a cable that was pulled): only an answer proves it
 */

const FIRST_MS = 500;
const LAST_MS = 15_000;
const QUIET_MS = 12_000;
const ANSWER_MS = 6_000;
const PROVED_MS = 10_000;

// By close code: what it means, the least to wait, the least to spread over.
const GOODBYES = {
  1008: ["refused", 30_000, 30_000],
  1012: ["restart", 0, 5_000],
  1013: ["busy", 5_000, 5_000],
};

/** Attempts count from 0. A page that nobody looks at has time. */
export function delayMs(attempt, dice, code = 0, hidden = false) {
  const [, least, spread] = GOODBYES[code] ?? ["", 0, 0];
  const span = Math.max(spread, Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 16)));
  return Math.round(Math.max(least, hidden ? LAST_MS : 0) + dice * span);
}

/** Why it ended, in a word; empty if nobody said. */
export function goodbye(code) {
  return GOODBYES[code]?.[0] ?? "";
}

/** Whether a welcome at `since` (null: never) has lasted long enough to forget the attempts. */
export function proved(now, since) {
  return since !== null && now - since >= PROVED_MS;
}

/** What to do about an open connection, by when it was last heard from and last asked. */
export function pulse(now, heardAt, pingedAt) {
  if (pingedAt > heardAt) return now - pingedAt > ANSWER_MS ? "dead" : "fine";
  return now - heardAt > QUIET_MS ? "ping" : "fine";
}
