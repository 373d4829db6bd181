/* Keep: drafts and unsent messages in the browser's storage.
 *
 * In    messages, drafts
 * Out   the same after a reload
 * Rule  one entry a message, so that two tabs never overwrite each other; a browser that refuses storage costs
 *       the survival of a reload and nothing else
 * Why   what somebody wrote is kept until the service has it
 */

import { pack, unpack } from "../core/outbox.js";

const OUTBOX = "hive.outbox.";
const DRAFT = "hive.draft.";
const memory = new Map();

export function keepMessage(message) {
  put(OUTBOX + message.cid, pack(message));
}

export function forgetMessage(cid) {
  drop(OUTBOX + cid);
}

export function keptMessage(cid) {
  return unpack(take(OUTBOX + cid));
}

/** Unsent messages of a session, oldest first. */
export function keptMessages(session) {
  return names().filter((name) => name.startsWith(OUTBOX)).map((name) => unpack(take(name)))
    .filter((message) => message?.session === session).sort((one, other) => (one.cid < other.cid ? -1 : 1));
}

/** A draft belongs to a session, or to a bot before its first message. */
export function keepDraft(place, text) {
  if (text) put(DRAFT + place, text);
  else drop(DRAFT + place);
}

export function keptDraft(place) {
  return take(DRAFT + place) ?? "";
}

/** Call back when another tab took a message out of its outbox. */
export function onForgotten(heard) {
  addEventListener("storage", (event) => {
    if (event.key?.startsWith(OUTBOX) && event.newValue === null) heard(event.key.slice(OUTBOX.length));
  });
}

function put(name, value) {
  memory.set(name, value);
  try {
    localStorage.setItem(name, value);
  } catch { /* Memory has it. */ }
}

function drop(name) {
  memory.delete(name);
  try {
    localStorage.removeItem(name);
  } catch { /* Nothing was stored. */ }
}

function take(name) {
  try {
    return localStorage.getItem(name) ?? memory.get(name) ?? null;
  } catch {
    return memory.get(name) ?? null;
  }
}

function names() {
  try {
    return [...new Set([...Object.keys(localStorage), ...memory.keys()])];
  } catch {
    return [...memory.keys()];
  }
}
