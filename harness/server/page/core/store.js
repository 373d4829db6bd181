/* Store: everything that the page knows, and how each event changes it.
 *
 * In    (state, event): a frame of the service, a change of the connection, something the user did
 * Out   the next state; the old one stays as it was
 * Rule  no clock, no network, no DOM; a frame that comes twice or out of order changes nothing;
 *       a hole in the log is reported in `gap` and never papered over
 * Why   the screen is a function of this value, so it can be tested without one
 *
 *   entries, oldest first
 *     {key, role: "user", cid, mid, text, at, state: sending | accepted | failed, code, reason, retry (seconds),
 *      again (goes out by itself), tries (so far, by itself)}
 *     {key, role: "bot", cid, mid (= turn), text, chars, at, state: waiting | streaming | done | cancelled | failed |
 *      interrupted, code, reason, intact}
 *   A reply stands below the message that it answers, in whatever order they arrive.
 */

import { again, held, lifted } from "./pace.js";
import { dropPoints, points } from "./text.js";

/** Entries kept in memory; what is older can be loaded again. */
export const ENTRIES_MAX = 2_000;

export function start() {
  return {
    link: { state: "connecting", attempt: 0, until: null, why: "" },
    bots: [],
    known: false, // whether the list of bots has arrived
    mode: null,
    holds: [], // of pace.js
    limits: {},
    bot: null,
    session: null,
    ...unread(),
  };
}

function unread() {
  return { joined: false, fresh: true, epoch: null, seq: 0, entries: [], more: false, gap: "", trouble: null };
}

export function reduce(state, event) {
  switch (event.type) {
    case "link":
      return { ...state, link: event.link, joined: event.link.state === "online" && state.joined };
    case "select":
      return { ...state, bot: event.bot, session: event.session, ...unread() };
    case "opened": // the first message made the session: what was written so far belongs to it
      return { ...state, session: event.session, joined: false, fresh: false };
    case "joining":
      return { ...state, joined: false, gap: "" };
    case "wrote":
      return { ...state, entries: put(state.entries, written(event.message)) };
    case "again":
      return { ...state, entries: change(state.entries, `u:${event.cid}`, 
        { state: "sending", code: "", reason: "", retry: null, again: false, tries: event.tries ?? 0 }) };
    case "soon": // as soon as it may
      return { ...state, entries: change(state.entries, `u:${event.cid}`, { again: true }) };
    case "threw-away":
      return { ...state, entries: state.entries.filter((entry) => entry.key !== `u:${event.cid}` || entry.state === "accepted") };
    case "earlier":
      return earlier(state, event.messages, event.more);
    case "trouble":
      return { ...state, trouble: event.trouble };
    case "bots":
      if (state.known && state.link.state === "online") return state; // The socket tells newer things than this answer.
      return { ...state, bots: event.bots.filter(running).map((bot) => timed(bot, event.now)).sort(byName), known: true };
    case "launched":
      if (state.bots.some((bot) => bot.bot === event.status.bot)) return state; // Likewise.
      return { ...state, bots: withBot(state.bots, event.status, event.now) };
    case "frame":
      return framed(state, event.frame, event.now);
    default:
      return state;
  }
}

/** The selected bot's newest state, or null. */
export function selectedBot(state) {
  return state.bots.find((bot) => bot.bot === state.bot) ?? null;
}

/** Turns whose reply is still to come or coming. */
export function openTurns(state) {
  return state.entries.filter(isOpen).map((entry) => entry.mid);
}

export function isOpen(entry) {
  return entry.role === "bot" && (entry.state === "waiting" || entry.state === "streaming");
}

// --- Frames ---------------------------------------------------------------------------------------------------------
function framed(state, frame, now) {
  switch (frame.type) {
    case "welcome":
      return welcomed(state, frame, now);
    case "bot-status":
      return eased({ ...state, bots: withBot(state.bots, frame, now) });
    case "service-mode":
      return eased({ ...state, mode: timed(frame, now) });
    case "rejected":
      return refused(state, frame, now);
    case "accepted": case "begin": case "delta": case "end": case "failed":
      return logged(state, frame, now);
    default:
      return state;
  }
}

