/* Article: one message on the screen.
 *
 * In    an entry of the store, the moment, whether the connection is there
 * Out   an element with data-cid, data-turn, data-state, data-chars, data-intact, data-code, data-retry-after
 * Rule  a person's text is shown as it was typed; a bot's as Markdown; an entry that did not change costs nothing
 * Why   this is the hot path: it runs for every piece of every reply
 */

import { MarkdownStream } from "../core/markdown.js";
import { isOpen } from "../core/store.js";
import { failure, refusal } from "../core/words.js";
import { attribute, el, text } from "./dom.js";

const SLOW_MS = 5_000;

export class Article {
  element;
  #entry = null;
  #shown = "";
  #words;
  #time;
  #note;
  #stream = null;
  #actions = "";

  constructor(entry, author) {
    const id = `h-${entry.key}`;
    this.#time = el("time", { datetime: new Date(entry.at).toISOString() }, clock(entry.at));
    this.#words = el("div", { class: entry.role === "bot" ? "prose" : "typed" });
    this.#note = el("div", { class: "note" });
    this.element = el("article", { class: `message ${entry.role}`, "aria-labelledby": id, tabindex: "-1" },
      el("h2", { id }, el("span", { class: "author" }, author), " ", this.#time), this.#words, this.#note);
    if (entry.role === "bot") this.#stream = new MarkdownStream(this.#words);
  }

  /** Give back whether it wants to be shown again as time passes. */
  show(entry, now, online, wait) {
    const stamp = isOpen(entry) || entry.state === "sending" ? `${online} ${Math.floor((now - entry.at) / 1000)}`
      : entry.again ? `again ${wait}` : "";
    const restless = stamp !== "";
    if (entry === this.#entry && stamp === this.#shown) return restless;
    const fresh = entry !== this.#entry;
    this.#entry = entry;
    this.#shown = stamp;
    if (fresh) {
      this.#text(entry);
      attribute(this.element, "data-cid", entry.cid || null);
      attribute(this.element, "data-turn", entry.role === "bot" ? entry.mid : null);
      attribute(this.element, "aria-busy", isOpen(entry) ? "true" : null);
      if (entry.role === "bot") {
        attribute(this.element, "data-chars", entry.chars);
        attribute(this.element, "data-intact", String(entry.intact));
      }
    }
    this.#say(entry, now, online, wait);
    attribute(this.element, "data-again", entry.again ? "true" : null);
    attribute(this.element, "data-code", entry.code || null);
    attribute(this.element, "data-retry-after", entry.state === "failed" ? entry.retry : null);
    attribute(this.element, "data-state", entry.state); // Last: whoever watches for the state finds the rest done.
    return restless;
  }

  #text(entry) {
    if (this.#stream) this.#stream.show(entry.text, !isOpen(entry));
    else text(this.#words, entry.text);
  }

  /** The line below: what is going on, what went wrong, what can be done. */
  #say(entry, now, online, wait) {
    const [kind, words, actions] = note(entry, now, online, wait);
    const wanted = `${kind}|${words}|${actions}`;
    if (wanted === this.#actions) return;
    this.#actions = wanted;
    attribute(this.#note, "data-kind", kind || null);
    this.#note.replaceChildren(...(words ? [el("span", {}, words)] : []),
      ...actions.map((action) => el("button", { type: "button", class: "quiet", "data-do": action }, ACTIONS[action])));
  }
}

const ACTIONS = { retry: "Try again", drop: "Remove", resend: "Send again" };

function note(entry, now, online, wait) {
  switch (entry.state) {
    case "sending": return ["busy", online ? "Sending …" : "Kept here; it goes out when the connection is back.", []];
    case "accepted": return ["sent", "Sent", []];
    case "waiting": return ["waiting", now - entry.at > SLOW_MS ? `Waiting for the reply (${Math.floor((now - entry.at) / 1000)} s)` : "Waiting for the reply", []];
    case "streaming": return ["streaming", "", []];
    case "cancelled": return ["quiet", "Stopped.", []];
    case "interrupted": return ["bad", "The service was restarted in the middle of this reply.", ["resend"]];
    case "failed":
      if (entry.again) return ["soon", `Not sent yet: ${refusal(entry.code, entry.reason)} It goes out by itself ${wait}.`, ["drop"]];
      if (entry.role === "user") return ["bad", `Not sent: ${refusal(entry.code, entry.reason)}`, ["retry", "drop"]];
      return ["bad", failure(entry.code, entry.reason), ["resend"]];
    default: return ["", "", []];
  }
}

function clock(at) {
  const day = new Date(at), today = new Date();
  const time = day.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (day.toDateString() === today.toDateString()) return time;
  return `${day.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}
