"""Headroom: how full each limit of the service is, and what should be done about it.

In    of each limit: what is in use, what is allowed, how often it refused, who changed it
Out   a Report with one recommendation, which is the document of ``GET /api/capacity``
Rule  what is unknown is said to be unknown; every recommendation names its reasons by code
Why   whoever looks at a refusal wants to know what to do, not only what happened
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Name = Literal["bots", "tasks_per_s", "memory_bytes", "queue_count", "queue_bytes", "queue_age_s"]
Action = Literal["hold", "add-bots", "raise-bots", "free-memory", "read-again"]
NAMES: Final[tuple[Name, ...]] = ("bots", "tasks_per_s", "memory_bytes", "queue_count", "queue_bytes", "queue_age_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Somebody has changed a limit at run time."""

    limit: Name
    before: float | None
    after: float | None
    author: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One limit now; what is unknown is None."""

    limit: Name
    used: float | None
    allowed: float | None
    utilisation: float | None
    refused: int
    changed: Changed | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do, and the codes of the reasons: ``<limit>-near``, ``-full``, ``-unknown`` or ``-refusing``."""

    action: Action
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Every limit, and what follows."""

    uses: tuple[Use, ...]
    recommendation: Recommendation

    def as_json(self, now: float) -> dict[str, object]:
        """Give the document of ``GET /api/capacity``, ``now`` on the clock of the report."""
        return {
            "limits": {use.limit: _use_json(use, now) for use in self.uses},
            "refused": {use.limit: use.refused for use in self.uses},
            "recommendation": {"action": self.recommendation.action, "reasons": list(self.recommendation.reasons)},
        }


def recommend(uses: Sequence[Use], refusing: Collection[Name], near: float) -> Recommendation:
    """Say what to do; ``refusing`` are the limits that refused something lately, ``near`` is nearly full."""
    reasons = [reason for use in uses if use.allowed is not None for reason in _reasons(use, refusing, near)]
    pressed = {reason.rpartition("-")[0] for reason in reasons if not reason.endswith("-unknown")}
    action: Action = "hold"
    if "memory_bytes" in pressed:
        action = "free-memory"
    elif "bots" in pressed:
        action = "raise-bots"
    elif pressed:
        action = "add-bots"
    elif reasons:
        action = "read-again"
    return Recommendation(action, tuple(reasons))


def _reasons(use: Use, refusing: Collection[Name], near: float) -> list[str]:
    if use.utilisation is None:
        return [f"{use.limit}-unknown"]
    reasons = []
    if use.utilisation >= 1:
        reasons.append(f"{use.limit}-full")
    elif use.utilisation >= near:
        reasons.append(f"{use.limit}-near")
    if use.limit in refusing:
        reasons.append(f"{use.limit}-refusing")
    return reasons


def _use_json(use: Use, now: float) -> dict[str, object]:
    changed = use.changed
    return {
        "used": use.used,
        "allowed": use.allowed,
        "utilisation": None if use.utilisation is None else round(use.utilisation, 4),
        "changed_by": None if changed is None else changed.author,
        "changed_s_ago": None if changed is None else round(max(0.0, now - changed.at), 3),
    }
