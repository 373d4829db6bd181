"""Backup ledger: what has happened to backups since they were made.

In    one note for each event: checked, pinned, unpinned, accepted, removed, drilled
Out   what all notes together say about each backup; how many lines are no longer what was written
Rule  append only, one sealed line each, fsync before it counts; a line torn by a crash is cut off before the next one;
      a damaged line is counted, never guessed: it may have been a pin
Why   a manifest never changes, so that it can be proved; what is learned later stands here
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from harness.adapters import durable
from harness.adapters.sealed import sealed_line, unseal
from harness.core.backups import State
from harness.errors import DamagedBackupError

FILE_NAME: Final = "ledger.jsonl"
LINES_MAX: Final = 10_000
"""A ledger with more lines is written anew at the next pruning, without backups of which nothing is left."""
What = Literal["checked", "pinned", "unpinned", "accepted", "removed", "drilled"]
UNPACKED, PROVED = 2, 3
"""Levels of a check: unpacked and compared; made into a database and checked."""


@dataclass(slots=True)
class Marks:
    """What the ledger says about one backup."""

    state: State = "unverified"
    failed_level: int = 0
    why: str = ""
    """Why it is damaged."""
    pins: dict[str, None] = field(default_factory=dict)
    accepted: bool = False
    removed: bool = False
    read_at: float | None = None
    proved_at: float | None = None


@dataclass(slots=True)
class Ledger:
    """All notes, taken together."""

    marks: dict[str, Marks] = field(default_factory=dict)
    damaged_lines: int = 0
    lines: int = 0
    drill_rto_s: float | None = None

    def of(self, name: str) -> Marks:
        """What is known about a backup."""
        return self.marks.setdefault(name, Marks())


def read(path: Path) -> Ledger:
    """Read the ledger; one that is not there is empty."""
    ledger = Ledger()
    for number, line in enumerate(_lines(path), start=1):
        ledger.lines += 1
        try:
            _take(ledger, unseal(line, f"{path.name} line {number}"))
        except (DamagedBackupError, KeyError, TypeError):
            ledger.damaged_lines += 1
    return ledger


def note(path: Path, at: float, what: What, name: str, **more: object) -> None:
    """Add a note, down to the disk; OSError if that cannot be."""
    line = sealed_line({"at": round(at, 3), "what": what, "name": name, **more})
    new = not path.exists()
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.SECRET)
    try:
        if new:
            durable.sync_folder(path.parent)
        end = _whole(number)
        os.ftruncate(number, end)
        os.lseek(number, end, os.SEEK_SET)
        try:
            durable.write_all(number, line)
            os.fsync(number)
        except OSError:
            os.ftruncate(number, end)
            raise
    finally:
        os.close(number)


def compact(path: Path, drafts: Path, names: Collection[str]) -> None:
    """Write it anew without damaged lines, and without what concerns none of ``names``."""
    kept = []
    drill = b""
    for line in _lines(path):
        try:
            body = unseal(line, path.name)
        except DamagedBackupError:
            continue
        if body.get("name") in names:
            kept.append(line)
        elif body.get("what") == "drilled":
            drill = line
    durable.write(path, b"".join([drill, *kept]), drafts)
    path.chmod(durable.SECRET)


def _lines(path: Path) -> Iterable[bytes]:
    """Every whole line; what a crash has torn at the end never counted."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return content[: content.rfind(b"\n") + 1].splitlines(keepends=True)


def _whole(number: int) -> int:
    """Where the last whole line ends."""
    end = os.lseek(number, 0, os.SEEK_END)
    step = 4096
    while end:
        begin = max(0, end - step)
        place = os.pread(number, end - begin, begin).rfind(b"\n")
        if place >= 0:
            return begin + place + 1
        end = begin
    return 0


def _take(ledger: Ledger, body: dict[str, Any]) -> None:
    name, at = str(body["name"]), float(body["at"])
    if body["what"] == "drilled":
        if body["ok"] is True:
            ledger.drill_rto_s = float(body["rto_s"])
        return
    marks = ledger.of(name)
    match body["what"]:
        case "checked":
            _checked(marks, int(body["level"]), at, ok=body["ok"] is True, why=str(body.get("why", "")))
        case "pinned":
            marks.pins[str(body["why"])] = None
        case "unpinned":
            marks.pins.clear()
        case "accepted":
            marks.accepted = True
        case "removed":
            marks.removed = True
        case _:
            raise KeyError(body["what"])


def _checked(marks: Marks, level: int, at: float, *, ok: bool, why: str) -> None:
    if not ok:
        marks.state, marks.failed_level, marks.why = "damaged", max(level, marks.failed_level), why
        return
    if level < marks.failed_level:
        return  # A lighter check proves nothing against a harder one.
    if level >= UNPACKED:
        marks.state, marks.failed_level, marks.why, marks.read_at = "verified", 0, "", at
    if level >= PROVED:
        marks.proved_at = at
