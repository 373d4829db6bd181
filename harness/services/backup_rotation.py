"""Backup rotation: which backups stay, which go, and when nothing may go at all.

In    what is known about every backup, a policy, guards, the time, the offset of the local zone at any time
Out   a Plan: a decision with its reasons for each backup, and why the whole plan must not be carried out, if so
Rule  time and zone are arguments; a plan only says what may go: whoever carries it out moves it to a bin first
Why   the day a rule for deletion is wrong is the day the last good backup is gone

The policy means what ``restic forget`` means by it (restic's manual, "Removing snapshots according to a policy"): each
rule walks from the newest backup to the oldest and keeps the newest one of every hour, day ... until its count is
used up; only hours, days ... that hold a backup count; the oldest backup is kept as long as a count is left.
What restic does not have stands around it: only backups that were read back take part, and the guards below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from math import floor, inf, isfinite
from typing import Final

from harness.core.backups import Snapshot

Offset = Callable[[float], float]
"""Seconds that local time is ahead of UTC, at a time in Unix seconds."""
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many backups of which age stay; at least one rule must be given."""

    last: int = 0
    """The newest ones, whatever their time."""
    hourly: int = 0
    """Hours of which the newest one stays."""
    daily: int = 0
    """Days."""
    weekly: int = 0
    """Weeks; they begin on Monday (ISO 8601)."""
    monthly: int = 0
    """Months."""
    yearly: int = 0
    """Years."""
    within_s: float = 0.0
    """Everything that is at most so much older than the newest backup, in seconds."""

    def __post_init__(self) -> None:
        """Refuse what would delete everything, and what is no number."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < inf:
                raise ValueError(f"{field.name} must be a number from 0 up, got {value}")
            if field.name != "within_s" and value != int(value):
                raise ValueError(f"{field.name} must be a whole number, got {value}")
        if not any(getattr(self, field.name) for field in fields(self)):
            raise ValueError("the policy keeps nothing: give at least one rule a number above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What holds whatever the policy says. Seconds, bytes, shares of 1."""

    verified_min: int = 3
    """So many of the newest verified backups always stay."""
    removed_share_max: float = 0.5
    """A plan that removes a larger share of all backups is refused."""
    interval_s: float = 0.0
    """How often backups are made; when the newest is older than twice that, nothing is removed. 0: not known."""
    ahead_max_s: float = 300.0
    """A backup further in the future means that the clock has jumped: nothing is removed."""
    fall_max: float = 0.3
    """A backup that has lost a larger share of rows or bytes against the one before is suspicious."""
    quota_bytes: int = 0
    """What all backups may take; 0: any number."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.verified_min < 1:
            raise ValueError(f"verified_min must be at least 1, got {self.verified_min}")
        for name in ("removed_share_max", "fall_max"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        for name in ("interval_s", "ahead_max_s", "quota_bytes"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be a number from 0 up, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one backup, and why."""

    name: str
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Decisions from the newest backup to the oldest."""

    decisions: tuple[Decision, ...]
    refusal: str = ""
    """Why nothing may be removed now; empty: the plan may be carried out."""
    suspicious: tuple[str, ...] = ()
    """Backups with a sudden loss, for a person to look at."""
    over_quota_bytes: int = 0
    """What is still too much after everything that may go has gone."""

    @property
    def removals(self) -> tuple[str, ...]:
        """The backups that go; none while the plan is refused."""
        return () if self.refusal else tuple(each.name for each in self.decisions if not each.keep)


def _calendar(local: float) -> tuple[int, int]:
    """Give year and month of a local time, by Howard Hinnant's "chrono-compatible low-level date algorithms"."""
    era, day = divmod(floor(local / DAY_S) + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    month = (5 * (day - (365 * year + year // 4 - year // 100)) + 2) // 153  # March is 0: leap days come last.
    return era * 400 + year + (month >= 10), month + 3 if month < 10 else month - 9  # noqa: PLR2004 - see above


# 1970-01-01 was a Thursday: three days on, weeks of seven days begin on Mondays.
_BUCKETS: Final[tuple[tuple[str, Callable[[float], object]], ...]] = (
    ("hourly", lambda local: floor(local / 3_600)),
    ("daily", lambda local: floor(local / DAY_S)),
    ("weekly", lambda local: (floor(local / DAY_S) + 3) // 7),
    ("monthly", _calendar),
    ("yearly", lambda local: _calendar(local)[0]),
)
_WORTH: Final = ("suspicious", "within", "last", *(name for name, _ in _BUCKETS))
"""Rules from the least to the most valuable: over the quota the former go first."""


def kept_by_policy(times: Sequence[float], policy: Policy, now: float, offset: Offset) -> list[list[str]]:
    """Name for each time, newest first, the rules that keep it; the semantics of ``restic forget``."""
    assert all(newer >= older for newer, older in pairwise(times)), "newest first"
    reasons: list[list[str]] = [[] for _ in times]
    newest = max((at for at in times if at <= now), default=inf)
    if policy.within_s:
        for at, why in zip(times, reasons, strict=True):
            # Without a backup that is not in the future there is nothing to count from: all of them stay.
            if newest == inf or at > newest - policy.within_s:
                why.append("within")
    for why in reasons[: policy.last]:
        why.append("last")
    local = [at + offset(at) for at in times]
    for rule, bucket in _BUCKETS:
        left: int = getattr(policy, rule)
        before: object = None
        for place, when in enumerate(local):
            if left == 0:
                break
            mine = bucket(when)
            if mine != before or place == len(local) - 1:
                reasons[place].append(rule)
                before, left = mine, left - 1
    return reasons


def find_suspicious(snapshots: Iterable[Snapshot], fall_max: float) -> frozenset[str]:
    """Name the backups that have lost too much against the newest trusted one before them; oldest first."""
    found: set[str] = set()
    trusted: Snapshot | None = None
    for each in snapshots:
        if each.state == "damaged":
            continue
        if trusted is not None and not each.accepted:
            least = 1 - fall_max
            if each.rows < trusted.rows * least or each.raw_bytes < trusted.raw_bytes * least:
                found.add(each.name)
                continue
        if each.state == "verified":
            trusted = each
    return frozenset(found)


def plan(
    snapshots: Iterable[Snapshot], policy: Policy, guards: Guards, now: float, offset: Offset, *, forced: bool = False
) -> Plan:
    """Decide about every backup. ``forced``: a person has read the refusal and wants it nevertheless.

    ValueError: two backups of one name, or a time that is no number. Force never lifts what keeps single backups: the
    newest verified ones, those with a pin, and those that others need.
    """
    if not isfinite(now):
        raise ValueError(f"now must be a finite number, got {now}")
    newest_first = sorted(snapshots, key=lambda each: (each.at, each.name), reverse=True)
    if len({each.name for each in newest_first}) != len(newest_first):
        raise ValueError("two backups have the same name")
    draft = _Draft(newest_first, policy, guards, now, offset)
    over = draft.evict()
    decisions = tuple(
        Decision(each.name, each.name in draft.kept, tuple(draft.reasons[each.name])) for each in newest_first
    )
    removed = sum(not each.keep for each in decisions)
    refusal = "" if forced else _refusal(newest_first, removed, guards, now)
    suspicious = tuple(each.name for each in newest_first if each.name in draft.suspicious)
    return Plan(decisions=decisions, refusal=refusal, suspicious=suspicious, over_quota_bytes=over)


def _refusal(newest_first: Sequence[Snapshot], removed: int, guards: Guards, now: float) -> str:
    if not newest_first:
        return ""
    age = now - newest_first[0].at
    if -age > guards.ahead_max_s:
        return f"the newest backup is {-age:.0f} s in the future: the clock has jumped; set it right"
    if guards.interval_s and age > 2 * guards.interval_s:
        return f"the newest backup is {age:.0f} s old, and one is due every {guards.interval_s:g} s: make one first"
    if removed > guards.removed_share_max * len(newest_first):
        return f"{removed} of {len(newest_first)} backups would go: look at the reasons, then force it if that is meant"
    return ""


class _Draft:
    """A plan that is being made."""

    __slots__ = ("_all", "_guarded", "_guards", "_needed", "_worth", "kept", "reasons", "suspicious")

    def __init__(
        self, newest_first: Sequence[Snapshot], policy: Policy, guards: Guards, now: float, offset: Offset
    ) -> None:
        self._all = {each.name: each for each in newest_first}
        self._guards = guards
        self.suspicious = find_suspicious(reversed(newest_first), guards.fall_max)
        self.reasons: dict[str, list[str]] = {name: [] for name in self._all}
        self._worth: dict[str, int] = {}
        self._guarded: set[str] = set()
        odd = [each for each in newest_first if each.state == "verified" and each.name in self.suspicious]
        trusted = [each for each in newest_first if each.state == "verified" and each.name not in self.suspicious]
        # Suspicious ones are thinned among themselves: they neither push out a trusted one nor grow without end.
        for group in (trusted, odd):
            rules = kept_by_policy([each.at for each in group], policy, now, offset)
            for each, why in zip(group, rules, strict=True):
                self.reasons[each.name] += why
                worth = max(map(_WORTH.index, why), default=0)
                self._worth[each.name] = 0 if group is odd else worth
        self._guard(newest_first, trusted, odd)
        self.kept = {name for name, why in self.reasons.items() if why}
        self._needed: Counter[str] = Counter()
        self._keep_bases()
        for name, why in self.reasons.items():
            if name not in self.kept:
                damaged = self._all[name].state == "damaged"
                why.append("damaged, and there are enough newer ones" if damaged else "no rule keeps it")

    def _guard(self, newest_first: Sequence[Snapshot], trusted: Sequence[Snapshot], odd: Sequence[Snapshot]) -> None:
        enough = trusted[: self._guards.verified_min]
        for each in enough:
            self._stay(each.name, "newest verified")
        for each in odd[:1]:
            self._stay(each.name, "newest suspicious")
        newer = enough[-1].at if len(enough) == self._guards.verified_min else -inf
        for each in newest_first:
            if each.pins:
                self._stay(each.name, f"pinned: {', '.join(each.pins)}")
            if each.state == "unverified":
                self._stay(each.name, "not verified yet")
            elif each.state == "damaged" and not each.at < newer:
                self._stay(each.name, "damaged, and nothing better is newer")

    def _stay(self, name: str, why: str) -> None:
        self._guarded.add(name)
        self.reasons[name].append(why)

    def _keep_bases(self) -> None:
        """Keep what kept differences are based on, however long the chain."""
        waiting = [name for name in self._all if name in self.kept]
        for name in waiting:
            base = self._all[name].base
            if base in self._all:
                self._needed[base] += 1
                if base not in self.kept:
                    self.kept.add(base)
                    waiting.append(base)
                if self._needed[base] == 1:
                    self.reasons[base].append("base of a kept backup")

    def evict(self) -> int:
        """Give up the least valuable until the quota holds; the bytes that are still too many."""
        if not self._guards.quota_bytes:
            return 0
        over = sum(self._all[name].stored_bytes for name in self.kept) - self._guards.quota_bytes
        order = sorted(self.kept - self._guarded, key=lambda name: (self._worth.get(name, 0), self._all[name].at, name))
        while over > 0:
            victim = next((name for name in order if not self._needed[name]), None)
            if victim is None:
                return over
            order.remove(victim)
            self.kept.remove(victim)
            self._needed[self._all[victim].base] -= 1
            self.reasons[victim].append("over the quota")
            over -= self._all[victim].stored_bytes
        return 0
