/* Route: the selected bot and session in the address, after the #.
 *
 * In    a hash, or a bot and a session
 * Out   the other
 * Rule  "#/BOT/SESSION", "#/BOT" or nothing
 * Why   a reload, a bookmark and the back button lead to the same conversation
 */

export function read(hash) {
  const [start, bot, session] = hash.replace(/^#/, "").split("/").map(decoded);
  if (start) return { bot: null, session: null };
  return { bot: bot || null, session: (bot && session) || null };
}

export function write(bot, session) {
  if (!bot) return "#";
  return `#/${encodeURIComponent(bot)}${session ? `/${encodeURIComponent(session)}` : ""}`;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
