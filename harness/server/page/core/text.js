/* Text: characters as the service counts them, and forms of numbers and names.
 *
 * In    strings
 * Out   numbers and strings
 * Rule  a character is a Unicode code point, as in docs/reference/websocket.md; JavaScript counts UTF-16 units
 * Why   `at` and `chars` of a frame must mean the same on both sides, with an emoji in the text too
 */

export function points(text) {
  let count = text.length;
  for (let place = 0; place < text.length - 1; place++) {
    if (isPair(text, place)) { count--; place++; }
  }
  return count;
}

/** Leave out the first `count` characters. */
export function dropPoints(text, count) {
  let place = 0;
  for (; count > 0 && place < text.length; count--) place += isPair(text, place) ? 2 : 1;
  return text.slice(place);
}

/** Bytes of a text in UTF-8. */
export function bytes(text) {
  return new TextEncoder().encode(text).length;
}

/** "1 message", "3 messages". */
export function many(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** "5 s", "9 min". */
export function span(seconds) {
  return seconds <= 120 ? `${seconds}\u00a0s` : `${Math.ceil(seconds / 60)}\u00a0min`;
}

/** Whole seconds until a moment, never below 0; both in ms. */
export function secondsLeft(until, now) {
  return until === null ? 0 : Math.max(0, Math.ceil((until - now) / 1000));
}

function isPair(text, place) {
  const high = text.charCodeAt(place), low = text.charCodeAt(place + 1);
  return high >= 0xd800 && high <= 0xdbff && low >= 0xdc00 && low <= 0xdfff;
}
