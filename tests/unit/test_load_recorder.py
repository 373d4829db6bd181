from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.adapters.journal import Book, read
from harness.core.events import (
    ClientBroke,
    GotAccepted,
    GotFailure,
    GotFirstToken,
    GotRefusal,
    GotReply,
    RunFact,
    Sent,
)
from harness.load.recorder import Recorder


@dataclass
class Fired:
    """What Locust would count: name, milliseconds, error."""

    requests: list[tuple[str, float, str]] = field(default_factory=list)

    def __call__(
        self,
        *,
        request_type: str,
        name: str,
        response_time: float,
        response_length: int,
        exception: Exception | None,
        context: dict[str, str],
    ) -> None:
        assert request_type == "WS"
        assert response_length >= 0
        assert context == {}
        self.requests.append((name, round(response_time, 3), str(exception or "")))


SENT = Sent("s1", "echo", "u0-1", intended=9.75)


@pytest.mark.parametrize(
    ("facts", "counted", "faults"),
    [
        pytest.param(
            [GotAccepted("u0-1"), GotFirstToken("u0-1"), GotReply("u0-1", 5)],
            [("accepted", 350.0, ""), ("first token", 450.0, ""), ("reply", 550.0, "")],
            0,
            id="timed from when it was meant to be sent, not from when it was sent",
        ),
        pytest.param([GotRefusal("u0-1", "busy")], [("refused", 350.0, "busy")], 0, id="refused"),
        pytest.param([GotFailure("u0-1", "bot-gone")], [("failed", 350.0, "bot-gone")], 0, id="failed"),
        pytest.param([GotReply("u0-1", 5, intact=False)], [("reply", 350.0, "not intact")], 1, id="not intact"),
        pytest.param([ClientBroke("s1", "gap")], [("connection", 0.0, "gap")], 1, id="connection lost"),
        pytest.param(
            [GotReply("u0-1", 5), GotReply("u0-1", 5)],
            [("reply", 350.0, "")],
            0,
            id="an outcome counts once for Locust",
        ),
    ],
)
def test_locust_is_told(facts: list[RunFact], counted: list[tuple[str, float, str]], faults: int) -> None:
    fired = Fired()
    recorder = Recorder(fired, None)
    recorder.send(10.0, SENT)
    for step, fact in enumerate(facts, 1):
        recorder.note(10.0 + step / 10, fact)
    assert fired.requests == counted
    assert (recorder.sent, recorder.faults) == (1, faults)


def test_the_journal_holds_everything_with_absolute_times(tmp_path: Path) -> None:
    recorder = Recorder(Fired(), Book(tmp_path / "load.jsonl"))
    recorder.send(10.0, SENT)
    recorder.note(10.1, GotAccepted("u0-1"))
    recorder.leave_open(11.0, "u0-1")
    recorder.close()
    entries = list(read(tmp_path / "load.jsonl"))
    assert [(entry.t, entry.source, entry.fact) for entry in entries] == [
        (10.0, "client", SENT),
        (10.1, "client", GotAccepted("u0-1")),
    ]


def test_a_message_that_is_left_open_is_a_failure_for_locust() -> None:
    fired = Fired()
    recorder = Recorder(fired, None)
    recorder.send(10.0, SENT)
    recorder.leave_open(12.0, "u0-1")
    assert fired.requests == [("reply", 2250.0, "no outcome when the user left")]
