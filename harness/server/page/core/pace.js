/* Pace: how long the page holds back what somebody wants to send, and what goes out by itself when it may.
 *
 * In    refusals, the state, moments in ms
 * Out   the hold that counts now, or null; the message that goes out next
 * Rule  a hold is as wide as its reason, and ends with it; one message at a time goes out again, and not for ever
 * Why   a page that tries again at once is part of the crowd that it was asked to wait for
 */

// The part of the state that must be the same; "all" is none.
const SCOPES = { "rate-limited": "session", "busy": "bot", "circuit-open": "bot", "over-capacity": "all", "maintenance": "all" };
// Who sent these wants them to go, and soon they can. All else is for people to decide.
const PACE = ["rate-limited", "busy", "over-capacity"];
const TRIES_MAX = 5;
const WAIT_MAX_S = 60;

/** Whether a refused message goes out again by itself. */
export function again({ code, retry_after_s }, tries) {
  return PACE.includes(code) && tries < TRIES_MAX && retry_after_s <= WAIT_MAX_S && retry_after_s > 0;
}

/** The holds after a refusal. */
export function held(state, { code, retry_after_s }, now) {
  const scope = SCOPES[code];
  const rest = state.holds.filter((one) => one.until > now && (one.scope !== scope || one.of !== state[scope]));
  return scope && retry_after_s ? [...rest, { scope, of: state[scope], code, until: now + retry_after_s * 1000 }] : state.holds;
}

/** The holds after news: who is back need not be waited for. */
export function lifted({ holds, bots, mode }) {
  return holds.filter(({ code, of }) => code === "circuit-open" ? bots.some((bot) => bot.bot === of && bot.until)
    : code !== "maintenance" || mode?.mode === code);
}

/** What keeps the page from sending now; `until` is null if nobody knows. */
export function hold(state, now) {
  if (state.mode?.mode === "maintenance") return { code: "maintenance", until: state.mode.until };
  return state.holds.filter((one) => one.of === state[one.scope] && one.until > now).sort((a, b) => b.until - a.until)[0] ?? null;
}

/** The message that goes out again now, or null. */
export function due(state, now) {
  if (!state.joined || hold(state, now)) return null;
  const mine = state.entries.filter((entry) => entry.role === "user");
  return mine.some((entry) => entry.state === "sending") ? null : mine.find((entry) => entry.again) ?? null;
}
