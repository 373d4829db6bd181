/* Words: what the page says about codes and states.
 *
 * In    codes, states and numbers of docs/reference/websocket.md
 * Out   sentences
 * Rule  every sentence says what happened and what to do; the service's own words are used where they say more
 * Why   one place to read, translate and test everything that a person is told when something is wrong
 */

import { many, span } from "./text.js";

export const UNAVAILABLE = "Bot Unavailable (recovering)";

const REFUSALS = {
  "circuit-open": `${UNAVAILABLE}. Try again when it is back.`,
  "busy": "The bot has too much to do.",
  "rate-limited": "You are sending faster than the service takes it.",
  "over-capacity": "The whole service is full.",
  "maintenance": "People are working on the service.",
  "too-long": "Too long. Shorten it and send it again.",
  "empty": "There was nothing in it.",
  "no-bot": "This bot is not running any more. Launch it again, then retry.",
  "not-saved": "The service cannot save messages now. Tell its operator; your text is kept here.",
};

/** Why a message was not taken. */
export function refusal(code, message) {
  return REFUSALS[code] ?? sentence(message || code || "The service refused it");
}

/** Why a reply failed. */
export function failure(code, message) {
  return code === "circuit-open" ? `${UNAVAILABLE}.` : sentence(message || code || "The reply failed");
}

/** Why the page does not send now. */
export function waiting(code, seconds) {
  const why = code === "circuit-open" ? `${UNAVAILABLE}.` : REFUSALS[code];
  return `${why} You can send again ${code === "maintenance" && !seconds ? "when it is over" : `in ${span(seconds)}`}.`;
}

/** The banner of a breaker that lets nothing through, or only a trial: [title, detail]. */
export function banner(bot, seconds) {
  if (bot.breaker === "forced-open") return ["Bot Unavailable", `It was switched off (${bot.why}). Next try in ${span(seconds)}.`];
  if (bot.breaker === "open" && seconds > 0) {
    return [UNAVAILABLE, `It failed too often and gets a rest. Next try in ${seconds} s.`];
  }
  return [UNAVAILABLE, "The next message tests it."];
}

export function passes(breaker) {
  return breaker === "closed" || breaker in BREAKERS;
}

const BREAKERS = { "disabled": "breaker switched off", "metrics-only": "breaker only counts" };

const OFF = { launches: "no bots are launched", series: "charts stand still", checkpoints: "replies are saved at their end", retries: "failed replies are not tried again" };

/** The banner of a service that is not whole: [title, detail]. */
export function modeBanner({ mode, off, why }, seconds) {
  const because = why ? ` ${sentence(`Why: ${why}`)}` : "";
  if (mode === "maintenance") return ["Maintenance", `no messages are taken.${because}${seconds ? ` Over in ${span(seconds)}.` : ""}`];
  return ["Reduced service", `${off.map((name) => OFF[name] ?? `no ${name}`).join(", ")}.${because}`];
}

/** State of a bot in one or two words. */
export function botState(bot) {
  if (bot.breaker === "open") return "recovering";
  if (bot.breaker === "forced-open") return "switched off";
  if (bot.breaker === "half-open") return "testing";
  return bot.state;
}

/** What a bot is doing. */
export function botWork(bot) {
  const parts = [];
  if (bot.breaker in BREAKERS) parts.push(BREAKERS[bot.breaker]);
  if (bot.instances > 1) parts.push(`${bot.instances} processes`);
  if (bot.in_flight) parts.push(`${bot.in_flight} replying`);
  if (bot.queued) parts.push(`${bot.queued} waiting`);
  if (bot.restarts) parts.push(`restarted ${bot.restarts === 1 ? "once" : `${bot.restarts} times`}`);
  return parts.join(", ");
}

const GOODBYES = {
  restart: "The service restarts. ",
  busy: "The service has too much to do. ",
  refused: "The service refused the connection. ",
};

/** The connection in words. */
export function connection(link, seconds) {
  const attempt = `(attempt ${link.attempt})`;
  if (link.state === "online") return "Connected";
  if (link.attempt === 0) return "Connecting";
  if (link.state === "resuming") return `Connected again, catching up ${attempt}`;
  if (link.state === "connecting") return `Reconnecting ${attempt}`;
  if (link.state === "offline") return `This device is offline. Reconnecting in ${seconds} s ${attempt}`;
  return `${GOODBYES[link.why] ?? ""}Reconnecting in ${seconds} s ${attempt}`;
}

/** The foot of a session in the list. */
export function sessionLine(messages, when) {
  return `${messages ? many(messages, "message") : "empty"} · ${when}`;
}

function sentence(text) {
  return /[.!?…]\s*$/.test(text) ? text : `${text}.`; // No capital: it may begin with a bot's name.
}
