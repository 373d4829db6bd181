// Asks the pace: what is held back, for whom, until when, and what goes out by itself.
async () => {
  const { reduce, start } = await import("/static/core/store.js");
  const { again, due, hold } = await import("/static/core/pace.js");
  const { banner, botState, botWork, modeBanner, passes, refusal, waiting } = await import("/static/core/words.js");
  const { span } = await import("/static/core/text.js");
  const play = (state, ...events) => events.reduce(reduce, state);
  const frame = (type, rest, now = 1_000) => ({ type: "frame", frame: { type, ...rest }, now });
  const bot = (name, breaker, retry_after_s = null) =>
    ({ bot: name, behaviour: "echo", state: "online", breaker, retry_after_s, in_flight: 0, queued: 0, restarts: 0, why: "", instances: 1 });
  const whole = (mode, retry_after_s = null) => ({ mode, level: "good", score: 99, off: [], why: "", retry_after_s });
  const wrote = (cid) => ({ type: "wrote", message: { cid, session: "s", text: cid, at: 0, state: "sending" } });
  const select = (name, session) => ({ type: "select", bot: name, session });
  const welcome = (session, mode = whole("full")) => frame("welcome",
    { session, epoch: "e", head_seq: 0, recovered: false, messages: [], limits: {}, bots: [bot("b", "closed"), bot("c", "closed")], mode });
  const open = play(start(), select("b", "s"), welcome("s"), wrote("m1"), wrote("m2"));
  const no = (cid, code, retry_after_s = 3) => frame("rejected", { cid, code, message: "no", retry_after_s });
  const code = (state, now = 1_500) => hold(state, now)?.code ?? null;
  const elsewhere = (state) => [["b", "t"], ["c", "u"]].map(([name, session]) => code(play(state, select(name, session))));
  const seen = {};
  seen.scopes = ["rate-limited", "busy", "circuit-open", "over-capacity", "maintenance", "too-long"].map((why) => {
    const state = play(open, frame("bot-status", bot("b", "open", 9)), no("m1", why));
    return [why, code(state), code(state, 4_000), ...elsewhere(state)];
  });
  seen.untimed = code(play(open, no("m1", "busy", null)));
  seen.longest = hold(play(open, no("m1", "rate-limited", 2), no("m2", "over-capacity", 5)), 1_500).until;
  seen.newest = hold(play(open, no("m1", "busy", 9), no("m2", "busy", 2)), 1_500).until;
  seen.unknown = code(play(open, no("nobody", "busy")));
  const tripped = play(open, frame("bot-status", bot("b", "open", 9)), no("m1", "circuit-open", 9));
  seen.back = [code(tripped), code(play(tripped, frame("bot-status", bot("c", "closed")))), code(play(tripped, frame("bot-status", bot("b", "half-open"))))];
  const closed = play(open, frame("service-mode", whole("maintenance", 60)), no("m1", "maintenance", 60));
  seen.maintenance = [hold(closed, 1_500), code(play(closed, frame("service-mode", whole("full")))), hold(play(open, frame("service-mode", whole("maintenance"))), 0)];
  // What goes out by itself: the oldest first, one at a time, not for ever, never what people must decide.
  const slowed = play(open, no("m1", "rate-limited", 1), no("m2", "rate-limited", 2));
  seen.due = [1_500, 2_999, 3_000].map((now) => due(slowed, now)?.cid ?? null);
  const going = play(slowed, { type: "again", cid: "m1", tries: 1 });
  seen.oneAtATime = due(going, 3_000);
  seen.then = due(play(going, frame("accepted", { seq: 1, cid: "m1", mid: "x", turn: "t", text: "m1" })), 3_000)?.cid;
  seen.tries = [0, 4, 5].map((tries) => again({ code: "busy", retry_after_s: 1 }, tries));
  seen.never = ["circuit-open", "maintenance", "too-long"].map((why) => again({ code: why, retry_after_s: 1 }, 0));
  seen.tooLong = [60, 61, null, undefined].map((retry_after_s) => again({ code: "busy", retry_after_s }, 0));
  seen.lost = due(play(slowed, { type: "link", link: { state: "waiting", attempt: 1, until: 0, why: "" } }), 3_000);
  seen.asked = due(play(tripped, { type: "soon", cid: "m1" }, frame("bot-status", bot("b", "half-open")), frame("rejected", { cid: "m2", code: "empty" })), 1_500)?.cid;
  // Words.
  seen.words = [waiting("rate-limited", 3), waiting("circuit-open", 200), waiting("maintenance", 0), refusal("over-capacity", "x")];
  seen.modes = [modeBanner({ mode: "maintenance", off: ["messages"], why: "new disks" }, 60), modeBanner({ mode: "degraded", off: ["retries", "odd"], why: "" }, 0)];
  seen.breakers = ["closed", "open", "half-open", "forced-open", "disabled", "metrics-only"].map((how) =>
    [passes(how), botState(bot("b", how)), botWork(bot("b", how))]);
  seen.forced = banner({ ...bot("b", "forced-open"), why: "forced-open by ada" }, 5);
  seen.processes = botWork({ ...bot("b", "closed"), instances: 3 });
  seen.spans = [span(5), span(120), span(121)];
  return seen;
}
