"""progress.py: plain lines for logs, a display for terminals."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from harness.adapters.status import Current, Finished, Standing
from harness.progress import Live, Plain, display

RUNNING = Current(case="smoke/chat", distance="wired", began_s=100, expected_s=20, stage="load", sent=7, answered=5)
FAILED = Finished(case="smoke/breaker", distance="wired", result="failed", took_s=12, why=("messages_lost is 2",))
STANDING = Standing(run="the-run", total=3, done=(FAILED,), current=RUNNING, waiting=("smoke/chat browser",))


def drawn(standing: Standing, now: float) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(display(standing, now))
    return out.getvalue()


def test_the_display_shows_what_runs_and_what_failed() -> None:
    text = drawn(STANDING, 105)
    for part in ("1 of 3 done", "▶ smoke/chat wired", "15 s left", "load", "7 sent, 5 answered, 0 failed"):
        assert part in text
    assert "messages_lost is 2" in text
    assert "next: smoke/chat browser  (1 waiting)" in text


def test_late_is_said() -> None:
    assert "5 s longer than expected" in drawn(STANDING, 125)


def test_square_brackets_are_text_and_no_markup() -> None:
    case = replace(FAILED, why=("$.bots[0]: [red]no[/red]",))
    assert "$.bots[0]: [red]no[/red]" in drawn(Standing(run="r", total=1, done=(case,)), 0)


def test_a_live_display_starts_and_stops() -> None:
    out = io.StringIO()
    live = Live(Console(file=out, force_terminal=True, width=120))
    live.changed(STANDING)
    live.close()
    assert "smoke/chat wired" in out.getvalue()


def test_plain_lines_say_everything_once() -> None:
    out = io.StringIO()
    plain = Plain(out)
    start = replace(STANDING, done=())
    for standing in (start, start, replace(start, current=replace(RUNNING, sent=9)), STANDING, STANDING):
        plain.changed(standing)
    plain.close()
    lines = [line.partition(" s  ")[2] for line in out.getvalue().splitlines()]
    assert lines == [
        "▶ smoke/chat wired (1 of 3, about 20 s)",
        "  load",
        "❌ smoke/breaker wired: failed in 12.0 s",
        "     messages_lost is 2",
    ]
