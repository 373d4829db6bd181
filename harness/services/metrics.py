"""Metrics: what the service has done since it started, as counters and histograms of bounded size.

In    facts of the run (a turn settled, a refusal, a transition, a bot's life); gauges when somebody asks
Out   series: name, kind, help, and samples with their labels, in a fixed order
Rule  labels come from closed sets (a bot's own error codes become "bot-error"); a removed bot takes its series along
Why   whoever scrapes a service for months must not make it grow, and two scrapes must be comparable line by line
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal, TypeVar

from harness.core.events import BotSeen, BotStatus, BreakerMoved, Refused, ServiceFact, TurnSettled

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]
Key = TypeVar("Key", str, tuple[str, str])

SECONDS_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the latency buckets, in seconds."""
OUTCOMES: Final = frozenset(
    {"done", "cancelled", "circuit-open", "no-bot", "not-saved", "bot-gone", "bot-silent", "bot-garbled"}
)
OTHER_OUTCOME: Final = "bot-error"
BREAKER_VALUES: Final[Mapping[str, float]] = {"closed": 0.0, "half-open": 1.0, "open": 2.0}
BOT_STATES: Final = ("starting", "online", "restarting")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; ``suffix`` is "_bucket", "_sum" or "_count" in a histogram."""

    labels: Labels
    value: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """All samples of one name."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


class Histogram:
    """How many values fell up to each bound: exact counts, whatever their number."""

    def __init__(self, bounds: Sequence[float] = SECONDS_BOUNDS) -> None:
        """Start empty; ``bounds`` ascend."""
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def record(self, value: float) -> None:
        """Count one value; a bound belongs to its bucket."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def samples(self, labels: Labels) -> Iterable[Sample]:
        """Give the cumulative buckets, the sum and the count."""
        cumulative = list(accumulate(self._counts))
        names = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        for name, count in zip(names, cumulative, strict=True):
            yield Sample((*labels, ("le", name)), count, "_bucket")
        yield Sample(labels, self.total, "_sum")
        yield Sample(labels, cumulative[-1], "_count")


@dataclass(slots=True)
class _BotCounts:
    """What is counted for one bot."""

    turns: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    moves: dict[tuple[str, str], int] = field(default_factory=dict)
    life: dict[str, int] = field(default_factory=dict)
    reply: Histogram = field(default_factory=Histogram)
    first_token: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What only the moment knows."""

    statuses: Sequence[BotStatus] = ()
    sockets: int = 0
    unsaved: int = 0
    """Batches of acts that wait for the store."""
    loop_lag_s: float = 0.0
    uptime_s: float = 0.0
    not_saved: int = 0
    """Groups of rows that the store has refused since the start."""


