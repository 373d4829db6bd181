"""Concurrency limit: how many calls one bot gets at once, found from how it answers.

In    try_acquire(now) before a call; settle(lease, now, signal_s, dropped) when it has ended
Out   a Lease or None; a Moved whenever the limit has changed, with the evidence
Rule  the limit stays between its floor and its ceiling; a lease is settled once; an old sample moves nothing
Why   more calls than a bot can work on only wait inside it, where nobody sees them and nobody can refuse them

    fixed       stays where it starts
    aimd        one more after a good window in which it was reached; a tenth less after a drop
    gradient    judges the queue inside the bot, by Little's law: calls per second * (recent - usual), both as times to
                the first token; more below alpha, less above beta (TCP Vegas), a tenth less after a drop

The signal is the time to the first token: the time to the last one would measure how much the bot had to say. What is
usual rises only where no queue can be to blame: while few calls run, at the floor, or in a probe, a window at half the
limit. Otherwise a queue that lasts would become usual, and the limit would creep up for ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from harness.core.moments import BEGINNING, forward
from harness.core.ranges import above_zero, at_least, between, whole

Kind = Literal["fixed", "aimd", "gradient"]
Cause = Literal["dropped", "queueing", "room", "probe"]
QUANTILE: Final = 0.9
PROBE_SHARE: Final = 0.5
"""What a probe leaves of the limit for one window."""
QUEUEING_WEIGHT: Final = 6
"""A window that shows a queue brings the next probe nearer by so many: perhaps it is the bot itself that got slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyConfig:
    """Where the limit starts, how far it may go, and on how much evidence it moves."""

    kind: Kind = "fixed"
    """fixed, aimd or gradient."""
    start: int = 16
    """The limit before anything is known."""
    floor: int = 1
    """The limit never falls below."""
    ceiling: int = 64
    """The limit never rises above."""
    backoff: float = 0.9
    """What a drop (a timeout, or the bot saying that it is overloaded) leaves of the limit."""
    samples_min: int = 50
    """Samples that a window needs; a bot with fewer in ``window_max_s`` keeps its limit."""
    samples_max: int = 1_000
    """Samples at which a window ends early: what is kept stays bounded."""
    window_min_s: float = 1.0
    """The shortest window, in seconds."""
    window_max_s: float = 60.0
    """The longest window, in seconds; one that has too few samples by then is thrown away."""
    memory: int = 10
    """Windows that the usual time looks back on."""
    probe_every: int = 60
    """Windows with the limit in the way, after which half of it is tried for one window; only with ``gradient``."""
    lease_max_s: float = 900.0
    """Seconds after which a lease that nobody settled is taken back."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.kind not in ("fixed", "aimd", "gradient"):
            raise ValueError(f"kind must be fixed, aimd or gradient, got {self.kind!r}")
        whole("floor", self.floor, 1)
        whole("ceiling", self.ceiling, self.floor)
        whole("start", self.start, self.floor)
        between("start", self.start, self.floor, self.ceiling)
        between("backoff", self.backoff, 0.1, 0.99)
        whole("samples_min", self.samples_min, 1)
        whole("samples_max", self.samples_max, self.samples_min)
        above_zero("window_min_s", self.window_min_s)
        at_least("window_max_s", self.window_max_s, self.window_min_s)
        whole("memory", self.memory, 1)
        whole("probe_every", self.probe_every, 1)
        above_zero("lease_max_s", self.lease_max_s)


class Lease(NamedTuple):
    """One call may run; hand it back to ``settle`` once. ``epoch`` counts the changes of the limit before it.

    One is made for every message: a named tuple takes half the time of a frozen dataclass.
    """

    number: int
    epoch: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The limit has changed, and on what evidence: times in seconds, None where a drop decided."""

    before: int
    after: int
    cause: Cause
    in_flight_max: int
    """The most calls at once in the window."""
    samples: int
    recent_s: float | None = None
    """The 90th percentile of the window."""
    usual_s: float | None = None
    """What it usually is."""
    queue: float | None = None
    """Calls that waited inside the bot."""


@dataclass(frozen=True, slots=True)
class _Probed:
    """What was, before the limit was halved for a probe."""

    limit: float
    recent_s: float
    rate_per_s: float


