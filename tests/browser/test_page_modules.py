"""The page's pure modules, in the browser that runs them, without a screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Play = Callable[[Any], None]
Tab = Callable[..., Any]

MODULES = Path(__file__).parent / "modules"
"""Functions that run in the page."""

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
MARKDOWN = (MODULES / "markdown.js").read_text(encoding="utf-8")

STORE = (MODULES / "store.js").read_text(encoding="utf-8")

PACE = (MODULES / "pace.js").read_text(encoding="utf-8")

SMALL = (MODULES / "small.js").read_text(encoding="utf-8")


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
    assert found["stale"] == [["online"], ["online"]]
    assert found["news"] == ["starting"]


def test_the_pace_holds_back_what_the_service_refuses_and_sends_it_when_it_may(service_page: Any) -> None:
    found = service_page(PACE, None)
    assert found["scopes"] == [
        # Why it was refused, what holds here, after its time, in another session of the bot, at another bot.
        ["rate-limited", "rate-limited", None, None, None],
        ["busy", "busy", None, "busy", None],
        ["circuit-open", "circuit-open", None, "circuit-open", None],
        ["over-capacity", "over-capacity", None, "over-capacity", "over-capacity"],
        ["maintenance", "maintenance", None, "maintenance", "maintenance"],
        ["too-long", None, None, None, None],
    ]
    assert (found["untimed"], found["unknown"]) == (None, None)
    assert (found["longest"], found["newest"]) == (6_000, 3_000)
    assert found["back"] == ["circuit-open", "circuit-open", None]
    during = {"code": "maintenance", "until": 61_000}
    assert found["maintenance"] == [during, None, {"code": "maintenance", "until": None}]
    assert found["due"] == [None, None, "m1"]
    assert (found["oneAtATime"], found["then"]) == (None, "m2")
    assert found["tries"] == [True, True, False]
    assert found["never"] == [False] * 3
    assert found["tooLong"] == [True, False, False, False]
    assert (found["lost"], found["asked"]) == (None, "m1")
    assert found["words"] == [
        "You are sending faster than the service takes it. You can send again in 3\u00a0s.",
        "Bot Unavailable (recovering). You can send again in 4\u00a0min.",
        "People are working on the service. You can send again when it is over.",
        "The whole service is full.",
    ]
    assert found["modes"] == [
        ["Maintenance", "no messages are taken. Why: new disks. Over in 60\u00a0s."],
        ["Reduced service", "failed replies are not tried again, no odd."],
    ]
    assert found["breakers"] == [
        [True, "online", ""],
        [False, "recovering", ""],
        [False, "testing", ""],
        [False, "switched off", ""],
        [True, "online", "breaker switched off"],
        [True, "online", "breaker only counts"],
    ]
    assert found["forced"] == ["Bot Unavailable", "It was switched off (forced-open by ada). Next try in 5\u00a0s."]
    assert found["processes"] == "3 processes"
    assert found["spans"] == ["5\u00a0s", "120\u00a0s", "3\u00a0min"]


def test_the_small_modules(service_page: Any) -> None:
    found = service_page(SMALL, None)
    assert found["delays"] == [500, 1000, 2000, 15000, 15000, 15000]
    assert found["soonest"] == 0
    assert found["goodbyes"] == [
        ["restart", 0, 5000, 15000],
        ["busy", 5000, 10000, 20000],
        ["refused", 30000, 60000, 60000],
    ]
    assert found["unsaid"] == ["", 0, 500]
    assert found["hidden"] == [15000, 30000, 30000]
    assert found["proved"] == [False, False, True]
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
