"""Backups: what is known about one backup, and the figures of all of them.

In    what manifests and the ledger say
Out   values that the rules for backups decide on, and that metrics show
Rule  times are Unix seconds, sizes are bytes; nothing here knows a file
Why   rotation, schedule, command line and metrics speak of the same thing in the same words
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import Final, Literal

State = Literal["verified", "unverified", "damaged"]
STATES: Final[tuple[State, ...]] = ("verified", "unverified", "damaged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One backup; ``at`` is when the database was copied, in Unix seconds."""

    name: str
    at: float
    stored_bytes: int = 0
    """What it takes on the disk."""
    raw_bytes: int = 0
    """What it is unpacked."""
    rows: int = 0
    """Rows of all tables."""
    state: State = "unverified"
    """``verified``: it was read back, unpacked and compared; ``damaged``: that has failed."""
    base: str = ""
    """The full backup that it is a difference to; empty: it is a full one."""
    pins: tuple[str, ...] = ()
    """Why people want it to stay."""
    accepted: bool = False
    """A person has looked at a sudden loss of rows and found it right."""
    read_at: float | None = None
    """When it was last read back without a complaint."""
    proved_at: float | None = None
    """When it was last unpacked into a database that passed every check."""

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        if not self.name:
            raise ValueError("a backup needs a name")
        if not isfinite(self.at):
            raise ValueError(f"{self.name}: its time must be a finite number, got {self.at}")
        if min(self.stored_bytes, self.raw_bytes, self.rows) < 0:
            raise ValueError(f"{self.name}: sizes and rows must not be negative")
        if self.state not in STATES:
            raise ValueError(f"{self.name}: its state must be one of {', '.join(STATES)}, got {self.state!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFigures:
    """How the backups stand; made once after each look at them, read by every scrape."""

    newest_verified_at: float | None = None
    newest_verified_bytes: int = 0
    count: int = 0
    repo_bytes: int = 0
    quota_bytes: int = 0
    suspicious: int = 0
    damaged: int = 0
    runs: int = 0
    """Scheduled backups that this service has tried."""
    failures: int = 0
    """Those of them that failed."""
    took_s: float = 0.0
    """How long the last one took."""
    drill_rto_s: float | None = None
    """How long the last drill needed, from nothing to a session that was read."""
    oldest_at: float | None = None
    """When the oldest thing was made that would be lost without any backup; None: no backups are made."""
    problem: str = ""
    """Why the last scheduled backup failed; empty if it did not."""

    def readings(self, now: float) -> Mapping[str, float]:
        """Give the value of every metric by its name; what is not known is no number, never 0."""
        newest = self.newest_verified_at
        reference = self.oldest_at if newest is None else newest
        return {
            "chat_backups": self.count,
            "chat_backup_newest_verified_timestamp_seconds": nan if newest is None else newest,
            "chat_backup_newest_verified_bytes": nan if newest is None else self.newest_verified_bytes,
            "chat_backup_age_seconds": nan if reference is None else max(0.0, now - reference),
            "chat_backup_repo_bytes": self.repo_bytes,
            "chat_backup_quota_bytes": self.quota_bytes,
            "chat_backup_suspicious": self.suspicious,
            "chat_backup_damaged": self.damaged,
            "chat_backup_runs_total": self.runs,
            "chat_backup_failures_total": self.failures,
            "chat_backup_run_seconds": self.took_s if self.runs else nan,
            "chat_backup_drill_rto_seconds": nan if self.drill_rto_s is None else self.drill_rto_s,
        }
