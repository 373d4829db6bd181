// Plays logs to the store: straight, doubled, with holes, out of order.
async () => {
  const { reduce, start, openTurns } = await import("/static/core/store.js");
  const log = [
    { type: "accepted", seq: 1, cid: "c1", mid: "m1", turn: "t1", text: "hi" },
    { type: "begin", seq: 2, turn: "t1", cid: "c1", bot: "b" },
    { type: "delta", seq: 3, turn: "t1", at: 0, text: "one 😀" },
    { type: "accepted", seq: 4, cid: "c2", mid: "m2", turn: "t2", text: "again" },
    { type: "delta", seq: 5, turn: "t1", at: 5, text: " two" },
    { type: "end", seq: 6, turn: "t1", cid: "c1", state: "done", chars: 9 },
    { type: "begin", seq: 7, turn: "t2", cid: "c2", bot: "b" },
    { type: "delta", seq: 8, turn: "t2", at: 0, text: "half" },
    { type: "failed", seq: 9, turn: "t2", cid: "c2", code: "bot-gone", message: "gone", retry_after_s: null },
  ];
  const join = (state, extra = {}) => reduce(state, { type: "frame", now: 0, frame:
    { type: "welcome", session: "s", epoch: "e", head_seq: 0, recovered: false, messages: [], limits: {}, bots: [], ...extra } });
  const fresh = () => join(reduce(start(), { type: "select", bot: "b", session: "s" }));
  const hear = (state, frames) => frames.reduce((now, frame) => reduce(now, { type: "frame", frame, now: 0 }), state);
  const view = (state) => state.entries.map(({ key, state: how, text }) => [key, how, text]);
  const straight = hear(fresh(), log);
  const results = { straight: view(straight), gap: straight.gap };
  results.twice = view(hear(fresh(), log.flatMap((frame) => [frame, frame])));
  results.again = view(hear(straight, log));
  let chaotic = fresh(), seed = 7;
  for (let n = 0; n < 400; n++) { // Any frame at any time, often twice; what does not fit must change nothing.
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    chaotic = hear({ ...chaotic, gap: "" }, [log[Math.floor(seed / 4294967296 * log.length)]]);
  }
  results.chaotic = view(chaotic);
  results.hole = hear(fresh(), [log[0], log[2]]).gap;
  results.merged = view(hear(fresh(), [log[0], log[1],
    { type: "delta", first: 3, seq: 5, turn: "t1", at: 0, text: "one 😀 two" }])).slice(0, 2);
  results.overlap = view(hear(fresh(), [...log.slice(0, 3), { type: "delta", seq: 4, turn: "t1", at: 4, text: "😀 two" }]))[1];
  results.beyond = hear(fresh(), [...log.slice(0, 3), { type: "delta", seq: 4, turn: "t1", at: 9, text: "x" }]).gap;
  results.short = hear(fresh(), [...log.slice(0, 3), { type: "end", seq: 4, turn: "t1", cid: "c1", state: "done", chars: 9 }])
    .entries[1].intact;
  const away = reduce(straight, { type: "select", bot: "b", session: "other" });
  results.foreign = view(hear(away, log));
  results.overtaken = join(away).joined;
  results.kept = view(join(hear(straight, [{ ...log[0], seq: 10, cid: "c3", turn: "t3" }]), { epoch: "e2", head_seq: 4, messages: [
    { mid: "m2", cid: "c2", role: "user", text: "again", state: "accepted", error: "", at: 1 },
    { mid: "t2", cid: "c2", role: "bot", text: "half", state: "failed", error: "gone", at: 1 }] }));
  let mine = reduce(fresh(), { type: "wrote", message: { cid: "x", session: "s", text: "mine", at: 5, state: "sending" } });
  mine = hear(mine, [log[0]]);
  results.order = view(mine).map(([key]) => key);
  results.rejected = view(hear(mine, [{ type: "rejected", cid: "x", code: "busy", message: "", retry_after_s: 1 }]));
  results.late = view(hear(hear(mine, [{ type: "rejected", cid: "x", code: "busy", message: "" }]),
    [{ type: "accepted", seq: 2, cid: "x", mid: "m9", turn: "t9", text: "mine" }])).map(([key, how]) => [key, how]);
  results.open = openTurns(hear(fresh(), log.slice(0, 5)));
  // An answer that was on its way while the socket told something newer must not win.
  const status = (state) => ({ bot: "b", behaviour: "echo", state, breaker: "closed", retry_after_s: null });
  let live = reduce(fresh(), { type: "link", link: { state: "online", attempt: 0, until: null } });
  live = hear(live, [{ type: "bot-status", ...status("online") }]);
  const stale = [{ type: "launched", status: status("starting"), now: 0 }, { type: "bots", bots: [status("starting")], now: 0 }];
  results.stale = stale.map((event) => reduce(live, event).bots.map((bot) => bot.state));
  results.news = reduce(fresh(), { type: "launched", status: status("starting"), now: 0 }).bots.map((bot) => bot.state);
  return results;
}