function refused(state, frame, now) {
  const place = find(state.entries, `u:${frame.cid}`), entry = state.entries[place];
  if (!entry || entry.state === "accepted") return state;
  const { code, message: reason = "", retry_after_s: retry = null } = frame;
  return { ...state, holds: held(state, frame, now),
    entries: state.entries.with(place, { ...entry, state: "failed", code, reason, retry, again: again(frame, entry.tries) }) };
}

function eased(state) {
  return { ...state, holds: lifted(state) };
}

function welcomed(state, frame, now) {
  const next = eased({ ...state, limits: frame.limits ?? {}, known: true, mode: frame.mode ? timed(frame.mode, now) : null,
    bots: (frame.bots ?? []).filter(running).map((bot) => timed(bot, now)).sort(byName) });
  if ((frame.session ?? null) !== state.session) return next; // The answer to a hello that was overtaken.
  if (state.session === null) return { ...next, joined: true, fresh: false };
  if (frame.recovered) return { ...next, joined: true, fresh: false, gap: "" };
  const stored = (frame.messages ?? []).map(fromStore);
  const entries = merged(state.entries, stored);
  const more = entries[0]?.key === stored[0]?.key ? frame.more : state.more;
  return { ...next, joined: true, fresh: false, gap: "", epoch: frame.epoch, seq: frame.head_seq, entries, more };
}

function logged(state, frame, now) {
  if (!state.joined) return state; // Of another session, or the snapshot that is on its way holds it.
  if (frame.seq !== undefined) {
    if (frame.seq <= state.seq) return frame.type === "accepted" ? { ...state, entries: settled(state.entries, frame, now) } : state;
    if ((frame.first ?? frame.seq) > state.seq + 1) return { ...state, gap: "resume" };
  }
  const entries = applied(state.entries, frame, now);
  if (entries === null) return { ...state, gap: "snapshot" };
  return { ...state, ...bounded(entries, state.more), seq: frame.seq ?? state.seq };
}

/** The entries after a frame; null if something before it is missing. */
function applied(entries, frame, now) {
  const key = `r:${frame.turn}`;
  switch (frame.type) {
    case "accepted": {
      const next = settled(entries, frame, now);
      return frame.seq === undefined || find(next, key) >= 0 ? next : put(next, reply(frame.turn, frame.cid, now));
    }
    case "begin":
      return with_(entries, frame, now, (entry) => (entry.state === "waiting" ? { state: "streaming" } : {}));
    case "delta": {
      const place = find(entries, key);
      const have = place < 0 ? 0 : entries[place].chars;
      if (frame.at > have) return null;
      const piece = dropPoints(frame.text, have - frame.at);
      return with_(entries, frame, now, (entry) => ({ state: "streaming", text: entry.text + piece, chars: have + points(piece) }));
    }
    case "end":
      return with_(entries, frame, now, (entry) => ({ state: frame.state, intact: entry.chars === frame.chars }));
    case "failed":
      return with_(entries, frame, now, () => ({ state: "failed", code: frame.code, reason: frame.message ?? "" }));
    default:
      return entries;
  }
}

function with_(entries, frame, now, changes) {
  const key = `r:${frame.turn}`;
  const all = find(entries, key) >= 0 ? entries : put(entries, reply(frame.turn, frame.cid ?? "", now));
  const entry = all[find(all, key)];
  return change(all, key, changes(entry));
}

/** A message of this page or of another tab is saved. It takes its place in the order of the log. */
function settled(entries, frame, now) {
  const place = find(entries, `u:${frame.cid}`);
  if (place >= 0 && entries[place].state === "accepted") return entries;
  const known = place >= 0 ? entries[place] : written({ cid: frame.cid, text: frame.text, at: now, state: "accepted" });
  const rest = entries.filter((_, other) => other !== place);
  return put(rest, { ...known, mid: frame.mid, text: frame.text ?? known.text, state: "accepted", code: "", reason: "", again: false });
}

