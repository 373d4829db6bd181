"""Breaker log: every transition of every circuit breaker, one JSON line each, for people and their tools.

In    a BreakerMoved with its time on the monotonic clock
Out   lines in ``circuit-breaker.jsonl``, and in ``circuit-breaker.jsonl.1`` what stood there before the last turn-over
Rule  a line is with the operating system when ``write`` returns, or OSError says that it is not; lines are numbered
      without gaps, also across restarts and turn-overs; what was torn stands on a line of its own
Why   after an incident the first question is when which bot was cut off, and why

An anchor says where every breaker stands. One is written at each start (nothing is known of any), after a turn-over (so
that each file can be read alone) and after lines that could not be written (so that a replay is exact from there on).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from errno import ENOSPC
from pathlib import Path
from typing import Any, Final

import orjson

from harness.core.breaker_replay import ANCHOR, Replay
from harness.core.events import BreakerMoved

FILE_NAME: Final = "circuit-breaker.jsonl"
BYTES_MAX: Final = 1_048_576
_RENAMED: Final = {"before": "from", "after": "to"}


class BreakerLog:
    """The file ``circuit-breaker.jsonl`` in the folder of the bots' logs; at most two files of ``bytes_max``."""

    def __init__(
        self, folder: Path, *, bytes_max: int = BYTES_MAX, time_of_day: Callable[[], datetime] | None = None
    ) -> None:
        """Open the file for appending; OSError if that cannot be."""
        self.path = folder / FILE_NAME
        self._earlier = folder / f"{FILE_NAME}.1"
        self._bytes_max = bytes_max
        self._time_of_day = time_of_day or (lambda: datetime.now(UTC))
        self._replay = Replay()
        self._owed: str | None = "start"
        self._lost = 0
        self._size, self._torn = 0, False
        self._open()
        self._line = _last_line(self.path) or _last_line(self._earlier)

    def begin(self, mono: float) -> None:
        """Say that a service begins, so that a replay takes nothing for still open that is not; OSError as below.

        What is not said now is said with the first transition.
        """
        self._append(mono, None)

    def write(self, mono: float, moved: BreakerMoved) -> None:
        """Write one transition; ``mono`` is the monotonic time in seconds, as in the journal of a run."""
        told = {_RENAMED.get(name, name): value for name, value in asdict(moved).items()}
        try:
            self._append(mono, told)
        except OSError:
            self._owed, self._lost = "gap", self._lost + 1
            raise
        finally:
            # What could not be written has happened all the same: the next anchor says what came of it.
            self._replay.move(moved.bot, {"mono": mono, **told})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, mono: float, told: dict[str, Any] | None) -> None:
        lines = self._lines(mono, told)
        if self._size and self._size + len(lines) > self._bytes_max:
            self._turn_over()
            lines = self._lines(mono, told)
        torn = b"\n" if self._torn else b""
        written = self._file.write(torn + lines) or 0
        self._size += written
        whole = (torn + lines)[:written]
        self._torn = not whole.endswith(b"\n") if whole else self._torn
        done = whole[len(torn) :].count(b"\n")
        self._line += done
        if done and self._owed is not None:
            self._owed, self._lost = None, 0
        if written < len(torn + lines):
            # A file system with little room takes what fits and calls that a success.
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(self.path))

    def _lines(self, mono: float, told: dict[str, Any] | None) -> bytes:
        """Put together what is to be written: the anchor that is owed, and the line."""
        head = {"ts": self._time_of_day().isoformat(timespec="milliseconds").replace("+00:00", "Z"), "mono": mono}
        lines: list[dict[str, Any]] = []
        if self._owed is not None:
            anchor = {"record": ANCHOR, "why": self._owed, "lost": self._lost, "breakers": self._replay.anchor()}
            lines.append(anchor)
        if told is not None:
            lines.append(told)
        numbered = enumerate(lines, start=self._line + 1)
        return b"".join(orjson.dumps(head | {"line": number} | line) + b"\n" for number, line in numbered)

    def _turn_over(self) -> None:
        self.path.replace(self._earlier)
        self._file.close()
        self._open()
        self._owed = self._owed or "turn-over"

    def _open(self) -> None:
        self._file = self.path.open("ab", buffering=0)
        self._size = self.path.stat().st_size
        self._torn = _torn(self.path)


def _torn(path: Path) -> bool:
    """Whether the file ends in the middle of a line."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _last_line(path: Path) -> int:
    """Give the number of the file's last whole line; 0 if there is none."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return 0
    for line in reversed(lines):
        try:
            return int(orjson.loads(line)["line"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0
