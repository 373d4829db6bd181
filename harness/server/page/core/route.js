/* Route: the selected bot and session in the address, after the #.
 *
 * In    a hash, or a bot and a session
 * Out   the other
 * Rule  "#/BOT/SESSION", "#/BOT" or nothing
 * Why   a reload, a bookmark and the back button lead to the same conversation
 */

/** @param {string} hash */
export function read(hash) {
  const [, bot, session] = hash.replace(/^#/, "").split("/").map(decoded);
  return { bot: bot || null, session: (bot && session) || null };
}

/** @param {string|null} bot @param {string|null} session */
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