// --- Entries --------------------------------------------------------------------------------------------------------
function written(message) {
  return { key: `u:${message.cid}`, role: "user", cid: message.cid, mid: "", text: message.text, at: message.at,
    state: message.state, code: message.code ?? "", reason: message.reason ?? "", retry: null, again: false, tries: 0 };
}

function reply(turn, cid, at) {
  return { key: `r:${turn}`, role: "bot", cid, mid: turn, text: "", chars: 0, at, state: "waiting", code: "", reason: "", intact: true };
}

function fromStore(message) {
  const at = message.at * 1000, { mid, cid, text, state } = message;
  if (message.role === "user") return { ...written({ cid: cid ?? mid, text, at, state: "accepted" }), mid };
  return { ...reply(mid, cid ?? "", at), text, chars: points(text), state: state === "accepted" ? "waiting" : state, reason: message.error ?? "" };
}

/** Put a new entry where it belongs: a reply below its message, what is saved above what is still being sent. */
function put(entries, entry) {
  let place = entries.length;
  if (entry.role === "bot") {
    const asked = entry.cid ? find(entries, `u:${entry.cid}`) : -1;
    if (asked >= 0) {
      place = asked + 1;
      while (place < entries.length && entries[place].role === "bot" && entries[place].cid === entry.cid) place++;
    }
  } else if (entry.state === "accepted") {
    while (place > 0 && entries[place - 1].state === "sending") place--;
  } else if (entry.state === "failed") {
    while (place > 0 && (entries[place - 1].state === "sending" || entries[place - 1].at > entry.at)) place--;
  }
  return entries.toSpliced(place, 0, entry);
}

function change(entries, key, changes, only = () => true) {
  const place = find(entries, key);
  return place < 0 || !only(entries[place]) ? entries : entries.with(place, { ...entries[place], ...changes });
}

/** From the end: what changes is nearly always the newest. */
function find(entries, key) {
  return entries.findLastIndex((entry) => entry.key === key);
}

/** The stored newest part, below what is older and above what is not sent yet. */
function merged(entries, stored) {
  const first = stored.length ? find(entries, stored[0].key) : -1;
  const older = first > 0 ? entries.slice(0, first).filter((entry) => entry.state !== "sending" && entry.state !== "failed" || entry.role === "bot") : [];
  const saved = stored.reduce(put, older);
  const keys = new Set(saved.map((entry) => entry.key));
  return entries.filter((entry) => entry.role === "user" && entry.state !== "accepted" && !keys.has(entry.key)).reduce(put, saved);
}

function earlier(state, messages, more) {
  const keys = new Set(state.entries.map((entry) => entry.key));
  const older = messages.map(fromStore).filter((entry) => !keys.has(entry.key)).reduce(put, []);
  // A reply whose message was just loaded stands at the top without it: it moves below.
  const entries = state.entries.reduce((all, entry) => (entry.role === "bot" ? put(all, entry) : [...all, entry]), older);
  return { ...state, entries, more };
}

function bounded(entries, more) {
  if (entries.length <= ENTRIES_MAX) return { entries, more };
  return { entries: entries.slice(entries.length - ENTRIES_MAX), more: true };
}

// --- Bots -----------------------------------------------------------------------------------------------------------
function withBot(bots, status, now) {
  const others = bots.filter((bot) => bot.bot !== status.bot);
  return running(status) ? [...others, timed(status, now)].sort(byName) : others;
}

function timed(status, now) {
  return { ...status, until: status.retry_after_s == null ? null : now + status.retry_after_s * 1000 };
}

function running(bot) {
  return bot.state !== "stopped";
}

function byName(one, other) {
  return one.bot.localeCompare(other.bot, "en", { numeric: true });
}
