/* App: the page put together.
 *
 * In    frames, clicks, the address, the clock
 * Out   events for the store; acts: frames to send, calls, things to keep; the screen, once a frame
 * Rule  every change goes through `happen`; the screen is drawn from the state and nothing else
 * Why   one place where an event meets its consequences
 */

import { newCid, newMessage } from "./core/outbox.js";
import { due, hold } from "./core/pace.js";
import { read, write } from "./core/route.js";
import { openTurns, reduce, start } from "./core/store.js";
import { secondsLeft } from "./core/text.js";
import { failure, refusal, waiting } from "./core/words.js";
import { announcer } from "./shell/announcer.js";
import { composer } from "./shell/composer.js";
import { get } from "./shell/dom.js";
import { listSessions, messagesBefore, openSession } from "./shell/http.js";
import { forgetMessage, keepMessage, keptMessage, keptMessages, onForgotten } from "./shell/keep.js";
import { Link } from "./shell/link.js";
import { sidebar } from "./shell/sidebar.js";
import { status } from "./shell/status.js";
import { transcript } from "./shell/transcript.js";

const EARLIER = 50;
const FRAME_MIN_MS = 16;
const FRAME_MAX_MS = 120;

let state = start();
let sessions = [];
let selections = 0; // Counts them, so that a late answer for an earlier one is dropped.
let opening = false; // The first message is making its session.
let drawing = false, cost = 0, listing = 0;
let heldBy, over, dialogs;

const say = announcer();
const link = new Link(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, hello, {
  frame: heard,
  link: (now) => happen({ type: "link", link: now }),
  joining: () => happen({ type: "joining" }),
});
const side = sidebar({ select, fresh, more: () => sessionsOf(state.bot) });
const top = status({ wake: () => link.wake(), calm: () => happen({ type: "trouble", trouble: null }) }, say);
const box = composer({ say: speak, stop, wait: say.urgent });
const paper = transcript({
  earlier, retry, drop, resend: (entry) => post(state.entries.find((one) => one.key === `u:${entry.cid}`)?.text ?? ""),
  launch: () => ask("launch"), drawer: () => side.drawer(true),
});

get("skip").addEventListener("click", () => get(state.bot ? "message" : "empty-action").focus()); // A link would change the address.
get("launch-open").addEventListener("click", () => ask("launch"));
get("remove-open").addEventListener("click", () => ask("remove", state.bot));
addEventListener("hashchange", followAddress);
onForgotten((cid) => happen({ type: "threw-away", cid }));
setInterval(() => draw(), 1_000);
followAddress();
link.wake();

// --- The one way in -------------------------------------------------------------------------------------------------
function happen(event) {
  state = reduce(state, event);
  if (state.gap && state.joined) link.join();
  draw();
}

/** Draw soon: once a frame, and less often when drawing is costly, so that typing always has most of the time. */
function draw() {
  if (drawing) return;
  drawing = true;
  const wait = Math.min(FRAME_MAX_MS, 4 * cost);
  const paint = () => {
    drawing = false;
    const begun = performance.now(), now = Date.now();
    side.show(state, sessions, now);
    top.show(state, now);
    box.show(state, pace(now));
    paper.show(state, now);
    cost = performance.now() - begun;
  };
  if (document.hidden) setTimeout(paint, FRAME_MAX_MS);
  else if (wait > FRAME_MIN_MS) setTimeout(() => requestAnimationFrame(paint), wait - FRAME_MIN_MS);
  else requestAnimationFrame(paint);
}

/** Send what has waited and may go; why nothing can be sent now, or "". */
function pace(now) {
  const next = due(state, now), stop = hold(state, now);
  if (next) retry(next, next.tries + 1);
  if (stop?.code !== heldBy) {
    if (!stop && !next) say.polite("You can send again.");
    heldBy = stop?.code;
  }
  clearTimeout(over);
  if (stop?.until) over = setTimeout(draw, Math.min(stop.until - now + 1, 1_000));
  return stop ? waiting(stop.code, secondsLeft(stop.until, now)) : "";
}

// --- Frames ---------------------------------------------------------------------------------------------------------
function hello() {
  return { session: state.session, epoch: state.gap === "snapshot" ? null : state.epoch, last_seq: state.seq };
}

function heard(frame) {
  const before = state;
  happen({ type: "frame", frame, now: Date.now() });
  switch (frame.type) {
    case "welcome":
      if (state.joined) joined();
      break;
    case "accepted":
      forgetMessage(frame.cid);
      if (before.joined) listAgain();
      break;
    case "rejected": {
      const kept = keptMessage(frame.cid);
      if (kept) keepMessage({ ...kept, state: "failed", code: frame.code, reason: frame.message ?? "" });
      const entry = state.entries.find((one) => one.key === `u:${frame.cid}`);
      if (!entry?.tries) say.urgent(`Not sent${entry?.again ? " yet" : ""}: ${refusal(frame.code, frame.message ?? "")}`);
      break;
    }
    case "begin":
      if (state !== before) say.polite(`${state.bot} is replying.`);
      break;
    case "end":
      listAgain();
      if (state !== before) say.polite(frame.state === "cancelled" ? "Reply stopped." : `Reply complete. ${spoken(frame.turn)}`);
      break;
    case "failed":
      if (state !== before) say.urgent(`The reply failed: ${failure(frame.code, frame.message ?? "")}`);
      break;
    case "error":
      complaint(frame);
      break;
    default:
  }
  if (state.joined && frame.seq !== undefined && state.session) link.applied(state.seq);
}

