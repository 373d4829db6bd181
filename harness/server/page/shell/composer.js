/* Composer: where a message is written.
 *
 * In    keys and clicks; the state
 * Out   texts to send and replies to stop, through `actions`; a draft that survives a reload
 * Rule  it is never disabled while a reply comes; Enter during the composition of a character is not "send";
 *       a text leaves the box only when the outbox has it; while the service asks to wait, nothing is sent
 * Why   waiting for a slow bot must not cost anybody a word
 */

import { openTurns } from "../core/store.js";
import { fault } from "../core/outbox.js";
import { bytes, points } from "../core/text.js";
import { attribute, get, text } from "./dom.js";
import { keepDraft, keptDraft } from "./keep.js";

const NEAR_LIMIT = 0.8;

export function composer(actions) {
  const box = get("message"), form = get("composer");
  let place = null, state = null, busy = false, held = "";

  box.addEventListener("input", () => { keepDraft(place, box.value); warn(""); measure(); });
  box.addEventListener("keydown", key);
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  get("stop").addEventListener("click", () => { actions.stop(); box.focus(); });

  function key(event) {
    if (event.isComposing || event.keyCode === 229) return; // 229: some systems report a composition only so.
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && openTurns(state).length) {
      actions.stop();
    }
  }

  async function submit() {
    if (busy) return;
    if (held) return actions.wait(held);
    const words = box.value.toWellFormed();
    const wrong = measure();
    warn(wrong);
    if (wrong) return;
    busy = true;
    const from = place;
    const taken = await actions.say(words);
    busy = false;
    if (!taken) return;
    keepDraft(from, "");
    if (box.value.toWellFormed() === words) box.value = "";
    keepDraft(place, box.value);
    measure();
  }

  /** Why the text cannot be sent, or "". */
  function measure() {
    const limits = state?.limits ?? {};
    const chars = points(box.value);
    const max = limits.text_chars_max ?? Infinity;
    const left = max - chars;
    const near = left < max * (1 - NEAR_LIMIT);
    attribute(get("composer-hint"), "data-near", near);
    text(get("composer-keys"), near
      ? (left < 0 ? `${(-left).toLocaleString("en")} characters too many` : `${left.toLocaleString("en")} characters left`)
      : held || "Enter sends, Shift + Enter starts a new line");
    const frame = bytes(JSON.stringify({ type: "say", cid: "0".repeat(36), text: box.value }));
    return fault(box.value, chars, frame, limits);
  }

  function warn(words) {
    text(get("composer-fault"), words);
    attribute(box, "aria-invalid", words ? "true" : null);
  }

  return {
    /** `wait`: why nothing can be sent now, or "". */
    show(next, wait) {
      state = next;
      if (wait !== held) {
        held = wait;
        attribute(get("send"), "aria-disabled", held ? "true" : null);
        attribute(get("composer-hint"), "data-held", Boolean(held));
        measure();
      }
      attribute(form, "hidden", !state.bot);
      attribute(get("stop"), "hidden", openTurns(state).length === 0);
      text(box.labels[0], state.bot ? `Message to ${state.bot}` : "Message");
      attribute(box, "placeholder", state.bot ? `Message to ${state.bot}` : "");
      const now = state.session ?? state.bot;
      if (now === place) return;
      place = now;
      box.value = place ? keptDraft(place) : "";
      warn("");
      measure();
    },
    /** The first message opened a session: what is in the box stays in the box. */
    moved(to) {
      keepDraft(place, "");
      place = to;
      keepDraft(place, box.value);
    },
    warn,
    focus() {
      if (matchMedia("(hover: hover)").matches) box.focus(); // On a phone this would open the keyboard.
    },
  };
}
