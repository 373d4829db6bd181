from __future__ import annotations

from pathlib import Path

from harness.adapters.journal import line_of
from harness.core.events import GeneratorSeen, GotFailure, GotRefusal, GotReply, Sent
from harness.drivers._tail import Tail


def test_a_growing_journal_is_counted_once_and_torn_lines_wait(tmp_path: Path) -> None:
    path = tmp_path / "load.jsonl"
    tail = Tail(path)
    tail.look()
    assert (tail.began, tail.sent) == (None, 0)
    lines = [
        line_of(5.5, "load", GeneratorSeen(0.0, 0.0, 0)),
        line_of(6.0, "client", Sent("s1", "echo", "u0-1", 6.0)),
        line_of(6.1, "client", Sent("s2", "echo", "u1-1", 6.1)),
        line_of(6.2, "client", GotReply("u0-1", 5)),
        line_of(6.3, "client", Sent("s1", "echo", "u0-2", 6.3)),
        line_of(6.4, "client", GotRefusal("u0-2", "busy")),
        line_of(6.5, "client", GotFailure("u1-1", "bot-gone")),
    ]
    whole = b"".join(lines)
    for end in (*range(0, len(whole), 7), len(whole)):
        path.write_bytes(whole[:end])
        tail.look()
    assert (tail.began, tail.sent, tail.answered, tail.failed) == (5.5, 3, 1, 2)
    assert list(tail.sessions) == ["s1", "s2"]
