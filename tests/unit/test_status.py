"""status.py: what stands in status.md, and that it is replaced in one step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.adapters.status import Current, Finished, Standing, StatusFile, render
from harness.errors import UsageError

PASSED = Finished(case="smoke/chat", distance="simulated", result="passed", took_s=0.5)
FAILED = Finished(case="smoke/chat", distance="wired", result="failed", took_s=12, why=("messages_lost is 2",))
STUCK = Finished(case="smoke/chat", distance="browser", result="no verdict", took_s=1, why=("no Chromium",))
RUNNING = Current(case="smoke/breaker", distance="wired", began_s=100, expected_s=20, stage="load", sent=7, answered=5)
STANDING = Standing(
    run="the-run",
    total=6,
    done=(PASSED, FAILED, STUCK),
    current=RUNNING,
    waiting=("smoke/breaker browser", "smoke/leak wired"),
)


def test_everything_a_reader_asks_for() -> None:
    text = render(STANDING, now=105, wall=1_000_000_000)
    for part in (
        "## Now: smoke/breaker wired",
        "- stage: load",
        "(in 15 s)",
        "7 sent, 5 answered, 0 failed",
        "- ✅ smoke/chat simulated (0.5 s)",
        "- ❌ smoke/chat wired (12.0 s): messages_lost is 2",
        "- ⚠ smoke/chat browser (1.0 s): no Chromium",
        "## Blockers\n- smoke/chat browser: no Chromium",
        "## Waiting: 2",
    ):
        assert part in text


def test_at_the_end() -> None:
    text = render(Standing(run="r", total=1, done=(PASSED,), note="passed: see report.html"), now=1, wall=1)
    assert "## Now" not in text
    assert "## Blockers\nNone." in text
    assert "## Waiting: 0" in text
    assert text.endswith("passed: see report.html\n")


def test_late_is_not_negative() -> None:
    assert RUNNING.left_s(1_000) == 0


def test_written_when_something_happens_and_not_for_each_count(tmp_path: Path) -> None:
    status = StatusFile(tmp_path / "new" / ".deia")
    status.changed(STANDING)
    first = status.path.read_text("utf-8")
    status.changed(replace(STANDING, current=replace(RUNNING, sent=8)))
    assert status.path.read_text("utf-8") == first
    status.changed(replace(STANDING, current=replace(RUNNING, sent=9, stage="drain")))
    assert "9 sent" in status.path.read_text("utf-8")
    assert [path.name for path in status.path.parent.iterdir()] == ["status.md"]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written \(Not a directory\); choose another with --state-dir"):
        StatusFile(tmp_path / "file" / ".deia")
