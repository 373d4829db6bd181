"""Health check: what was observed last, how old that is, and what follows for the whole.

In    note(...) whenever something was observed, in the background; report(now) when somebody asks
Out   pass, warn or fail, with every check and its age
Rule  asking never checks; an observation that is too old is "unknown", and unknown never counts as good
Why   a probe every second must not load what it probes, and a checker that died must not look like health

    level of a check     counts for the whole as
    pass                 pass
    warn                 warn
    fail, unknown        fail if the check is required, else warn
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["pass", "warn", "fail", "unknown"]
_WORST: Final[Mapping[Level, int]] = {"pass": 0, "warn": 1, "unknown": 2, "fail": 2}
MEDIA_TYPE: Final = "application/health+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """One thing that is observed."""

    name: str
    required: bool
    """Without it the service cannot take messages."""
    stale_after_s: float
    """An observation older than this is unknown."""

    def __post_init__(self) -> None:
        """Refuse a check that is always stale."""
        if self.stale_after_s <= 0:
            raise ValueError(f"stale_after_s must be above 0, got {self.stale_after_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check says now; ``age_s`` is None if nothing was ever observed."""

    name: str
    required: bool
    level: Level
    age_s: float | None
    observed: float | str | None = None
    unit: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class _Note:
    at: float
    level: Level
    observed: float | str | None
    unit: str
    output: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole: ``level`` is pass, warn or fail."""

    level: Level
    findings: tuple[Finding, ...]

    def problems(self) -> str:
        """Say in one line what is not good."""
        return "; ".join(
            f"{finding.name}: {finding.output or finding.level}" for finding in self.findings if finding.level != "pass"
        )

    def as_json(self, *, release: str, service: str) -> dict[str, object]:
        """Give the document that ``application/health+json`` describes."""
        return {
            "status": self.level,
            "version": "1",
            "releaseId": release,
            "serviceId": service,
            "output": self.problems(),
            "checks": {finding.name: [_entry(finding)] for finding in self.findings},
        }


class HealthCheck:
    """The last observation of each check."""

    def __init__(self, checks: Iterable[CheckConfig]) -> None:
        """Start with everything unknown."""
        self._checks = {check.name: check for check in checks}
        self._notes: dict[str, _Note] = {}

    def note(
        self,
        name: str,
        now: float,
        level: Level,
        *,
        observed: float | str | None = None,
        unit: str = "",
        output: str = "",
    ) -> None:
        """Keep an observation; KeyError for a check that was not announced."""
        self._notes[self._checks[name].name] = _Note(now, level, observed, unit, output)

    def report(self, now: float) -> Report:
        """Say how everything stands."""
        findings = tuple(self._finding(check, now) for check in self._checks.values())
        worst: Level = max((_counted(finding) for finding in findings), key=_WORST.__getitem__, default="pass")
        return Report(worst, findings)

    def ready(self, now: float) -> tuple[bool, str]:
        """Whether everything that is required is there; if not, why."""
        missing = [
            finding
            for finding in (self._finding(check, now) for check in self._checks.values() if check.required)
            if finding.level in ("fail", "unknown")
        ]
        return not missing, "; ".join(f"{finding.name}: {finding.output or finding.level}" for finding in missing)

    def _finding(self, check: CheckConfig, now: float) -> Finding:
        note = self._notes.get(check.name)
        if note is None:
            return Finding(
                name=check.name, required=check.required, level="unknown", age_s=None, output="not observed yet"
            )
        age = max(0.0, now - note.at)
        stale = age > check.stale_after_s
        return Finding(
            name=check.name,
            required=check.required,
            level="unknown" if stale else note.level,
            age_s=round(age, 3),
            observed=note.observed,
            unit=note.unit,
            output=f"last observed {age:.1f} s ago" if stale else note.output,
        )


def _counted(finding: Finding) -> Level:
    if finding.level in ("fail", "unknown"):
        return "fail" if finding.required else "warn"
    return finding.level


def _entry(finding: Finding) -> dict[str, object]:
    entry: dict[str, object] = {"status": finding.level, "required": finding.required, "ageSeconds": finding.age_s}
    if finding.observed is not None:
        entry["observedValue"] = finding.observed
    if finding.unit:
        entry["observedUnit"] = finding.unit
    if finding.output:
        entry["output"] = finding.output
    return entry
