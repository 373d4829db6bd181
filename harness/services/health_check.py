"""Health check: what was observed last, how old that is, and what follows for the whole.

In    announce(...) and withdraw(...) as parts come and go; note(...) for every observation; tick(now) now and then
Out   a HealthMoved when a check changes its level; report(now), ready(now), startup(now) when somebody asks
Rule  asking never checks; worse after `fall` observations in a row, better after `rise`; too old is "unknown", and
      unknown never counts as good
Why   a probe every second must not load what it probes, one lost packet is no outage, and a checker that died must
      not look like health

    level of a check     counts for the whole as
    pass                 pass
    warn                 warn
    fail, unknown        fail if the check is required, else warn
    any, while muted     pass: somebody has seen it, and said until when
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final

from harness.core.check import WORSE, Check, CheckConfig, Finding, HealthMoved, Level, Mute, Observation

__all__ = [
    "CHECKS_MAX",
    "MEDIA_TYPE",
    "OUTPUT_CHARS_MAX",
    "CheckConfig",
    "Finding",
    "HealthCheck",
    "HealthMoved",
    "Level",
    "Mute",
    "Observation",
    "Report",
]

CHECKS_MAX: Final = 1_000
OUTPUT_CHARS_MAX: Final = 500
MEDIA_TYPE: Final = "application/health+json"


@dataclass(frozen=True, slots=True)
class Report:
    """The whole: ``level`` is pass, warn or fail."""

    level: Level
    findings: tuple[Finding, ...]

    def problems(self) -> str:
        """Say in one line what is not good."""
        return "; ".join(
            f"{finding.key}: {finding.output or finding.level}"
            for finding in self.findings
            if finding.counted != "pass"
        )

    def as_json(self, *, release: str, service: str) -> dict[str, object]:
        """Give the document that ``application/health+json`` describes (draft-inadarei-api-health-check-06)."""
        checks: dict[str, list[dict[str, object]]] = {}
        for finding in self.findings:
            checks.setdefault(finding.name, []).append(_entry(finding))
        return {
            "status": self.level,
            "version": "1",
            "releaseId": release,
            "serviceId": service,
            "output": self.problems(),
            "checks": checks,
        }


class HealthCheck:
    """All checks of one service."""

    __slots__ = ("_checks", "_draining", "_seq", "_started")

    def __init__(self, checks: Iterable[CheckConfig] = ()) -> None:
        """Start with everything unknown."""
        self._checks: dict[str, Check] = {}
        self._seq = 0
        self._started = False
        self._draining = ""
        for check in checks:
            self.announce(check)

    def announce(self, check: CheckConfig) -> None:
        """Know one more check from now on, for as long as it is not withdrawn."""
        if check.key in self._checks:
            raise ValueError(f"there is a check {check.key!r} already: withdraw it first")
        if len(self._checks) >= CHECKS_MAX:
            raise ValueError(f"{CHECKS_MAX} checks are the limit: withdraw one before announcing {check.key!r}")
        self._checks[check.key] = Check(check)

    def withdraw(self, key: str) -> None:
        """Forget a check: what it watched is gone on purpose."""
        self._get(key)
        del self._checks[key]

    def keys(self) -> tuple[str, ...]:
        """Give what is announced."""
        return tuple(self._checks)

    def note(
        self,
        key: str,
        now: float,
        level: Level,
        *,
        observed: float | str | None = None,
        unit: str = "",
        output: str = "",
    ) -> tuple[HealthMoved, ...]:
        """Take an observation; an earlier ``now`` than the last one's counts as that."""
        check = self._get(key)
        if not isfinite(now):
            raise ValueError(f"{key}: now must be a finite number of seconds, got {now}")
        if level not in WORSE:
            raise ValueError(f"{key}: level must be one of {', '.join(WORSE)}, got {level!r}")
        at = now if check.last is None else max(now, check.last.at)
        moves: list[HealthMoved] = []
        before = check.level
        if before != "unknown" and check.stale(at):
            check.expire()  # Nobody ticked in time, but it was unknown all the same.
            moves.append(self._moved(check, before, 0))
            before = "unknown"
        observations = check.take(Observation(at, level, observed, unit, output[:OUTPUT_CHARS_MAX]))
        if observations:
            moves.append(self._moved(check, before, observations))
        if not self._started and check.config.required:
            self._started = self.ready(at)[0]  # Now, and not when somebody happens to ask.
        return tuple(moves)

    def tick(self, now: float) -> tuple[HealthMoved, ...]:
        """Let time pass: what was not observed for too long becomes unknown, mutes end."""
        moves = []
        for check in self._checks.values():
            if check.mute is not None and now >= check.mute.until:
                check.mute = None
            before = check.level
            if before != "unknown" and check.stale(now):
                check.expire()
                moves.append(self._moved(check, before, 0))
        return tuple(moves)

    def mute(self, key: str, now: float, *, ttl_s: float, author: str, reason: str) -> None:
        """Let a check not count for ``ttl_s`` seconds, or until it gets worse than it is now."""
        check = self._get(key)
        if not (isfinite(now) and 0 < ttl_s < inf):
            raise ValueError(f"{key}: a mute needs a number of seconds above 0, got {ttl_s}")
        if not author.strip() or not reason.strip():
            raise ValueError(f"{key}: a mute needs an author and a reason: somebody must answer for it")
        level: Level = "unknown" if check.stale(now) else check.level
        check.mute = Mute(author.strip(), reason.strip(), now + ttl_s, level)

    def unmute(self, key: str) -> None:
        """Let it count again."""
        self._get(key).mute = None

    def drain(self, reason: str) -> None:
        """The service is about to end: from now on it is never ready again."""
        self._draining = reason or "the service is ending"

    def report(self, now: float) -> Report:
        """Say how everything stands."""
        findings = tuple(check.finding(now) for check in self._checks.values())
        worst: Level = max((finding.counted for finding in findings), key=WORSE.__getitem__, default="pass")
        return Report(worst, findings)

    def ready(self, now: float) -> tuple[bool, str]:
        """Whether everything that is required is there; if not, why."""
        if self._draining:
            return False, self._draining
        missing = [
            finding
            for finding in (check.finding(now) for check in self._checks.values() if check.config.required)
            if finding.counted == "fail"
        ]
        return not missing, "; ".join(f"{finding.key}: {finding.output or finding.level}" for finding in missing)

    def startup(self, now: float) -> tuple[bool, str]:
        """Whether everything that is required was there once; if not, what is missing. It stays true from then on."""
        return (True, "") if self._started else self.ready(now)

    def _get(self, key: str) -> Check:
        check = self._checks.get(key)
        if check is None:
            raise KeyError(f"there is no check {key!r}: announce it first")
        return check

    def _moved(self, check: Check, before: Level, observations: int) -> HealthMoved:
        self._seq += 1
        config = check.config
        return HealthMoved(self._seq, config.key, config.required, before, check.level, observations, check.last)


def _entry(finding: Finding) -> dict[str, object]:
    entry: dict[str, object] = {"status": finding.level, "required": finding.required, "ageSeconds": finding.age_s}
    if finding.instance:
        entry["componentId"] = finding.instance
    if finding.observed is not None:
        entry["observedValue"] = finding.observed
    if finding.unit:
        entry["observedUnit"] = finding.unit
    if finding.output:
        entry["output"] = finding.output
    if finding.mute is not None:
        entry["muted"] = {"by": finding.mute.author, "reason": finding.mute.reason}
    return entry
