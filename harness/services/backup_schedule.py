"""Backup schedule: when the next backup is due, and which one is to be read again meanwhile.

In    the time, what is known about the backups, what has failed lately
Out   seconds until the next backup; the backup to read again, and how thoroughly
Rule  time is an argument; a clock that jumps neither starts a storm of backups nor stops them for long
Why   a backup that nobody has read since it was written is a hope
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import inf, isfinite
from typing import Literal

from harness.core.backups import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """How often what is done. Seconds."""

    every_s: float = 3_600.0
    """Between two backups."""
    retry_min_s: float = 60.0
    """Before the first try after a failure; doubles with each failure in a row, up to ``every_s``."""
    read_every_s: float = 604_800.0
    """A backup that was not read for so long is read again."""
    prove_every_s: float = 86_400.0
    """The newest backup is unpacked into a database and checked at least so often."""
    ahead_max_s: float = 300.0
    """A backup further in the future proves that the clock has jumped; nothing is reckoned from it."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < inf:
                raise ValueError(f"{field.name} must be a number above 0, got {value}")


@dataclass(frozen=True, slots=True)
class Reading:
    """One backup to be read again; level 2 unpacks and compares, level 3 makes a database of it."""

    name: str
    level: Literal[2, 3]


def due_in_s(  # noqa: PLR0917 - the moments in the order in which they happen
    now: float,
    newest_at: float | None,
    since: float,
    failed_at: float | None,
    failures: int,
    config: ScheduleConfig,
) -> float:
    """Give the seconds until the next backup, 0 when it is due.

    ``newest_at`` is the newest verified backup, ``since`` the oldest thing to lose if there is none; ``failed_at`` and
    ``failures`` are the last failure and how many there were in a row. Never more than ``every_s``: a clock that was
    set back only makes a backup too early.
    """
    moments = [now, since, *(at for at in (newest_at, failed_at) if at is not None)]
    if not all(map(isfinite, moments)) or failures < 0:
        raise ValueError("times must be finite numbers, and failures at least 0")
    reference = newest_at if newest_at is not None and newest_at <= now + config.ahead_max_s else since
    wait_s = reference + config.every_s - now
    if failures and failed_at is not None:
        pause_s = min(config.every_s, config.retry_min_s * 2.0 ** min(failures - 1, 60))
        wait_s = max(wait_s, failed_at + pause_s - now)
    return min(max(0.0, wait_s), config.every_s)


def next_reading(snapshots: Iterable[Snapshot], now: float, config: ScheduleConfig) -> Reading | None:
    """Name the one backup that most needs to be read again: first the newest, then what was read longest ago."""
    if not isfinite(now):
        raise ValueError(f"now must be a finite number, got {now}")
    newest_first = sorted(
        (each for each in snapshots if each.state != "damaged"), key=lambda each: (each.at, each.name), reverse=True
    )
    if newest_first:
        proved = max((each.proved_at for each in newest_first if each.proved_at is not None), default=-inf)
        # What was proved in the future was proved by a clock that was wrong.
        if not now - config.prove_every_s < proved <= now + config.ahead_max_s:
            return Reading(newest_first[0].name, 3)
    oldest = min(newest_first, key=lambda each: (_read(each), each.at), default=None)
    if oldest is not None and _read(oldest) <= now - config.read_every_s:
        return Reading(oldest.name, 2)
    return None


def _read(snapshot: Snapshot) -> float:
    return -inf if snapshot.read_at is None else snapshot.read_at