class ConcurrencyLimit:
    """The limit of one bot."""

    __slots__ = (
        "_config",
        "_epoch",
        "_last",
        "_leases",
        "_limit",
        "_numbers",
        "_peak",
        "_probed",
        "_reached",
        "_samples",
        "_shrunk",
        "_since",
        "_stale",
        "_usual_s",
    )

    def __init__(self, config: ConcurrencyConfig) -> None:
        """Start at ``config.start`` with nothing in flight."""
        self._config = config
        self._limit = float(config.start)
        self._leases: dict[int, Lease] = {}
        self._numbers = 0
        self._epoch = 0
        self._shrunk = 0
        self._last = BEGINNING
        self._since = -math.inf
        self._samples: list[float] = []
        self._peak = 0
        self._reached = False
        self._usual_s: float | None = None
        self._stale = 0
        self._probed: _Probed | None = None

    @property
    def limit(self) -> int:
        """Calls that may run at once now."""
        return int(self._limit)

    @property
    def in_flight(self) -> int:
        """Leases that are out."""
        return len(self._leases)

    @property
    def usual_s(self) -> float | None:
        """The usual time to the first token, as the 90th percentile of a window; None as long as nothing is known."""
        return self._usual_s

    def try_acquire(self, now: float) -> Lease | None:
        """Take a place if there is one. ValueError if ``now`` is no finite number."""
        if not self._last <= now < math.inf:
            now = forward(now, self._last)
        self._last = now
        leases = self._leases
        count = len(leases) + 1
        if count + 1 > self._limit:
            self._reached = True  # The last place, or none.
            if count > self._limit:
                return None
        self._peak = max(self._peak, count)
        self._numbers = number = self._numbers + 1
        lease = leases[number] = Lease(number, self._epoch, now)
        return lease

    def settle(self, lease: Lease, now: float, *, signal_s: float | None = None, dropped: bool = False) -> Moved | None:
        """Give a place back, with what the call has shown; a lease that is not out any more moves nothing.

        ``signal_s``: seconds to the first token, from the moment the bot was asked; None if it shows nothing
        (cancelled). ``dropped``: the call timed out, or the bot said that it is overloaded. ValueError for a signal
        that is no time.
        """
        if signal_s is not None and not 0 <= signal_s < math.inf:
            raise ValueError(f"signal_s must be a number of seconds of at least 0, got {signal_s}")
        if not self._last <= now < math.inf:
            now = forward(now, self._last)
        self._last = now
        if self._leases.pop(lease.number, None) is None:
            return None
        if self._config.kind == "fixed":
            return None
        if dropped:
            return self._dropped(lease)
        if signal_s is None or lease.epoch != self._epoch:
            return None
        if not self._samples:
            self._since = now
        self._samples.append(signal_s)
        return self._judge(now)

    def overdue(self, now: float) -> tuple[Lease, ...]:
        """Take back the leases that nobody settled in time: a lost one must not cost a place for ever."""
        self._last = now = forward(now, self._last)
        lost: list[Lease] = []
        for lease in self._leases.values():
            if now - lease.since < self._config.lease_max_s:
                break  # They stand in the order in which they were given out.
            lost.append(lease)
        for lease in lost:
            del self._leases[lease.number]
        return tuple(lost)

    # --- Moving -------------------------------------------------------------------------------------------------------
    def _dropped(self, lease: Lease) -> Moved | None:
        """Shrink at once, but once only for all who were under way at the limit that was too high."""
        if lease.epoch < self._shrunk:
            return None
        limit = self._limit if self._probed is None else self._probed.limit
        return self._move(limit * self._config.backoff, "dropped")

    def _judge(self, now: float) -> Moved | None:
        """End the window if it is long and full enough, and draw the conclusion."""
        config = self._config
        age_s, count = now - self._since, len(self._samples)
        if count < config.samples_max and (count < config.samples_min or age_s < config.window_min_s):
            if age_s <= config.window_max_s:
                return None
            # Too few to judge by: the limit stays, or goes back to where it was.
            return self._move(self._limit if self._probed is None else self._probed.limit, "room")
        self._samples.sort()
        recent_s = self._samples[math.ceil(QUANTILE * count) - 1]
        if config.kind == "aimd":
            return self._move(self._limit + self._reached, "room", recent_s)
        # So many were answered in no less than the time that one of them took, also if they came all at once.
        rate_per_s = count / max(age_s, recent_s, 1e-9)
        if self._probed is not None:
            return self._learn(recent_s, self._probed)
        return self._weigh(recent_s, rate_per_s)

    def _weigh(self, recent_s: float, rate_per_s: float) -> Moved | None:
        """Compare a window with what is usual."""
        limit, config = self._limit, self._config
        usual_s = recent_s if self._usual_s is None else self._usual_s
        queue = min(limit, rate_per_s * max(0.0, recent_s - usual_s))
        step, alpha, beta = _bounds(limit)
        quiet = self._peak <= limit * PROBE_SHARE or limit <= config.floor
        if quiet or recent_s < usual_s:
            usual_s += (recent_s - usual_s) / config.memory
        self._usual_s = usual_s
        self._stale = 0 if quiet else self._stale + (QUEUEING_WEIGHT if queue > beta else self._reached)
        if self._stale >= config.probe_every:
            probed = _Probed(limit, recent_s, rate_per_s)
            moved = self._move(limit * PROBE_SHARE, "probe", recent_s, queue)
            self._probed = probed
            return moved
        if queue > beta:
            return self._move(limit - step, "queueing", recent_s, queue)
        # A limit that was never reached is not in the way: raising it would only make it mean nothing.
        return self._move(limit + step if queue < alpha and self._reached else limit, "room", recent_s, queue)

    def _learn(self, recent_s: float, probed: _Probed) -> Moved | None:
        """End a probe: what half the limit took is usual, and what was more than that was a queue."""
        self._usual_s = recent_s
        self._stale = 0
        queue = min(probed.limit, probed.rate_per_s * max(0.0, probed.recent_s - recent_s))
        surplus = max(0.0, queue - _bounds(probed.limit)[2])
        return self._move(max(self._limit, probed.limit - surplus), "probe", recent_s, queue)

    def _move(
        self, wanted: float, cause: Cause, recent_s: float | None = None, queue: float | None = None
    ) -> Moved | None:
        """Set the limit, within its bounds, and begin a new window."""
        before, config = self.limit, self._config
        self._limit = min(max(wanted, float(config.floor)), float(config.ceiling))
        after = self.limit
        moved = Moved(
            before=before,
            after=after,
            cause=cause,
            in_flight_max=self._peak,
            samples=len(self._samples),
            recent_s=recent_s,
            usual_s=self._usual_s,
            queue=queue,
        )
        self._samples = []
        self._peak = len(self._leases)
        self._reached = False
        self._probed = None
        if after == before:
            return None
        self._epoch += 1
        if after < before:
            self._shrunk = self._epoch
        return moved


def _bounds(limit: float) -> tuple[float, float, float]:
    """Give the step, and the queue below which the limit rises and above which it falls.

    They grow with the logarithm of the limit, as in Vegas; a small limit is no excuse for a queue as long as itself.
    """
    step = max(1.0, math.log10(limit))
    return step, min(3 * step, limit / 4), min(6 * step, limit / 2)
