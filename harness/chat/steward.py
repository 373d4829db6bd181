"""Steward: the rules of a tick: how well the service is, what it switches off, what it may take on, what it grows to.

In    how turns ended; what the machine feels like; a tick a second with the bots as they are
Out   facts for the journal, the mode that clients see, how many processes each bot should have
Rule  what the service refuses on purpose is no evidence of its health; nothing grows beyond the limits of the whole
Why   score feeds degradation, capacity feeds the scaler: who hands whose value to whom stands in one place

    turns, machine --> health score --> degradation --> features off and on
    bots           --> capacity     --> the door, the auto-scaler --> processes
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from harness.chat.roster import BotRecord
from harness.core.breaker import PASSING
from harness.core.events import (
    CapacityChanged,
    FeatureSwitched,
    Felt,
    LevelMoved,
    LimitOrdered,
    ModeMoved,
    ModeOrdered,
    Rejected,
    ServiceFact,
    ServiceMode,
)
from harness.core.scaling import PerBot, Target, Whole
from harness.core.scoring import COMPONENTS
from harness.core.settings import Settings
from harness.core.stats import percentile
from harness.services.autoscaler import Autoscaler, Decision, ScalerConfig
from harness.services.capacity import Capacity, CapacityConfig, Demand, Limits, Refusal
from harness.services.degradation import Change, Degradation, DegradationConfig, Feature, Mode, Switched
from harness.services.health_score import HealthScore, Score, ScoreConfig

CARE: Final = "care"
"""The timer of the tick."""
CARE_EVERY_S: Final = 1.0
FEATURES: Final = (
    Feature(name="retries", criticality="optional"),
    Feature(name="checkpoints", criticality=30),
    Feature(name="series", criticality=40, in_maintenance=True),
    Feature(name="launches", criticality="important", in_maintenance=True),
    Feature(name="messages", criticality="essential"),
)
"""What the service can do without, from what is missed least; in maintenance only messages and what tries them rest."""
SHED: Final = frozenset({"busy", "cancelled", "circuit-open", "no-bot", "not-saved", "reply-too-late"})
"""Ends of a turn that the service or its user has chosen: counted, they would heal or hurt the score by themselves."""
_MACHINE: Final = frozenset({"store", "loop_lag_ms", "memory_share", "cpu_share"})
_FIRSTS_MAX: Final = 1_000
_WAIT_SHARE: Final = 0.25
"""Share of answer_within_s that a message may expect to wait before another process is worth it."""


class Steward:
    """The services that look at the whole."""

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        """Start healthy, with everything on and no machine in sight."""
        self._settings = settings
        limits = Limits(
            bots=settings.bots_max,
            tasks_per_s=settings.tasks_per_s_max,
            memory_bytes=None,
            queue_count=settings.waiting_max,
            queue_bytes=settings.waiting_chars_max,
            queue_age_s=settings.answer_within_s,
        )
        self.capacity = Capacity(limits, CapacityConfig(), rng)
        self.degradation = Degradation(DegradationConfig(features=FEATURES))
        self.score: Score | None = None
        self._health = HealthScore(
            ScoreConfig(components=[component for component in COMPONENTS if component.name not in _MACHINE])
        )
        self._felt: Felt | None = None
        self._memory_ordered = False
        """Whether a person has decided how much memory there is."""
        self._scalers: dict[str, Autoscaler] = {}
        self._good = self._total = 0
        self._firsts: list[float] = []
        self._looked = float("-inf")

    # --- What it hears ------------------------------------------------------------------------------------------------
    def feel(self, fact: Felt, now: float) -> None:
        """Take what the machine feels like; from the first time on its components count, and its memory is limited."""
        if self._felt is None:
            self._health = HealthScore()
            if not self._memory_ordered:
                self.capacity.change(now, "memory_bytes", self._settings.memory_bytes_max, author="settings")
        self._felt = fact
        self.capacity.note(now, {"memory_bytes": fact.memory_bytes})

    def settled(self, outcome: str, first_s: float | None) -> None:
        """Count how a turn ended, if that says something about the service."""
        if outcome in SHED:
            return
        self._total += 1
        self._good += outcome == "done"
        if first_s is not None and len(self._firsts) < _FIRSTS_MAX:
            self._firsts.append(first_s)

    # --- The tick -----------------------------------------------------------------------------------------------------
    def care(self, now: float, bots: Sequence[BotRecord]) -> list[ServiceFact]:
        """Look at everything once; give what has changed."""
        self.look(now, bots)
        self._observe(now, bots)
        self.score = score = self._health.evaluate(now)
        facts: list[ServiceFact] = []
        if score.moved is not None:
            worst = ", ".join(impact.component for impact in score.impacts)
            facts.append(LevelMoved(score.moved.before, score.moved.after, round(score.moved.score, 2), worst))
        facts.extend(_told(self.degradation.update(now, score.level)))
        return facts

    def look(self, now: float, bots: Iterable[BotRecord]) -> None:
        """Read what is in use, for the limits."""
        self._looked = now
        count, chars, age_s, processes = 0, 0, 0.0, 0
        for record in bots:
            processes += len(record.instances)
            count += len(record.queue)
            chars += record.queue.size
            age_s = max(age_s, record.queue.oldest_age_s(now))
        self.capacity.note(now, {"bots": processes, "queue_count": count, "queue_bytes": chars, "queue_age_s": age_s})

    def _observe(self, now: float, bots: Sequence[BotRecord]) -> None:
        health, felt = self._health, self._felt
        health.observe_rate(now, "success_share", self._good, self._total)
        if self._firsts:
            health.observe(now, "latency_ms_p95", 1000.0 * percentile(sorted(self._firsts), 0.95))
        self._good = self._total = 0
        self._firsts.clear()
        if bots:
            ready = sum(record.state == "online" and record.breaker.state in PASSING for record in bots)
            health.observe(now, "bots_available_share", ready / len(bots))
            fullest = max(len(record.queue) for record in bots)
            health.observe(now, "queue_share", min(1.0, fullest / self._settings.queue_max))
        if felt is not None:
            health.observe(now, "store", float(felt.store_ok))
            health.observe(now, "loop_lag_ms", 1000.0 * felt.loop_lag_s)
            allowed = self.capacity.limits.memory_bytes
            health.observe(now, "memory_share", felt.memory_bytes / allowed if allowed is not None else 0.0)
            health.observe(now, "cpu_share", felt.cpu_share)

    # --- The door -----------------------------------------------------------------------------------------------------
    def enabled(self, feature: str) -> bool:
        """Whether a feature is on."""
        return self.degradation.enabled(feature)

    def closed(self, cid: str, now: float) -> Rejected:
        """Refuse a message because people work on the service."""
        order = self.degradation.report(now).override
        why = order.reason if order is not None else "the service is not well"
        return Rejected(cid, "maintenance", f"no messages are taken now: {why}", self.degradation.retry_after_s(now))

    def admit(self, now: float, bots: Iterable[BotRecord], *, chars: int, waits: bool) -> Refusal | None:
        """Hold a message against the limits of the whole; those of what waits only if it will have to."""
        if waits or now - self._looked >= CARE_EVERY_S:
            self.look(now, bots)
        demand = Demand(tasks=1, queue_count=1, queue_bytes=chars) if waits else _TASK
        return self.capacity.admit(now, demand)

    # --- Growing and shrinking ----------------------------------------------------------------------------------------
    def scale(self, now: float, record: BotRecord) -> Decision | None:
        """Say how many processes a bot should have; None if it is not scaled, or has as many."""
        most = self._settings.instances_max
        if most == 1:
            return None
        scaler = self._scalers.get(record.bot)
        if scaler is None:
            scaler = self._scalers[record.bot] = Autoscaler(self._scaler_config(most))
        active = record.active
        online = [instance for instance in active if instance.state == "online"]
        values: list[float | None] = [len(one.in_flight) / one.limit.limit for one in online]
        values += [None for one in active if one.state == "restarting"]
        busy = PerBot(values, unready=len(active) - len(values))
        wait_s = record.queue.eta_s(now) if record.queue else 0.0
        decision = scaler.decide(
            now, len(active), {"utilisation": busy, "queue_eta_s": Whole(wait_s, ready=max(1, len(online)))}
        )
        return decision if decision.wanted != decision.before else None

    def room(self, now: float) -> bool:
        """Whether another process may be started; it counts from then on."""
        return self.capacity.admit(now, Demand(bots=1)) is None

    def forget(self, bot: str) -> None:
        """A bot was removed."""
        self._scalers.pop(bot, None)

    def _scaler_config(self, most: int) -> ScalerConfig:
        settings = self._settings
        targets = {
            "utilisation": Target(value=settings.instance_utilisation),
            "queue_eta_s": Target(value=_WAIT_SHARE * settings.answer_within_s),
        }
        return ScalerConfig(targets=targets, bots_max=most, down_window_s=settings.scale_down_window_s)

    # --- Orders of people ---------------------------------------------------------------------------------------------
    def order(self, fact: ModeOrdered, now: float) -> list[ServiceFact]:
        """Let a person decide the mode, or let go of it; ValueError says what is wrong with the order."""
        if fact.mode == "auto":
            return _told(self.degradation.release(now, author=fact.author))
        mode = _MODES.get(fact.mode)
        if mode is None:
            raise ValueError(f"mode must be full, degraded, maintenance or auto, got {fact.mode!r}")
        return _told(self.degradation.override(now, mode, author=fact.author, reason=fact.reason, ttl_s=fact.ttl_s))

    def change(self, fact: LimitOrdered, now: float) -> CapacityChanged:
        """Let a person change a limit; ValueError says what is wrong with it."""
        changed = self.capacity.change(now, fact.limit, fact.allowed, author=fact.author)
        self._memory_ordered = self._memory_ordered or changed.limit == "memory_bytes"
        return CapacityChanged(changed.limit, changed.before, changed.after, changed.author)

    def mode(self, now: float) -> ServiceMode:
        """Give what clients see of it."""
        report, score = self.degradation.report(now), self.score
        return ServiceMode(
            mode=report.mode,
            level=score.level if score is not None else "unknown",
            score=None if score is None or score.score is None else round(score.score, 1),
            off=report.off,
            why=report.override.reason
            if report.override is not None
            else "; ".join(impact.impact for impact in (score.impacts if score is not None else ())),
            retry_after_s=self.degradation.retry_after_s(now),
        )


_TASK: Final = Demand(tasks=1)
_MODES: Final[Mapping[str, Mode]] = {"full": "full", "degraded": "degraded", "maintenance": "maintenance"}


def _told(changes: Iterable[Change]) -> list[ServiceFact]:
    facts: list[ServiceFact] = []
    for change in changes:
        if isinstance(change, Switched):
            facts.append(FeatureSwitched(change.feature, change.on, change.cause))
        else:
            facts.append(ModeMoved(change.seq, change.before, change.after, change.cause, change.author, change.reason))
    return facts
