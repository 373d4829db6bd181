"""Alerts: rules over indicators become alerts that wait, fire, recover and end; each label set for itself.

In    step(now, observations) once a tick: for each rule, what its indicator says of each label set
Out   a Move for every change of state; ``alerts`` and ``verdicts`` for whoever looks; ``saved`` for the disk
Rule  time is an argument; the table below is the whole machine; a bad step raises ValueError and changes nothing
Why   an alert that flaps is ignored, one that forgets at a restart is late, one that takes silence for health is wrong

    INACTIVE --EXCEEDED--> PENDING --HELD--> FIRING --EASED--> RECOVERING --OUTLASTED--> INACTIVE
                              |                 ^---EXCEEDED-------'
                              '--CLEARED--> INACTIVE <--CLEARED-- FIRING        FORGOTTEN: from anywhere to INACTIVE

The states, ``for`` and ``keep_firing_for`` are those of Prometheus' alerting rules (its rules/alerting.go); one that is
recovering is still reported as firing. Two things are ours: ``clear``, a second threshold that a firing alert must
pass to end (the deadband that users of Prometheus write by hand), and ``no_data = "keep"``, under which silence freezes
an alert: the time that it has waited or recovered stands still until there is data again.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite, isnan
from typing import Final

from harness.core.alert_rule import COMPARE, NO_DATA_ID, AlertRule
from harness.core.series import Labels, Observation
from harness.errors import ScenarioError

Observations = Mapping[str, Mapping[Labels, Observation]]
"""The id of a rule -> what its indicator says of each label set."""
EMPTY: Final[Mapping[Labels, Observation]] = {}


class State(enum.StrEnum):
    """What is the matter with one label set."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class Signal(enum.StrEnum):
    """Why that changes."""

    EXCEEDED = "exceeded"
    HELD = "held"
    CLEARED = "cleared"
    EASED = "eased"
    OUTLASTED = "outlasted"
    FORGOTTEN = "forgotten"


# The whole machine. A pair that is not here cannot happen.
NEXT: Final[Mapping[tuple[State, Signal], State]] = {
    (State.INACTIVE, Signal.EXCEEDED): State.PENDING,
    (State.PENDING, Signal.HELD): State.FIRING,
    (State.PENDING, Signal.CLEARED): State.INACTIVE,
    (State.PENDING, Signal.FORGOTTEN): State.INACTIVE,
    (State.FIRING, Signal.CLEARED): State.INACTIVE,
    (State.FIRING, Signal.EASED): State.RECOVERING,
    (State.FIRING, Signal.FORGOTTEN): State.INACTIVE,
    (State.RECOVERING, Signal.EXCEEDED): State.FIRING,
    (State.RECOVERING, Signal.OUTLASTED): State.INACTIVE,
    (State.RECOVERING, Signal.FORGOTTEN): State.INACTIVE,
}
REPORTED_FIRING: Final = frozenset({State.FIRING, State.RECOVERING})


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsConfig:
    """What the engine holds at most, and for how long."""

    active_max: int = 1_000
    """Alerts that are not inactive, over all rules; what exceeds beyond that is counted, not followed."""
    silence_s_max: float = 3_600.0
    """An alert without data for so long is forgotten: its series is gone for good."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.active_max < 1:
            raise ScenarioError(f"active_max must be at least 1, got {self.active_max}")
        if not 0 < self.silence_s_max < inf:
            raise ScenarioError(f"silence_s_max must be a finite number above 0, got {self.silence_s_max}")


@dataclass(frozen=True, slots=True)
class Move:
    """One change of state of one label set of one rule; ``value`` is None when there was no data."""

    rule: str
    labels: Labels
    before: State
    after: State
    cause: Signal
    value: float | None
    severity: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One label set that is not inactive: its state, for how long (without frozen time), its last value."""

    rule: str
    labels: Labels
    state: State
    state_s: float
    value: float | None
    frozen: bool
    """There is no data at the moment; what is said is what was true last."""
    silence_s: float = 0.0
    """For how long there has been none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the last step made of one rule: the label sets it saw, and the value nearest to trouble or beyond it."""

    rule: str
    seen: int
    unusable: int
    """Label sets with too few events, too little coverage or no number."""
    worst: float | None


