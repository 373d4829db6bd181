/* Status: who one talks to, whether that works, and the connection.
 *
 * In    the state, the moment
 * Out   the head, the banners of a breaker that is not closed and of a service that is not whole, the strip of a lost connection
 * Rule  seconds tick on the screen and not in a screen reader: the announcer says the boundaries
 * Why   somebody who waits wants to know for what, and how long
 */

import { selectedBot } from "../core/store.js";
import { secondsLeft } from "../core/text.js";
import { banner, botState, botWork, connection, modeBanner, passes } from "../core/words.js";
import { attribute, get, text } from "./dom.js";

const FIRST_TRY_MS = 1_500;

export function status(actions, say) {
  const begun = Date.now();
  let breaker = "closed", bot = null, spoken = "", mode = "full";
  get("strip-now").addEventListener("click", actions.wake);
  get("trouble-close").addEventListener("click", actions.calm);

  function head(state, selected) {
    text(get("title"), state.bot ?? "Hive");
    const work = selected ? botWork(selected) : "";
    text(get("behaviour"), selected ? `${selected.behaviour} · ` : "");
    text(get("bot-state"), selected ? botState(selected) : state.bot && state.known ? "not running" : "");
    text(get("bot-work"), work ? ` · ${work}` : "");
    attribute(get("subtitle"), "hidden", !state.bot);
    attribute(get("bot-state"), "data-state", selected ? botState(selected) : null);
    attribute(get("remove-open"), "hidden", !selected);
    document.title = state.bot ? `${state.bot} · Hive` : "Hive";
  }

  function breakerBanner(state, selected, now) {
    const closed = !selected || passes(selected.breaker);
    const left = closed ? 0 : secondsLeft(selected.until, now);
    attribute(get("banner"), "hidden", closed);
    attribute(get("banner"), "data-breaker", selected?.breaker ?? "closed");
    if (!closed) {
      const [title, detail] = banner(selected, left);
      text(get("banner-title"), `${title}:`);
      text(get("banner-detail"), detail);
      attribute(get("banner"), "data-seconds", left);
    }
    const now_ = closed ? "closed" : selected.breaker;
    if (bot === state.bot && breaker !== now_) {
      if (["open", "forced-open"].includes(now_)) say.urgent(`${banner(selected, left)[0]}. ${left ? `Next try in ${left} seconds.` : ""}`);
      if (now_ === "half-open") say.polite(banner(selected, 0).join(": "));
      if (now_ === "closed" && selected) say.polite(`${state.bot} is back.`);
    }
    [breaker, bot] = [now_, state.bot];
    return !closed && left > 0;
  }

  function whole(state, now) {
    const now_ = state.mode?.mode ?? "full";
    attribute(get("mode"), "hidden", now_ === "full");
    attribute(get("mode"), "data-mode", now_);
    if (now_ !== "full") {
      const [title, detail] = modeBanner(state.mode, secondsLeft(state.mode.until, now));
      text(get("mode-title"), `${title}:`);
      text(get("mode-detail"), detail);
      if (mode !== now_) say.polite(`${title}: ${detail}`);
    } else if (mode !== now_) say.polite("All is back.");
    mode = now_;
  }

  function link(state, now) {
    const { link } = state;
    const words = connection(link, secondsLeft(link.until, now));
    attribute(get("connection"), "data-state", link.state);
    text(get("connection-text"), words);
    const lost = link.state !== "online" && (link.attempt > 0 || now - begun > FIRST_TRY_MS);
    attribute(get("strip"), "hidden", !lost);
    if (lost) text(get("strip-text"), `${words}. What you write is kept.`);
    attribute(get("strip-now"), "hidden", !["waiting", "offline"].includes(link.state));
    const kind = lost ? "lost" : link.state === "online" ? "online" : spoken;
    if (spoken === "online" && kind === "lost") say.urgent("Connection lost. Reconnecting.");
    if (spoken === "lost" && kind === "online") say.polite("Connected again.");
    spoken = kind;
    return link.state !== "online";
  }

  return {
    /** Give back whether it wants to be shown again as time passes. */
    show(state, now) {
      const selected = selectedBot(state);
      head(state, selected);
      attribute(get("trouble"), "hidden", !state.trouble);
      text(get("trouble-text"), state.trouble ?? "");
      whole(state, now);
      const ticking = breakerBanner(state, selected, now);
      return link(state, now) || ticking;
    },
  };
}
