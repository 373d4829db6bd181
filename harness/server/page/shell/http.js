/* HTTP: the calls of docs/reference/http-api.md.
 *
 * In    what is wanted
 * Out   the answer's JSON, or CallError with a sentence for the reader
 * Rule  every call ends within 10 s
 * Why   a button that does nothing for ever is worse than one that says why
 */

const ANSWER_MAX_MS = 10_000;

export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export const listBots = () => call("GET", "/api/bots");
export const launchBot = (wish) => call("POST", "/api/bots", wish);
export const removeBot = (bot) => call("DELETE", `/api/bots/${encodeURIComponent(bot)}`);
export const readAlerts = () => call("GET", "/api/alerts");
export const readDashboard = () => call("GET", "/api/dashboard");
export const readColumns = () => call("GET", "/api/dashboard/data");
export const listSessions = (bot, limit) => call("GET", `/api/sessions?bot=${encodeURIComponent(bot)}&limit=${limit}`);
export const openSession = (bot) => call("POST", "/api/sessions", { bot });
export const messagesBefore = (session, mid, limit) =>
  call("GET", `/api/sessions/${encodeURIComponent(session)}/messages?before=${encodeURIComponent(mid)}&limit=${limit}`);

async function call(method, path, body) {
  const wish = { method, signal: AbortSignal.timeout(ANSWER_MAX_MS), cache: "no-store", headers: {} };
  if (body !== undefined) {
    wish.body = JSON.stringify(body);
    wish.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, wish);
  } catch (error) {
    throw error.name === "TimeoutError"
      ? new CallError("timeout", "The service did not answer within 10 seconds. Try again.")
      : new CallError("unreachable", "The service cannot be reached. Is it running?");
  }
  const data = await answer.json().catch(() => null);
  if (answer.ok) return data;
  throw new CallError(data?.error?.code ?? String(answer.status), data?.error?.message ?? `The service answered ${answer.status}.`);
}
