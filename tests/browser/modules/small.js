// Asks the small modules one question each.
async () => {
  const { delayMs, goodbye, proved, pulse } = await import("/static/core/backoff.js");
  const { newCid, newMessage, pack, unpack, fault } = await import("/static/core/outbox.js");
  const { range, older, newer } = await import("/static/core/window.js");
  const { read, write } = await import("/static/core/route.js");
  const { fields, chosen } = await import("/static/core/options.js");
  const { points, dropPoints, secondsLeft } = await import("/static/core/text.js");
  const message = newMessage("c", "s", "text", 5);
  return {
    delays: [0, 1, 2, 5, 6, 60].map((attempt) => delayMs(attempt, 1)),
    soonest: delayMs(9, 0),
    goodbyes: [1012, 1013, 1008].map((code) => [goodbye(code), delayMs(0, 0, code), delayMs(0, 1, code), delayMs(9, 1, code)]),
    unsaid: [goodbye(1006), delayMs(0, 0, 1006), delayMs(0, 1, 1006)],
    hidden: [delayMs(0, 0, 1006, true), delayMs(9, 1, 1006, true), delayMs(0, 0, 1008, true)],
    proved: [proved(5000, null), proved(10999, 1000), proved(11000, 1000)],
    pulse: [pulse(1000, 0, 0), pulse(13000, 0, 0), pulse(14000, 0, 13000), pulse(20000, 0, 13000), pulse(20000, 19000, 13000)],
    cids: [newCid(1, new Uint8Array(16)) < newCid(2, new Uint8Array(16)), newCid(0x123456789abc, new Uint8Array(16))],
    kept: unpack(pack(message)), junk: [unpack(null), unpack("{"), unpack("{}"), unpack('{"cid": 1, "session": "s", "text": "t"}')],
    faults: [fault(" ", 1, 1, {}), fault("abc", 3, 9, { text_chars_max: 2 }), fault("abc", 3, 9, { frame_bytes_max: 8 }), fault("a", 1, 9, {})],
    ranges: [range(10, null), range(1000, null), range(1000, 500), range(1000, older(1000, null)), range(1000, older(1000, 320))],
    ends: [older(200, null), newer(1000, 900), newer(1000, 500)],
    routes: [read("#/a%20b/s1"), read("#/a"), read(""), read("#/%E0/x"), write("a b", "s/1"), write("a", null), write(null, null)],
    fields: fields({ token_s: "0.05", prefix: "You said: ", mid_reply: "true" }),
    chosen: chosen(fields({ token_s: "0.05", prefix: "p", strict: "false", n: "3" }), { token_s: "0.1", prefix: "p", strict: "true", n: "x" }),
    texts: [points("a😀b"), points("\ud83d"), dropPoints("a😀b", 2), dropPoints("ab", 5), secondsLeft(1500, 1000), secondsLeft(null, 0)],
  };
}
