/* Backoff: when to try the connection again, and when to call it dead.
 *
 * In    the attempts so far, how the connection ended, whether anybody looks, moments in ms, a throw of the dice in [0, 1)
 * Out   milliseconds to wait; "fine", "ping" or "dead"; whether a connection has proved itself
 * Rule  full jitter: any time from 0 to the cap, so a thousand pages do not come back in the same second; a connection
 *       that is made and closed at once is one more attempt, not a new beginning
 * Why   a socket can be open and dead at once (a laptop that slept, a cable that was pulled): only an answer proves it
 */

const FIRST_MS = 500;
const LAST_MS = 15_000;
const QUIET_MS = 12_000;
const ANSWER_MS = 6_000;
const PROVED_MS = 10_000;

// How the service said goodbye: what that means, the least to wait, and over how long to spread at least.
const GOODBYES = {
  1008: ["refused", 30_000, 30_000],
  1012: ["restart", 0, 5_000],
  1013: ["busy", 5_000, 5_000],
};

/** Attempts count from 0; `code` is that of the close frame. A page that nobody looks at has time. */
export function delayMs(attempt, dice, code = 0, hidden = false) {
  const [, least, spread] = GOODBYES[code] ?? ["", 0, 0];
  const span = Math.max(spread, Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 16)));
  return Math.round(Math.max(least, hidden ? LAST_MS : 0) + dice * span);
}

/** Why the connection ended, in one word; empty if nobody said. */
export function goodbye(code) {
  return GOODBYES[code]?.[0] ?? "";
}

/** Whether a connection that was welcomed at `since` (null: never) has lasted long enough to forget the attempts. */
export function proved(now, since) {
  return since !== null && now - since >= PROVED_MS;
}

/** What to do about an open connection, by when it was last heard from and last asked. */
export function pulse(now, heardAt, pingedAt) {
  if (pingedAt > heardAt) return now - pingedAt > ANSWER_MS ? "dead" : "fine";
  return now - heardAt > QUIET_MS ? "ping" : "fine";
}