class Metrics:
    """Counts one service's facts."""

    def __init__(self) -> None:
        """Start at zero."""
        self._bots: dict[str, _BotCounts] = {}

    def record(self, fact: ServiceFact) -> None:
        """Count one fact."""
        if isinstance(fact, TurnSettled):
            counts = self._of(fact.bot)
            _add(counts.turns, fact.outcome if fact.outcome in OUTCOMES else OTHER_OUTCOME)
            counts.reply.record(fact.took_s)
            if fact.first_token_s is not None:
                counts.first_token.record(fact.first_token_s)
        elif isinstance(fact, Refused):
            # A bot that is not there has no series: anybody could make up names.
            if fact.code != "no-bot":
                _add(self._of(fact.bot).refused, fact.code)
        elif isinstance(fact, BreakerMoved):
            _add(self._of(fact.bot).moves, (fact.before, fact.after))
        elif isinstance(fact, BotSeen):
            _add(self._of(fact.bot).life, fact.what)

    def forget(self, bot: str) -> None:
        """Drop what was counted for a bot that was removed."""
        self._bots.pop(bot, None)

    def series(self, gauges: Gauges) -> tuple[Series, ...]:
        """Give everything, ordered by name and labels."""
        return tuple(sorted((*self._counted(), *_gauged(gauges)), key=lambda series: series.name))

    def _counted(self) -> Iterable[Series]:
        bots = sorted(self._bots.items())
        yield Series(
            "chat_turns_total",
            "counter",
            "Accepted messages whose reply has ended, by outcome.",
            tuple(
                Sample((("bot", bot), ("outcome", outcome)), count)
                for bot, counts in bots
                for outcome, count in sorted(counts.turns.items())
            ),
        )
        yield Series(
            "chat_refused_total",
            "counter",
            "Messages that were refused at the door, by code.",
            tuple(
                Sample((("bot", bot), ("code", code)), count)
                for bot, counts in bots
                for code, count in sorted(counts.refused.items())
            ),
        )
        yield Series(
            "chat_breaker_transitions_total",
            "counter",
            "Changes of state of a bot's circuit breaker.",
            tuple(
                Sample((("bot", bot), ("from", before), ("to", after)), count)
                for bot, counts in bots
                for (before, after), count in sorted(counts.moves.items())
            ),
        )
        yield Series(
            "chat_bot_life_total",
            "counter",
            "How often a bot's process was started, became ready, or was gone.",
            tuple(
                Sample((("bot", bot), ("what", what)), count)
                for bot, counts in bots
                for what, count in sorted(counts.life.items())
            ),
        )
        yield Series(
            "chat_reply_seconds",
            "histogram",
            "Seconds from the acceptance of a message to the end of its reply.",
            tuple(sample for bot, counts in bots for sample in counts.reply.samples((("bot", bot),))),
        )
        yield Series(
            "chat_first_token_seconds",
            "histogram",
            "Seconds from the acceptance of a message to the first piece of its reply.",
            tuple(sample for bot, counts in bots for sample in counts.first_token.samples((("bot", bot),))),
        )

    def _of(self, bot: str) -> _BotCounts:
        counts = self._bots.get(bot)
        if counts is None:
            counts = self._bots[bot] = _BotCounts()
        return counts


def _gauged(gauges: Gauges) -> Iterable[Series]:
    statuses = sorted(gauges.statuses, key=lambda status: status.bot)

    def by_bot(name: str, words: str, values: Iterable[float]) -> Series:
        labels = [(("bot", status.bot),) for status in statuses]
        return Series(name, "gauge", words, tuple(map(Sample, labels, values)))

    def plain(name: str, words: str, value: float, kind: Kind = "gauge") -> Series:
        return Series(name, kind, words, (Sample((), value),))

    states = [status.state for status in statuses]
    yield Series(
        "chat_bots",
        "gauge",
        "Bots by the state of their process.",
        tuple(Sample((("state", state),), states.count(state)) for state in BOT_STATES),
    )
    yield by_bot(
        "chat_breaker_state",
        "State of a bot's circuit breaker: 0 closed, 1 half-open, 2 open.",
        (BREAKER_VALUES[status.breaker] for status in statuses),
    )
    yield by_bot("chat_turns_in_flight", "Turns that a bot works on.", (status.in_flight for status in statuses))
    yield by_bot("chat_turns_queued", "Turns that wait for a bot.", (status.queued for status in statuses))
    yield by_bot("chat_bot_restarts", "Restarts of a bot since it was launched.", (s.restarts for s in statuses))
    yield plain("chat_sockets", "Open WebSockets.", gauges.sockets)
    yield plain("chat_unsaved_batches", "Batches of acts that wait for the store.", gauges.unsaved)
    yield plain("chat_not_saved_total", "Groups of rows that the store has refused.", gauges.not_saved, "counter")
    yield plain("chat_loop_lag_seconds", "How late the event loop woke up last time.", gauges.loop_lag_s)
    yield plain("chat_uptime_seconds", "Seconds since the service started.", gauges.uptime_s)


def _add(counts: dict[Key, int], key: Key) -> None:
    counts[key] = counts.get(key, 0) + 1
