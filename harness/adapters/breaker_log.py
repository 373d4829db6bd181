"""Breaker log: every transition of every circuit breaker, one JSON line each, for people and their tools.

In    a BreakerMoved with its time on the wall clock and on the monotonic clock
Out   one line in ``circuit-breaker.jsonl``
Rule  append only; a line is with the operating system when ``write`` returns, or OSError says that it is not; what was
      torn by a full disk or a crash stands on a line of its own
Why   after an incident the first question is when which bot was cut off, and why
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from errno import ENOSPC
from pathlib import Path
from typing import Final

import orjson

from harness.core.events import BreakerMoved

FILE_NAME: Final = "circuit-breaker.jsonl"


class BreakerLog:
    """The file ``circuit-breaker.jsonl`` in the folder of the bots' logs."""

    def __init__(self, folder: Path) -> None:
        """Open the file for appending; OSError if that cannot be."""
        self.path = folder / FILE_NAME
        self._file = self.path.open("ab", buffering=0)
        self._torn = _torn(self.path)

    def write(self, mono: float, moved: BreakerMoved) -> None:
        """Write one transition; ``mono`` is the monotonic time in seconds, as in the journal of a run."""
        line = {
            "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "mono": round(mono, 6),
            "seq": moved.seq,
            "bot": moved.bot,
            "from": moved.before,
            "to": moved.after,
            "cause": moved.cause,
            "failures": moved.failures,
            "cooldown_s": moved.cooldown_s,
        }
        whole = (b"\n" if self._torn else b"") + orjson.dumps(line) + b"\n"
        written = self._file.write(whole) or 0
        if written < len(whole):
            # A file system with little room takes what fits and calls that a success.
            self._torn = written != 1 if self._torn else written > 0
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(self.path))
        self._torn = False

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _torn(path: Path) -> bool:
    """Whether the file ends in the middle of a line."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
