"""The page's pure modules, in the browser that runs them, without a screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Play = Callable[[Any], None]
Tab = Callable[..., Any]

# Pieces of Markdown that change their meaning as more arrives; documents are made of them at random.
PIECES = (
    *(
        "# Title",
        "## Two ##",
        "Setext\n===",
        "Setext\n---",
        "---",
        "* * *",
        "plain words",
        "two\nlines",
        "hard  \nbreak",
    ),
    *("- a\n- b", "- a\n\n- loose", "* x\n  * y\n    * z", "1. one\n2. two", "3) three", "- a\n\n  para", "1.\n2. x"),
    *(
        "> quote\nlazy",
        "> > deep\n> out",
        "    indented\n\n    code",
        "```\nfence\n```",
        "~~~js\nx\n\ny\n~~~",
        "```\nopen",
    ),
    *("| a | b |\n|---|:-:|\n| 1 | 2 |", "| not | a\ntable |", "a | b\n--|--\n1 | 2\n3 | 4", "**bold** _em_ ~~gone~~"),
    *(
        "`code` ``c ` d``",
        "[l](https://a.example)",
        "[ref]",
        "[ref]: https://b.example 'x'",
        "[Ref][]",
        "<https://c.example>",
    ),
    *(
        "![i](https://d.example/i.png)",
        "https://e.example/?a=1&b=2",
        "**unclosed",
        "a\\*b\\_c",
        "&amp; &copy; &#35;",
        "😀 漢字",
    ),
    *(
        "<b>html</b>",
        "<!-- c -->",
        "-",
        "+",
        "2",
        "```",
        "|",
        "=",
        "\t- tab",
        "a\r\nb",
        "[ref]: <",
        "- [ref]: https://f.example",
    ),
)
MARKDOWN = """async ({ pieces, seeds }) => {
  const { MarkdownStream, showOnce } = await import("/static/core/markdown.js");
  const wrong = [];
  for (const seed of seeds) {
    let state = seed * 2654435761 >>> 0;
    const dice = (below) => { // A small generator, so that a seed that failed fails again.
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor(state / 4294967296 * below);
    };
    let text = "";
    for (let n = 1 + dice(9); n > 0; n--) text += pieces[dice(pieces.length)] + ["\\n\\n", "\\n", " ", "\\n\\n\\n"][dice(4)];
    const whole = document.createElement("div"), streamed = document.createElement("div");
    showOnce(whole, text);
    const stream = new MarkdownStream(streamed);
    for (let end = 0; end < text.length;) {
      end = Math.min(text.length, end + 1 + dice(12));
      stream.show(text.slice(0, end), false);
    }
    stream.show(text, true);
    if (streamed.innerHTML !== whole.innerHTML) wrong.push({ seed, text, streamed: streamed.innerHTML, whole: whole.innerHTML });
  }
  return wrong.slice(0, 3);
}"""

STORE = """async () => {
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
  return results;
}"""

SMALL = """async () => {
  const { delayMs, pulse } = await import("/static/core/backoff.js");
  const { newCid, newMessage, pack, unpack, fault } = await import("/static/core/outbox.js");
  const { range, older, newer } = await import("/static/core/window.js");
  const { read, write } = await import("/static/core/route.js");
  const { fields, chosen } = await import("/static/core/options.js");
  const { points, dropPoints, secondsLeft } = await import("/static/core/text.js");
  const message = newMessage("c", "s", "text", 5);
  return {
    delays: [0, 1, 2, 5, 6, 60].map((attempt) => delayMs(attempt, 1)),
    soonest: delayMs(9, 0),
    pulse: [pulse(1000, 0, 0), pulse(13000, 0, 0), pulse(14000, 0, 13000), pulse(20000, 0, 13000), pulse(20000, 19000, 13000)],
    cids: [newCid(1, new Uint8Array(16)) < newCid(2, new Uint8Array(16)), newCid(0x123456789abc, new Uint8Array(16))],
    kept: unpack(pack(message)), junk: [unpack(null), unpack("{"), unpack("{}"), unpack('{"cid": 1, "session": "s", "text": "t"}')],
    faults: [fault(" ", 1, 1, {}), fault("abc", 3, 9, { text_chars_max: 2 }), fault("abc", 3, 9, { frame_bytes_max: 8 }), fault("a", 1, 9, {})],
    ranges: [range(10, null), range(1000, null), range(1000, 500), range(1000, older(1000, null)), range(1000, older(1000, 320))],
    ends: [older(200, null), newer(1000, 900), newer(1000, 500)],
    routes: [read("#/a%20b/s1"), read("#/a"), read(""), read("#/%E0/x"), write("a b", "s/1"), write("a", null), write(null, null)],
    fields: fields({ token_s: "0.05", prefix: "You said: ", mid_reply: "true" }),
    chosen: chosen(fields({ token_s: "0.05", prefix: "p", strict: "false", n: "3" }), { token_s: "0.1", prefix: "p", strict: "true", n: "x" }),
    texts: [points("a😀b"), points("\\ud83d"), dropPoints("a😀b", 2), dropPoints("ab", 5), secondsLeft(1500, 1000), secondsLeft(null, 0)],
  };
}"""


@pytest.mark.parametrize("first", range(0, 1200, 300))
def test_markdown_that_streams_ends_as_if_read_at_once(service_page: Any, first: int) -> None:
    wrong = service_page(MARKDOWN, {"pieces": PIECES, "seeds": list(range(first, first + 300))})
    assert wrong == []


def test_the_store_takes_frames_twice_late_and_out_of_order(service_page: Any) -> None:
    found = service_page(STORE, None)
    end = [
        ["u:c1", "accepted", "hi"],
        ["r:t1", "done", "one 😀 two"],
        ["u:c2", "accepted", "again"],
        ["r:t2", "failed", "half"],
    ]
    assert found["straight"] == found["twice"] == found["again"] == found["chaotic"] == end
    assert found["gap"] == ""
    assert found["hole"] == "resume"
    assert found["merged"] == [["u:c1", "accepted", "hi"], ["r:t1", "streaming", "one 😀 two"]]
    assert found["overlap"] == ["r:t1", "streaming", "one 😀 two"]
    assert found["beyond"] == "snapshot"
    assert found["short"] is False
    assert found["foreign"] == []
    assert found["overtaken"] is False
    assert found["kept"] == end  # What stands above the stored part stays above it.
    assert found["order"] == ["u:c1", "r:t1", "u:x"]
    assert found["rejected"][-1] == ["u:x", "failed", "mine"]
    assert found["late"][-2:] == [["u:x", "accepted"], ["r:t9", "waiting"]]
    assert found["open"] == ["t1", "t2"]


def test_the_small_modules(service_page: Any) -> None:
    found = service_page(SMALL, None)
    assert found["delays"] == [500, 1000, 2000, 16000, 30000, 30000]
    assert found["soonest"] == 0
    assert found["pulse"] == ["fine", "ping", "fine", "dead", "fine"]
    assert found["cids"] == [True, "12345678-9abc-7000-8000-000000000000"]
    kept = {"cid": "c", "session": "s", "text": "text", "at": 5, "state": "sending", "code": "", "reason": ""}
    assert found["kept"] == kept
    assert found["junk"] == [None] * 4
    assert found["faults"][0] == "Write something first."
    assert found["faults"][1:] == ["Too long by 1 characters.", "Too long for one message: shorten it.", ""]
    assert found["ranges"] == [[0, 10], [700, 1000], [200, 500], [600, 900], [0, 300]]
    assert found["ends"] == [None, None, 600]
    assert found["routes"][:4] == [
        {"bot": "a b", "session": "s1"},
        {"bot": "a", "session": None},
        {"bot": None, "session": None},
        {"bot": None, "session": None},
    ]
    assert found["routes"][4:] == ["#/a%20b/s%2F1", "#/a", "#"]
    assert [(f["label"], f["kind"]) for f in found["fields"]] == [
        ("token (seconds)", "number"),
        ("prefix", "text"),
        ("mid reply", "truth"),
    ]
    assert found["chosen"] == {"token_s": 0.1, "strict": True, "n": "x"}
    assert found["texts"] == [3, 1, "b", "", 1, 0]


@pytest.fixture
def service_page(steady: Any, play: Play, tab: Tab) -> Callable[[str, Any], Any]:
    """Run a function in the page and give back what it gives back."""

    def run(function: str, given: Any) -> Any:
        found: list[Any] = []

        async def story() -> None:
            async with tab(steady.url) as chat:
                found.append(await chat.page.evaluate(function, given))

        play(story)
        return found[0]

    return run