function joined() {
  if (!state.session) return;
  for (const message of keptMessages(state.session)) {
    const entry = state.entries.find((one) => one.key === `u:${message.cid}`);
    if (entry?.state === "accepted") forgetMessage(message.cid);
    else {
      if (!entry) happen({ type: "wrote", message });
      if (message.state === "sending") link.send({ type: "say", cid: message.cid, text: message.text });
    }
  }
  listAgain();
}

function complaint(frame) {
  if (frame.code === "unknown-session") {
    const { bot } = state;
    select(bot, null);
    happen({ type: "trouble", trouble: "This session does not exist any more. Choose another one, or write to open a new one." });
    return;
  }
  const pending = state.entries.find((entry) => entry.role === "user" && entry.state === "sending");
  if (pending && ["too-big", "bad-field", "not-json"].includes(frame.code)) {
    keepMessage({ ...pending, session: state.session, state: "failed", code: frame.code, reason: frame.message });
    happen({ type: "frame", frame: { type: "rejected", cid: pending.cid, code: frame.code, message: frame.message }, now: Date.now() });
  }
  happen({ type: "trouble", trouble: `The service did not take something this page sent: ${frame.message ?? frame.code}` });
}

function spoken(turn) {
  const words = state.entries.find((entry) => entry.key === `r:${turn}`)?.text ?? "";
  return words.length > 500 ? `${words.slice(0, 500)} …` : words;
}

// --- What a person does ---------------------------------------------------------------------------------------------
function followAddress() {
  const { bot, session } = read(location.hash);
  if (bot !== state.bot || session !== state.session) go(bot, session);
}

/** Choose a bot, and one of its sessions: the newest if none is named, a new one for null. */
async function select(bot, session) {
  if (session === undefined && bot === state.bot) return;
  go(bot, session ?? null);
  if (session !== undefined) return;
  const mine = selections;
  const list = await sessionsOf(bot);
  if (mine === selections && list[0] && !state.session && !opening) go(bot, list[0].id, true);
}

function fresh() {
  go(state.bot, null);
  box.focus();
}

function go(bot, session, instead = false) {
  selections++;
  if (bot !== state.bot) sessions = [];
  happen({ type: "select", bot, session });
  const address = write(bot, session);
  if (location.hash !== address) history[instead ? "replaceState" : "pushState"](null, "", address);
  link.join();
  if (bot && session === null) listAgain();
  if (bot) box.focus();
}

/** Dialogs are loaded when one is asked for: most visits need none. */
async function ask(which, about = "") {
  dialogs ??= import("./shell/dialogs.js").then(({ launchDialog, removeDialog }) => ({
    launch: launchDialog({ launched, listed: (answer) => happen({ type: "bots", bots: answer.bots, now: Date.now() }) }),
    remove: removeDialog({ removed: (bot) => say.polite(`${bot} was removed.`) }),
  }));
  const made = await dialogs.catch(() => null);
  if (made) return made[which].open(about);
  dialogs = undefined;
  happen({ type: "trouble", trouble: "The service cannot be reached." });
}

function launched(status) {
  happen({ type: "launched", status, now: Date.now() });
  say.polite(`${status.bot} was launched.`);
  side.drawer(false);
  select(status.bot);
}

/** Give back whether the outbox has the text. */
async function speak(words) {
  const mine = selections;
  if (!state.session) {
    opening = true;
    try {
      const session = await openSession(state.bot);
      if (mine !== selections) return false;
      happen({ type: "opened", session: session.id });
      box.moved(session.id);
      history.replaceState(null, "", write(state.bot, session.id));
      sessions = [session, ...sessions];
      post(words);
      link.join();
      return true;
    } catch (error) {
      box.warn(error.message);
      return false;
    } finally {
      opening = false;
    }
  }
  post(words);
  return true;
}

function post(words) {
  if (!words) return;
  const cid = newCid(Date.now(), crypto.getRandomValues(new Uint8Array(16)));
  const message = newMessage(cid, state.session, words, Date.now());
  keepMessage(message);
  happen({ type: "wrote", message });
  if (state.joined) link.send({ type: "say", cid, text: words });
  get("scroller").scrollTop = 0;
}

/** `tries`: how often the page has sent it again by itself. */
function retry(entry, tries = 0) {
  if (hold(state, Date.now())) {
    happen({ type: "soon", cid: entry.cid });
    return;
  }
  keepMessage(newMessage(entry.cid, state.session, entry.text, entry.at));
  happen({ type: "again", cid: entry.cid, tries });
  if (state.joined) link.send({ type: "say", cid: entry.cid, text: entry.text });
}

function drop(entry) {
  forgetMessage(entry.cid);
  happen({ type: "threw-away", cid: entry.cid });
}

function stop() {
  for (const turn of openTurns(state)) link.send({ type: "cancel", turn });
}

async function earlier() {
  const first = state.entries.find((entry) => entry.mid);
  if (!first) return;
  const mine = selections;
  try {
    const { messages, more } = await messagesBefore(state.session, first.mid, EARLIER);
    if (mine === selections) happen({ type: "earlier", messages, more });
  } catch (error) {
    happen({ type: "trouble", trouble: error.message });
  }
}

// --- Sessions -------------------------------------------------------------------------------------------------------
/** Soon, and once for many reasons. */
function listAgain() {
  listing ||= setTimeout(async () => {
    listing = 0;
    if (state.bot) await sessionsOf(state.bot);
  }, 250);
}

async function sessionsOf(bot) {
  try {
    const answer = await listSessions(bot, side.wanted());
    if (bot === state.bot) sessions = answer.sessions ?? [];
  } catch { /* The strip says that the connection is lost; the list stays as it was. */ }
  draw();
  return bot === state.bot ? sessions : [];
}
