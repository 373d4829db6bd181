"""Auto-scaler: how many bots there should be, by the formula of the Kubernetes Horizontal Pod Autoscaler (v2).

In    decide(now, current, readings): how many there are (starting ones included), and what was measured
Out   a Decision: how many there should be, why, and what held it back
Rule  missing data never shrinks; every change obeys the windows, the policies, the cooldown and the bounds
Why   a scaler that believes every reading starts and stops processes all day, and stops them when its eyes fail

    what the metrics want    core/scaling.py: the most of all metrics counts
    windows                  to grow, the smallest wish of the last ``up_window_s``; to shrink, the largest of
                             ``down_window_s``
    policies                 at most so many, or such a share, within a period; then the bounds

After Kubernetes' horizontal.go of autoscaling/v2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from harness.core.moments import BEGINNING, forward
from harness.core.ranges import above_zero, between, whole
from harness.core.scaling import PerBot, Proposal, Target, Whole, ceil, floor, propose, refuse

Reason = Literal["on-target", "above-target", "below-target", "missing-data", "inactive", "fallback", "out-of-bounds"]
Hold = Literal["min", "max", "up-window", "down-window", "up-policy", "down-policy", "cooldown", "missing-data"]
CHANGES_MAX: Final = 1_000
"""Changes that are remembered; of more, the oldest two count as one, made later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How much may change within a period: a count of bots, or a percentage of those at its beginning."""

    kind: Literal["count", "percent"]
    """count or percent."""
    value: float
    """How many bots, or how many percent of them; above 0."""
    period_s: float
    """Seconds within which that may change."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.kind not in ("count", "percent"):
            raise ValueError(f"kind must be count or percent, got {self.kind!r}")
        above_zero("value", self.value)
        above_zero("period_s", self.period_s)


