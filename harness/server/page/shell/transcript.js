/* Transcript: the messages of the selected session.
 *
 * In    the state; scrolling and clicks
 * Out   articles in #feed; what the reader asks for, through `actions`
 * Rule  at most 300 messages in the document; CSS (column-reverse) holds the bottom, script never does
 * Why   script that holds the bottom detaches itself, or drags readers away from what they read
 */

import { hold } from "../core/pace.js";
import { selectedBot } from "../core/store.js";
import { secondsLeft, span } from "../core/text.js";
import { MESSAGES_MAX, newer, older, range } from "../core/window.js";
import { Article } from "./article.js";
import { arrange, attribute, get, text } from "./dom.js";

const AWAY_PX = 160;

export function transcript(actions) {
  const scroller = get("scroller"), feed = get("feed");
  const articles = new Map();
  let session = null, end = null, away = false, unseen = false, newest = null, state = null, loading = false;

  get("earlier").addEventListener("click", earlier);
  get("newer").addEventListener("click", () => { end = newer(state.entries.length, end); show(state); });
  get("newest").addEventListener("click", () => { end = null; show(state); scroller.scrollTop = 0; });
  get("empty-action").addEventListener("click", () => (state.bots.length ? actions.drawer() : actions.launch()));
  scroller.addEventListener("scroll", () => { away = scroller.scrollTop < -AWAY_PX; jump(); }, { passive: true });
  feed.addEventListener("click", clicked);

  async function earlier() {
    const before = range(state.entries.length, end)[0];
    if (before > 0) {
      end = older(state.entries.length, end);
      show(state);
      return;
    }
    if (loading) return;
    loading = true;
    const count = state.entries.length, same = session;
    text(get("earlier"), "Loading …");
    await actions.earlier();
    loading = false;
    if (session !== same) return;
    const added = state.entries.length - count;
    if (added > 0 && state.entries.length > MESSAGES_MAX) end = MESSAGES_MAX; // What was just loaded stands at the top.
    show(state);
  }

  function clicked(event) {
    const button = event.target.closest?.("button");
    if (!button) return;
    const article = button.closest("article");
    const entry = state.entries.find((one) => articles.get(one.key)?.element === article);
    if ("copy" in button.dataset) copy(button);
    else if (entry && button.dataset.do) actions[button.dataset.do](entry);
  }

  /** Give back whether it wants to be shown again as time passes. */
  function show(next, now = Date.now()) {
    state = next;
    const stop = hold(state, now);
    const wait = stop?.until ? `in ${span(secondsLeft(stop.until, now))}` : stop ? "when that is over" : "soon";
    if (session !== state.session) reset();
    const [from, to] = range(state.entries.length, end);
    const shown = state.entries.slice(from, to);
    const keys = new Set(shown.map((entry) => entry.key));
    for (const key of articles.keys()) if (!keys.has(key)) articles.delete(key);
    const online = state.link.state === "online";
    let restless = false;
    for (const entry of shown) {
      let article = articles.get(entry.key);
      if (!article) articles.set(entry.key, article = new Article(entry, entry.role === "user" ? "You" : state.bot ?? "Bot"));
      restless = article.show(entry, now, online, wait) || restless;
    }
    arrange(feed, shown.map((entry) => articles.get(entry.key).element));
    attribute(get("earlier"), "hidden", from === 0 && !state.more);
    text(get("earlier"), loading ? "Loading …" : "Load earlier messages");
    attribute(get("newer"), "hidden", to === state.entries.length);
    const last = state.entries.at(-1);
    if (last !== newest && (away || end !== null) && newest !== null) unseen = true;
    newest = last ?? null;
    jump();
    empty();
    return restless;
  }

  function reset() {
    session = state.session;
    articles.clear();
    feed.replaceChildren();
    [end, away, unseen, newest] = [null, false, false, null];
    scroller.scrollTop = 0;
  }

  function jump() {
    if (!away && end === null) unseen = false;
    attribute(get("newest"), "hidden", !away && end === null);
    text(get("newest-text"), unseen ? "New messages" : "Newest");
  }

  function empty() {
    const words = emptyWords(state);
    attribute(get("empty"), "hidden", words === null);
    attribute(scroller, "hidden", words !== null);
    if (words === null) return;
    text(get("empty-title"), words[0]);
    text(get("empty-text"), words[1]);
    text(get("empty-action"), words[2]);
    attribute(get("empty-action"), "hidden", words[2] === "");
    attribute(get("empty-action"), "class", state.bots.length ? "primary narrow" : "primary");
  }

  return { show };
}

/** [title, text, button], or null if there are messages to show. */
function emptyWords(state) {
  if (state.entries.length) return null;
  if (!state.known) {
    return state.link.attempt
      ? ["No connection", "The service cannot be reached. The page tries again by itself.", ""]
      : ["One moment", "The page is connecting to the service.", ""];
  }
  if (!state.bot) {
    return state.bots.length
      ? ["Choose a bot", "Select a bot from the list to talk to it, or launch another one.", "Show the bots"]
      : ["No bot is running yet", "Launch one, then say something to it. Its reply appears here as it is written.", "Launch a bot"];
  }
  if (state.session && state.fresh) {
    return state.link.state === "online"
      ? ["One moment", "The messages are being loaded.", ""]
      : ["No connection", "The messages appear when the connection is back.", ""];
  }
  if (!selectedBot(state)) {
    return [`${state.bot} is not running`, "Launch a bot with this name to go on. Its sessions are still there.", ""];
  }
  return [`Say something to ${state.bot}`, "The reply appears here as it is written.", ""];
}

async function copy(button) {
  const code = button.closest(".code")?.querySelector("code")?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(code);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copying is not allowed here";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2_000);
}
