"""Tail: what the users' journal says so far, read as it grows.

In    the path of a journal that another process is writing
Out   how many messages were sent, answered and failed; when the load began; in which sessions something was sent
Rule  each byte is read once; a line that is still being written waits for the next look
Why   whoever watches a run wants to see it move, without waiting for its end
"""

from __future__ import annotations

from pathlib import Path

import orjson

from harness.core.events import GotFailure, GotRefusal, GotReply, Sent, kind_of

_SENT, _REPLY = kind_of(Sent), kind_of(GotReply)
_FAILED = frozenset({kind_of(GotFailure), kind_of(GotRefusal)})


class Tail:
    """Counts over a growing journal."""

    def __init__(self, path: Path) -> None:
        """Begin at its start; the file need not be there yet."""
        self._path, self._byte = path, 0
        self.began: float | None = None
        """The time of the first line."""
        self.sent = self.answered = self.failed = 0
        self.sessions: dict[str, None] = {}
        """Every session in which something was sent, in order."""

    def look(self) -> None:
        """Take what has been added."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._byte)
            raw = file.read()
        whole = raw.rfind(b"\n") + 1
        self._byte += whole
        for line in raw[:whole].splitlines():
            self._take(orjson.loads(line))

    def _take(self, entry: dict[str, object]) -> None:
        if self.began is None and isinstance(entry["t"], float):
            self.began = entry["t"]
        kind = entry["fact"]
        if kind == _SENT:
            self.sent += 1
            self.sessions[str(entry["session"])] = None
        elif kind == _REPLY:
            self.answered += 1
        elif kind in _FAILED:
            self.failed += 1
