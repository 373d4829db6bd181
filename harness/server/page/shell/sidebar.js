/* Sidebar: the bots and the selected bot's sessions.
 *
 * In    the state; the list of sessions; clicks
 * Out   list items; what was chosen, through `actions`
 * Rule  on a narrow screen it is a drawer: shut means out of reach for the keyboard too
 * Why   one list, one place, whatever the width
 */

import { botState, botWork, sessionLine } from "../core/words.js";
import { arrange, attribute, el, get, text } from "./dom.js";

const PAGE = 30;

export function sidebar(actions) {
  const narrow = matchMedia("(max-width: 47.99rem)");
  const bots = new Map(), rows = new Map();
  let open = false, shownBots = null, shownRows = null, limit = PAGE;

  narrow.addEventListener("change", place);
  get("side-open").addEventListener("click", () => drawer(true));
  get("side-close").addEventListener("click", () => drawer(false));
  get("shade").addEventListener("click", () => drawer(false));
  get("side").addEventListener("keydown", (event) => event.key === "Escape" && narrow.matches && drawer(false));
  get("session-new").addEventListener("click", () => { actions.fresh(); drawer(false); });
  get("sessions-more").addEventListener("click", () => { limit += PAGE; actions.more(); });
  place();

  function place() {
    attribute(document.body, "data-drawer", narrow.matches ? (open ? "open" : "shut") : null);
    get("side").inert = narrow.matches && !open;
    get("main").inert = narrow.matches && open;
    attribute(get("shade"), "hidden", !(narrow.matches && open));
    attribute(get("side-open"), "aria-expanded", String(open));
  }

  function drawer(now) {
    if (open === now) return;
    open = now;
    place();
    if (narrow.matches) get(open ? "side-close" : "side-open").focus();
  }

  function row(map, key, choose) {
    let made = map.get(key);
    if (!made) {
      const parts = { name: el("span", { class: "row-name" }), side: el("span", { class: "row-state" }), line: el("span", { class: "row-line" }) };
      const button = el("button", { type: "button", class: "row", on: { click: () => { choose(); drawer(false); } } },
        el("span", { class: "dot", "aria-hidden": "true" }), el("span", { class: "row-words" }, parts.name, parts.line), parts.side);
      map.set(key, made = { ...parts, button, item: el("li", {}, button) });
    }
    return made;
  }

  function showBots(state) {
    const list = state.bots.map((bot) => {
      const made = row(bots, bot.bot, () => actions.select(bot.bot));
      text(made.name, bot.bot);
      text(made.side, botState(bot));
      text(made.line, [bot.behaviour, botWork(bot)].filter(Boolean).join(" · "));
      attribute(made.button, "data-bot", bot.bot);
      attribute(made.button, "data-state", bot.state);
      attribute(made.button, "data-breaker", bot.breaker);
      attribute(made.button, "aria-current", bot.bot === state.bot ? "true" : null);
      return made.item;
    });
    for (const name of bots.keys()) if (!state.bots.some((bot) => bot.bot === name)) bots.delete(name);
    arrange(get("bots"), list);
    attribute(get("bots-empty"), "hidden", list.length > 0);
    text(get("bots-empty"), state.known ? "None is running." : "Waiting for the service …");
  }

  function showSessions(state, sessions, now) {
    attribute(get("sessions-part"), "hidden", !state.bot);
    const list = sessions.slice(0, limit).map((session) => {
      const made = row(rows, session.id, () => actions.select(session.bot, session.id));
      text(made.name, session.title || "New session");
      text(made.line, sessionLine(session.messages, ago(session.updated * 1000, now)));
      attribute(made.button, "data-session", session.id);
      attribute(made.button, "aria-current", session.id === state.session ? "true" : null);
      return made.item;
    });
    for (const id of rows.keys()) if (!sessions.some((session) => session.id === id)) rows.delete(id);
    arrange(get("sessions"), list);
    attribute(get("sessions-empty"), "hidden", list.length > 0);
    text(get("sessions-empty"), "None yet: the first message opens one.");
    attribute(get("sessions-more"), "hidden", sessions.length <= limit);
  }

  return {
    /** How many sessions to ask for: one more than are shown says that there are more. */
    wanted: () => limit + 1,
    show(state, sessions, now) {
      const botsNow = [state.bots, state.bot, state.known], rowsNow = [sessions, state.bot, state.session, limit, Math.floor(now / 60_000)];
      if (!same(botsNow, shownBots)) showBots(state);
      if (!same(rowsNow, shownRows)) showSessions(state, sessions, now);
      [shownBots, shownRows] = [botsNow, rowsNow];
    },
    drawer,
  };
}

function same(one, other) {
  return other !== null && one.every((part, place) => part === other[place]);
}

function ago(at, now) {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return new Date(at).toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}