UP: Final = (Policy(kind="percent", value=100, period_s=15), Policy(kind="count", value=4, period_s=15))
DOWN: Final = (Policy(kind="count", value=1, period_s=60),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerConfig:
    """The targets, and how fast they may be followed."""

    targets: Mapping[str, Target] = field(default_factory=lambda: {"utilisation": Target(value=0.7)})
    """By the name of the metric."""
    bots_min: int = 1
    """Never fewer; 0 lets a group sleep."""
    bots_max: int = 8
    """Never more."""
    tolerance: float = 0.1
    """By how much of the target a mean may miss it, either way, without a change."""
    up_window_s: float = 0.0
    """Seconds for which all wishes must have been as large, before the number grows."""
    down_window_s: float = 300.0
    """Seconds for which all wishes must have been as small, before the number shrinks."""
    up_policies: tuple[Policy, ...] = UP
    """The one that allows most counts; none: never grow."""
    down_policies: tuple[Policy, ...] = DOWN
    """The one that allows most counts; none: never shrink."""
    cooldown_s: float = 0.0
    """Seconds after any change of the number before it may shrink."""
    failures_max: int = 3
    """Decisions in a row without all data, after which ``fallback`` is wanted."""
    fallback: int | None = None
    """How many bots are wanted at least while data are missing; None: as many as there are."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not self.targets:
            raise ValueError("targets must name at least one metric")
        whole("bots_min", self.bots_min, 0)
        whole("bots_max", self.bots_max, max(1, self.bots_min))
        between("tolerance", self.tolerance, 0, 1)
        for name in ("up_window_s", "down_window_s", "cooldown_s"):
            between(name, getattr(self, name), 0, 3_600)
        whole("failures_max", self.failures_max, 1)
        if self.fallback is not None:
            whole("fallback", self.fallback, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many there should be; ``limited_by`` names what held a larger change back, ``unlimited`` what was wanted."""

    wanted: int
    before: int
    reason: Reason
    limited_by: Hold | None
    unlimited: int
    proposals: tuple[Proposal, ...]


class Autoscaler:
    """The scaler of one group of bots. It counts the changes that it sees, whoever made them."""

    __slots__ = ("_changes", "_config", "_current", "_failures", "_highest", "_last", "_lowest")

    def __init__(self, config: ScalerConfig) -> None:
        """Start with no history."""
        self._config = config
        # The wishes that can still matter: rising from the smallest, falling from the largest; none twice.
        self._lowest: deque[tuple[float, int]] = deque()
        self._highest: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()
        self._current: int | None = None
        self._failures = 0
        self._last = BEGINNING

    def decide(self, now: float, current: int, readings: Mapping[str, PerBot | Whole]) -> Decision:
        """Say how many bots there should be; a metric without a reading is missing.

        ValueError, and nothing remembered, for a reading of a metric without a target, a value that is no number of at
        least 0, a negative number of bots, or a moment that is no finite number.
        """
        config = self._config
        whole("current", current, 0)
        for name, reading in readings.items():
            refuse(name, reading, config.targets)
        now = forward(now, self._last)
        self._note(now, current)
        proposals = tuple(
            propose(name, target, config.tolerance, current, readings.get(name))
            for name, target in config.targets.items()
        )
        missing = any(proposal.wanted is None for proposal in proposals)
        self._failures = self._failures + 1 if missing else 0
        if not config.bots_min <= current <= config.bots_max:
            bound = config.bots_min if current < config.bots_min else config.bots_max
            return Decision(
                wanted=bound,
                before=current,
                reason="out-of-bounds",
                limited_by=None,
                unlimited=bound,
                proposals=proposals,
            )
        unlimited, reason = self._wish(current, proposals, missing=missing)
        held = missing and unlimited < current
        wish = min(max(current if held else unlimited, config.bots_min), config.bots_max)
        wanted, limit = self._hold(now, current, wish)
        if wanted == wish and wish != unlimited:
            limit = "missing-data" if held else "min" if wish > unlimited else "max"
        return Decision(
            wanted=wanted, before=current, reason=reason, limited_by=limit, unlimited=unlimited, proposals=proposals
        )

    def _note(self, now: float, current: int) -> None:
        """See whether the number has changed since last time."""
        if self._current is None:
            # The number at the start counts as wished: who has just come does not shrink what is there.
            self._lowest.append((now, current))
            self._highest.append((now, current))
        elif current != self._current:
            delta = current - self._current
            if len(self._changes) >= CHANGES_MAX:
                delta_old = self._changes.popleft()[1]
                at, delta_next = self._changes.popleft()
                self._changes.appendleft((at, delta_old + delta_next))
            self._changes.append((now, delta))
        self._current, self._last = current, now

    def _wish(self, current: int, proposals: Sequence[Proposal], *, missing: bool) -> tuple[int, Reason]:
        """Join what the metrics ask for: the most counts. Unless one is missing, that may be fewer than there are."""
        config = self._config
        known = [proposal for proposal in proposals if proposal.wanted is not None]
        wish = max((proposal.wanted or 0 for proposal in known), default=current)
        if (
            config.fallback is not None
            and self._failures >= config.failures_max
            and config.fallback > max(wish, current)
        ):
            return config.fallback, "fallback"
        if not known or (missing and wish <= current):
            return wish, "missing-data"
        if not any(proposal.active for proposal in known):
            return wish, "inactive"
        return wish, "above-target" if wish > current else "below-target" if wish < current else "on-target"

    def _hold(self, now: float, current: int, wish: int) -> tuple[int, Hold | None]:
        """Let a wish through the windows, the cooldown and the policies."""
        config = self._config
        low = _keep(self._lowest, now, config.up_window_s, wish, -1)
        high = _keep(self._highest, now, config.down_window_s, wish, 1)
        steady = min(max(current, low), high)
        limit: Hold | None = None
        if steady != wish:
            limit = "up-window" if wish > steady else "down-window"
        if steady > current:
            most = self._most(now, current)
            return (most, "up-policy") if steady > most else (steady, limit)
        if steady < current:
            if self._changes and now - self._changes[-1][0] < config.cooldown_s:
                return current, "cooldown"
            fewest = self._fewest(now, current)
            return (fewest, "down-policy") if steady < fewest else (steady, limit)
        return current, limit

    def _most(self, now: float, current: int) -> int:
        """Give how many the policies allow at most."""
        allowed = [current]
        for policy in self._config.up_policies:
            start = self._start(now, current, policy.period_s)
            by_share = start * (100 + policy.value) / 100
            allowed.append(ceil(by_share if policy.kind == "percent" else start + policy.value))
        # A share of nothing is nothing: the first one is always allowed.
        return max(allowed) if len(allowed) == 1 else max(1, *allowed)

    def _fewest(self, now: float, current: int) -> int:
        """Give how few the policies allow."""
        allowed = [current]
        for policy in self._config.down_policies:
            start = self._start(now, current, policy.period_s)
            by_share = start * (100 - policy.value) / 100
            allowed.append(floor(by_share if policy.kind == "percent" else start - policy.value))
        return min(allowed)

    def _start(self, now: float, current: int, period_s: float) -> int:
        """How many there were at the beginning of the period."""
        return current - sum(delta for at, delta in self._changes if at > now - period_s)


def _keep(wishes: deque[tuple[float, int]], now: float, window_s: float, wish: int, sign: int) -> int:
    """Remember a wish, and give the largest (``sign`` 1) or smallest (-1) of the window."""
    while wishes and wishes[0][0] <= now - window_s:
        wishes.popleft()
    while wishes and sign * wishes[-1][1] <= sign * wish:
        wishes.pop()
    wishes.append((now, wish))
    return wishes[0][1]
