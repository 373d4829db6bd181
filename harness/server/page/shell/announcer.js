/* Announcer: what a screen reader says about things that happen elsewhere on the page.
 *
 * In    sentences
 * Out   changes of two live regions
 * Rule  boundaries only ("replying", "reply complete"), never the tokens; half a second between two sentences
 * Why   a transcript that is live reads every token aloud, and nobody can bear that
 */

import { get } from "./dom.js";

const APART_MS = 500;
const WAITING_MAX = 5;

export function announcer() {
  const waiting = [];
  let busy = false;

  function next() {
    const words = waiting.shift();
    busy = words !== undefined;
    if (words === undefined) return;
    get("polite").textContent = words;
    setTimeout(next, APART_MS);
  }

  return {
    /** Say it when there is a pause. */
    polite(words) {
      if (waiting.at(-1) === words) return;
      waiting.push(words);
      if (waiting.length > WAITING_MAX) waiting.shift();
      if (!busy) next();
    },
    /** Say it now. */
    urgent(words) {
      get("assertive").textContent = "";
      setTimeout(() => { get("assertive").textContent = words; }, 50);
    },
  };
}