@dataclass(slots=True)
class _Cell:
    """One label set on its way. ``since`` is when its state began, moved on by the time without data."""

    state: State
    since: float
    value: float | None
    silent_since: float | None = None


Key = tuple[str, Labels]


class AlertEngine:
    """The machines of all rules. Label sets at rest cost nothing: only what is not inactive has a cell."""

    __slots__ = ("_cells", "_config", "_dropped", "_last", "_rules", "_verdicts")

    def __init__(self, rules: Iterable[AlertRule], config: AlertsConfig | None = None) -> None:
        """Start with everything inactive; ScenarioError if two alerts would have one name."""
        self._config = config or AlertsConfig()
        self._rules: dict[str, AlertRule] = {}
        self._cells: dict[Key, _Cell] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._last: float | None = None
        self._dropped = 0
        for rule in rules:
            for name in (rule.id, rule.id + NO_DATA_ID)[: 1 + (rule.no_data == "alert")]:
                if name in self._rules:
                    raise ScenarioError(f"two alerts are called {name!r}: give one of the rules another id")
                self._rules[name] = rule
        # The alert for missing data goes by its own name, but it is no rule of its own.
        self._rules = {name: rule for name, rule in self._rules.items() if name == rule.id}

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """The rules, in their order."""
        return tuple(self._rules.values())

    @property
    def dropped(self) -> int:
        """How often a label set exceeded while ``active_max`` were active already."""
        return self._dropped

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the last step made of each rule."""
        return tuple(self._verdicts.values())

    def alerts(self, now: float) -> tuple[Alert, ...]:
        """Everything that is not inactive, by rule and labels."""
        last = self._last if self._last is not None else now
        told = []
        for (rule, labels), cell in sorted(self._cells.items()):
            frozen = cell.silent_since is not None
            state_s = max(0.0, (last if frozen else max(now, last)) - cell.since)
            silence_s = 0.0 if cell.silent_since is None else max(0.0, now - cell.silent_since)
            told.append(Alert(rule, labels, cell.state, state_s, cell.value, frozen, silence_s))
        return tuple(told)

    def step(self, now: float, observations: Observations) -> tuple[Move, ...]:
        """Look at every rule once; ValueError if the time is no number or earlier than at the last step."""
        if not isfinite(now):
            raise ValueError(f"now must be a finite number of seconds, got {now}")
        if self._last is not None and now < self._last:
            raise ValueError(f"time must not go back: the last step was at {self._last}, this one is at {now}")
        unknown = observations.keys() - self._rules.keys()
        if unknown:
            raise ValueError(f"observations of unknown rules: {', '.join(sorted(unknown))}")
        moves: list[Move] = []
        active: dict[str, list[Labels]] = {}
        for name, labels in self._cells:
            active.setdefault(name, []).append(labels)
        for rule in self._rules.values():
            told = observations.get(rule.id, EMPTY)
            usable = {labels: one.value for labels, one in told.items() if _usable(rule, one)}
            self._verdicts[rule.id] = Verdict(
                rule.id, len(told), len(told) - len(usable), _worst(rule, usable.values())
            )
            for labels in dict.fromkeys((*usable, *active.get(rule.id, ()))):
                moves += self._advance(now, rule, rule.id, labels, usable.get(labels))
            if rule.no_data == "alert":
                moves += self._watch_silence(now, rule, silent=not usable)
        self._last = now
        return tuple(moves)

    def saved(self, now: float) -> tuple[Alert, ...]:
        """Give what a restart must not lose; hand it to ``restore``."""
        return self.alerts(now)

    def restore(self, now: float, saved: Iterable[Alert]) -> None:
        """Go on where ``saved`` left off: time that nobody saw counts neither as waiting nor as recovering.

        What belongs to a rule that is not there any more is left out. ValueError for what cannot have been saved.
        """
        cells: dict[Key, _Cell] = {}
        names = {*self._rules, *(rule.id + NO_DATA_ID for rule in self._rules.values() if rule.no_data == "alert")}
        for one in saved:
            if not (0 <= one.state_s < inf and 0 <= one.silence_s < inf) or one.state is State.INACTIVE:
                raise ValueError(f"no alert can have been saved like this: {one}")
            if one.rule in names and len(cells) < self._config.active_max:
                since = now - one.state_s
                cells[one.rule, one.labels] = _Cell(one.state, since, one.value, now - one.silence_s)
        self._cells, self._last = cells, now

    # --- One label set ------------------------------------------------------------------------------------------------
    def _advance(self, now: float, rule: AlertRule, name: str, labels: Labels, value: float | None) -> Iterable[Move]:
        cell = self._cells.get((name, labels))
        if value is None and rule.no_data != "ok":
            return self._freeze(now, rule, name, labels)  # Only what is active is looked at without a value.
        beyond = value is not None and _beyond(rule, value, firing=cell is not None and cell.state in REPORTED_FIRING)
        if cell is None and beyond:
            if len(self._cells) >= self._config.active_max:
                self._dropped += 1
                return ()
            cell = self._cells[name, labels] = _Cell(State.INACTIVE, now, value)
        if cell is None:
            return ()
        cell.silent_since = None
        cell.value = value
        return tuple(self._signals(now, rule, (name, labels), cell, beyond=beyond))

    def _signals(self, now: float, rule: AlertRule, key: Key, cell: _Cell, *, beyond: bool) -> Iterable[Move]:
        """Follow the table as far as this step leads; a wait of 0 s is over at once."""
        if beyond and cell.state in (State.INACTIVE, State.RECOVERING):
            yield self._move(now, rule, key, cell, Signal.EXCEEDED)
        if beyond and cell.state is State.PENDING and now - cell.since >= rule.for_s:
            yield self._move(now, rule, key, cell, Signal.HELD)
        if not beyond and cell.state is State.PENDING:
            yield self._move(now, rule, key, cell, Signal.CLEARED)
        if not beyond and cell.state is State.FIRING:
            signal = Signal.EASED if rule.keep_firing_for_s > 0 else Signal.CLEARED
            yield self._move(now, rule, key, cell, signal)
        if not beyond and cell.state is State.RECOVERING and now - cell.since >= rule.keep_firing_for_s:
            yield self._move(now, rule, key, cell, Signal.OUTLASTED)

    def _freeze(self, now: float, rule: AlertRule, name: str, labels: Labels) -> Iterable[Move]:
        """Let the clock of this label set stand still, and forget it in the end."""
        cell = self._cells[name, labels]
        last = self._last if self._last is not None else now
        cell.since += now - last
        cell.silent_since = last if cell.silent_since is None else cell.silent_since
        if now - cell.silent_since < self._config.silence_s_max:
            return ()
        cell.value = None
        return (self._move(now, rule, (name, labels), cell, Signal.FORGOTTEN),)

    def _watch_silence(self, now: float, rule: AlertRule, *, silent: bool) -> Iterable[Move]:
        """Follow the alert for missing data: the same machine over "nothing usable was seen"."""
        key = (rule.id + NO_DATA_ID, ())
        cell = self._cells.get(key)
        if cell is None:
            if not silent or len(self._cells) >= self._config.active_max:
                return ()
            cell = self._cells[key] = _Cell(State.INACTIVE, now, None)
        cell.silent_since = None
        return tuple(self._signals(now, rule, key, cell, beyond=silent))

    def _move(self, now: float, rule: AlertRule, key: Key, cell: _Cell, signal: Signal) -> Move:
        before, cell.state = cell.state, NEXT[cell.state, signal]
        cell.since = now
        if cell.state is State.INACTIVE:
            del self._cells[key]
        return Move(key[0], key[1], before, cell.state, signal, cell.value, rule.severity)


def _usable(rule: AlertRule, one: Observation) -> bool:
    return not isnan(one.value) and one.n >= rule.min_count and one.coverage >= rule.coverage_min


def _beyond(rule: AlertRule, value: float, *, firing: bool) -> bool:
    compare = COMPARE[rule.op]
    return compare(value, rule.threshold) or (firing and rule.clear is not None and compare(value, rule.clear))


def _worst(rule: AlertRule, values: Iterable[float]) -> float | None:
    return (max if rule.op in (">", ">=") else min)(values, default=None)
