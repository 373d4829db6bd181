/* Window: which of the messages stand in the document.
 *
 * In    how many there are, where the window ends, what the reader asks for
 * Out   [from, to) and where it ends next
 * Rule  never more than MESSAGES_MAX; an end of null follows the newest
 * Why   thousands of elements make typing slow, whatever they hold
 */

export const MESSAGES_MAX = 300;
export const STEP = 100;

export function range(count, end) {
  const to = Math.min(count, end ?? count);
  return [Math.max(0, to - MESSAGES_MAX), to];
}

/** The end after a step to older messages, given how many were put in front just now. */
export function older(count, end) {
  const [from] = range(count, end);
  return from === 0 ? end : Math.max(Math.min(count, MESSAGES_MAX), (end ?? count) - STEP);
}

/** The end after a step to newer messages. */
export function newer(count, end) {
  return end === null || end + STEP >= count ? null : end + STEP;
}
