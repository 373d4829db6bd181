/* Outbox: what was written and is not yet known to be saved by the service.
 *
 * In    text, session, a moment, random bytes; stored strings
 * Out   messages {cid, session, text, at, state, code, reason}; the string to store
 * Rule  a message keeps its cid through every retry, reload and reconnect, so the service takes it once;
 *       it leaves the outbox when it was accepted or thrown away by its author, never otherwise
 * Why   the text belongs to its author until the service has it
 */

/** A UUID version 7, so that ids sort by time, from milliseconds and 16 random bytes. */
export function newCid(now, dice) {
  const bytes = Uint8Array.from(dice);
  for (let place = 0, rest = now; place < 6; place++, rest = Math.floor(rest / 256)) bytes[5 - place] = rest % 256;
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export function newMessage(cid, session, text, at) {
  return { cid, session, text, at, state: "sending", code: "", reason: "" };
}

export function pack(message) {
  return JSON.stringify(message);
}

/** Read a stored message; null for anything that is none. */
export function unpack(stored) {
  try {
    const { cid, session, text, at, state, code, reason } = JSON.parse(stored ?? "");
    if (![cid, session, text].every((part) => typeof part === "string" && part)) return null;
    return {
      cid, session, text,
      at: Number.isFinite(at) ? at : 0,
      state: state === "failed" ? "failed" : "sending",
      code: String(code ?? ""),
      reason: String(reason ?? ""),
    };
  } catch {
    return null;
  }
}

/** Why a text cannot be sent, or "". */
export function fault(text, chars, frameBytes, limits) {
  if (!text.trim()) return "Write something first.";
  const charsMax = limits.text_chars_max ?? Infinity;
  if (chars > charsMax) return `Too long by ${(chars - charsMax).toLocaleString("en")} characters.`;
  if (frameBytes > (limits.frame_bytes_max ?? Infinity)) return "Too long for one message: shorten it.";
  return "";
}
