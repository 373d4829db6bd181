"""Breaker log: every transition of every circuit breaker, one JSON line each, for people and their tools.

In    a BreakerMoved with its time on the wall clock and on the monotonic clock
Out   one line in ``circuit-breaker.jsonl``
Rule  append only; a line is with the operating system when ``write`` returns
Why   after an incident the first question is when which bot was cut off, and why
"""

from __future__ import annotations

from datetime import UTC, datetime
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
        self._file.write(orjson.dumps(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
