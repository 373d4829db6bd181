"""Concurrency limit: how many calls one bot gets at once, found from how it answers.

In    try_acquire(now) before a call; settle(lease, now, signal_s, dropped) when it has ended
Out   a Lease or None; a Moved whenever the limit has changed, with the evidence
Rule  the limit stays between its floor and its ceiling; a lease is settled once; an old sample moves nothing
Why   more calls than a bot can work on only wait inside it, where nobody sees them and nobody can refuse them

    fixed       stays where it starts
    aimd        one more after a good window in which it was reached; a tenth less after a drop
    gradient    judges the queue inside the bot: limit * (1 - usual / recent), both as times to the first token;
                more below alpha, less above beta, a tenth less after a drop (TCP Vegas; Netflix concurrency-limits)

The signal is the time to the first token: the time to the last one would measure how much the bot had to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from harness.core.moments import forward
from harness.core.ranges import above_zero, at_least, between, whole

Kind = Literal["fixed", "aimd", "gradient"]
Cause = Literal["dropped", "queueing", "room"]
QUANTILE: Final = 0.9


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
    memory_queueing: int = 100
    """The same for windows that show a queue: what overload looks like must not become usual soon."""
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
        whole("memory_queueing", self.memory_queueing, self.memory)
        above_zero("lease_max_s", self.lease_max_s)


@dataclass(frozen=True, slots=True)
class Lease:
    """One call may run; hand it back to ``settle`` once. ``epoch`` counts the changes of the limit before it."""

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
        "_reached",
        "_samples",
        "_shrunk",
        "_since",
        "_usual_s",
        "_windows",
    )

    def __init__(self, config: ConcurrencyConfig) -> None:
        """Start at ``config.start`` with nothing in flight."""
        self._config = config
        self._limit = float(config.start)
        self._leases: dict[int, Lease] = {}
        self._numbers = 0
        self._epoch = 0
        self._shrunk = 0
        self._last = -math.inf
        self._since = -math.inf
        self._samples: list[float] = []
        self._peak = 0
        self._reached = False
        self._usual_s = 0.0
        self._windows = 0

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
        return self._usual_s if self._windows else None

    def try_acquire(self, now: float) -> Lease | None:
        """Take a place if there is one. ValueError if ``now`` is no finite number."""
        if not self._last <= now < math.inf:
            now = forward(now, self._last)
        self._last = now
        leases = self._leases
        count = len(leases) + 1
        if count > self._limit:
            self._reached = True
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
        return self._move(self._limit * self._config.backoff, "dropped")

    def _judge(self, now: float) -> Moved | None:
        """End the window if it is long and full enough, and draw the conclusion."""
        config = self._config
        age_s, count = now - self._since, len(self._samples)
        if count < config.samples_max and (count < config.samples_min or age_s < config.window_min_s):
            if age_s > config.window_max_s:
                self._begin()
            return None
        self._samples.sort()
        recent_s = self._samples[math.ceil(QUANTILE * count) - 1]
        if config.kind == "gradient":
            return self._weigh(recent_s)
        return self._move(self._limit + self._reached, "room", recent_s)

    def _weigh(self, recent_s: float) -> Moved | None:
        """Compare the window with what is usual."""
        limit = self._limit
        usual_s = self._usual_s if self._windows else recent_s
        queue = limit * (1.0 - usual_s / recent_s) if recent_s > usual_s else 0.0
        step = max(1.0, math.log10(limit))
        alpha, beta = min(3 * step, limit / 4), min(6 * step, limit / 2)
        # At the floor there are no fewer calls to try, so whatever the bot takes is what it needs.
        slow = queue > alpha and limit > self._config.floor
        self._windows += 1
        memory = self._config.memory_queueing if slow else min(self._windows, self._config.memory)
        self._usual_s = usual_s + (recent_s - usual_s) / memory
        if queue > beta:
            return self._move(limit - step, "queueing", recent_s)
        # A limit that was never reached is not in the way: raising it would only make it mean nothing.
        return self._move(limit + step if queue < alpha and self._reached else limit, "room", recent_s)

    def _move(self, wanted: float, cause: Cause, recent_s: float | None = None) -> Moved | None:
        """Set the limit, within its bounds, and begin a new window."""
        before = self.limit
        self._limit = min(max(wanted, float(self._config.floor)), float(self._config.ceiling))
        moved = Moved(
            before=before,
            after=self.limit,
            cause=cause,
            in_flight_max=self._peak,
            samples=len(self._samples),
            recent_s=recent_s,
            usual_s=self.usual_s,
        )
        self._begin()
        if self.limit == before:
            return None
        self._epoch += 1
        if self.limit < before:
            self._shrunk = self._epoch
        return moved

    def _begin(self) -> None:
        """Begin a new window."""
        self._samples = []
        self._peak = len(self._leases)
        self._reached = False
