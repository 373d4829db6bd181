"""Backup orphans: what lies about in a folder of backups, and what may be done about it.

In    the names in each place of the folder, when things were put away, whether their ledger knows them
Out   for each name that is no whole backup: what it is, and what is to be done with it
Rule  a manifest without its data is a loss and is told, never tidied away; a name that is not ours is left alone
Why   after a power cut the half-written must go, and nothing else

    snap/   manifest and data  -> a backup          data only   -> an interrupted write: quarantine
            manifest only      -> LOST              other names -> not ours
    tmp/    anything           -> an interrupted write: removed, for whoever looks holds the lock
    trash/, quarantine/        -> removed when their time is over
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{8}")
"""The name of a backup: when it was taken (UTC), and dice."""
DATA: Final = ".full.zst"
MANIFEST: Final = ".json"


class Kind(enum.StrEnum):
    """What a leftover is."""

    UNFINISHED = "unfinished"
    UNCOMMITTED = "data without a manifest"
    HALF_REMOVED = "half removed"
    LOST = "manifest without its data"
    VANISHED = "gone without a trace"
    EXPIRED = "expired"
    FOREIGN = "not ours"


class Remedy(enum.StrEnum):
    """What is to be done with it."""

    DELETE = "delete"
    QUARANTINE = "quarantine"
    TRASH = "trash"
    ALERT = "alert"
    LEAVE = "leave"


REMEDIES: Final[Mapping[Kind, Remedy]] = {
    Kind.UNFINISHED: Remedy.DELETE,
    Kind.UNCOMMITTED: Remedy.QUARANTINE,
    Kind.HALF_REMOVED: Remedy.TRASH,
    Kind.LOST: Remedy.ALERT,
    Kind.VANISHED: Remedy.ALERT,
    Kind.EXPIRED: Remedy.DELETE,
    Kind.FOREIGN: Remedy.LEAVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The names in each place; for what was put away, since when (Unix seconds)."""

    snap: frozenset[str] = frozenset()
    tmp: frozenset[str] = frozenset()
    trash: Mapping[str, float]
    quarantine: Mapping[str, float]
    expected: frozenset[str] = frozenset()
    """Backups that were made and not removed, as far as anybody wrote that down."""


@dataclass(frozen=True, slots=True, order=True)
class Orphan:
    """One leftover."""

    place: str
    name: str
    kind: Kind

    @property
    def remedy(self) -> Remedy:
        """What is to be done with it."""
        return REMEDIES[self.kind]


def find_orphans(places: Places, now: float, keep_s: float) -> tuple[Orphan, ...]:
    """Name every leftover, sorted; ``keep_s`` is how long what was put away can still be fetched back (seconds).

    A time in the future counts as now: a clock that was set back makes things stay longer, never shorter.
    """
    if not (isfinite(now) and isfinite(keep_s) and keep_s >= 0):
        raise ValueError(f"now must be a finite number and keep_s one from 0 up, got {now} and {keep_s}")
    found = [Orphan("tmp", name, Kind.UNFINISHED) for name in places.tmp]
    found += _in_snap(places)
    for place, content in (("trash", places.trash), ("quarantine", places.quarantine)):
        for name, since in content.items():
            if _base(name) is None:
                found.append(Orphan(place, name, Kind.FOREIGN))
            elif since + keep_s <= now:
                found.append(Orphan(place, name, Kind.EXPIRED))
    return tuple(sorted(found))


def _in_snap(places: Places) -> Iterable[Orphan]:
    whole = {name.removesuffix(MANIFEST) for name in places.snap if name.endswith(MANIFEST)}
    for name in places.snap:
        base = _base(name)
        if base is None:
            yield Orphan("snap", name, Kind.FOREIGN)
        elif name.endswith(MANIFEST):
            if base + DATA not in places.snap:
                yield Orphan("snap", name, Kind.LOST)
        elif base not in whole:
            # Its manifest goes to the bin first: whoever is interrupted there leaves the data behind.
            removed = base + MANIFEST in places.trash
            yield Orphan("snap", name, Kind.HALF_REMOVED if removed else Kind.UNCOMMITTED)
    for base in places.expected - whole:
        if base + MANIFEST not in places.trash:
            yield Orphan("snap", base, Kind.VANISHED)


def _base(name: str) -> str | None:
    """The backup that a file belongs to; None if it is not one of ours."""
    for end in (DATA, MANIFEST):
        base = name.removesuffix(end)
        if base != name and NAME.fullmatch(base):
            return base
    return None
