"""Wait queue: what waits for a place, and no more of it than can be served in time.

In    offer(item, now, ...) at the door; take(now) when there is a place; settled(now) when a taken one has ended
Out   Queued or Refusal at the door; items in order; those whose time is up through expired(now)
Rule  bounded by count, size and age; what was accepted comes out exactly once: taken, expired or removed
Why   an unbounded queue serves, under overload, only those who have given up waiting

The order is by priority (system, interactive, retry, background), first come first served within one.

Expected time to the end of an item, by Little's law: (position + running) / throughput; core/pace.py measures it.
"""

from __future__ import annotations

import enum
import heapq
import math
import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from harness.core.moments import BEGINNING, forward, spread
from harness.core.pace import Pace
from harness.core.ranges import above_zero, at_least, between, whole

T = TypeVar("T", bound=object)
STALE_MAX: Final = 64
"""Noted times of entries that are gone, beyond as many as wait, before they are swept out."""
Reason = Literal["count", "size", "wait", "expired", "too-large"]


class Priority(enum.IntEnum):
    """Who goes first; lower is sooner."""

    SYSTEM = 0
    INTERACTIVE = 1
    RETRY = 2
    BACKGROUND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitQueueConfig:
    """How much may wait, for how long, and how the expected time is judged."""

    count_max: int = 1_000
    """Items that may wait."""
    size_max: int = 8_000_000
    """Sum of their sizes, in whatever the caller measures them in (characters, bytes)."""
    age_max_s: float = 120.0
    """Seconds an item may wait; then it is handed out as expired."""
    wait_share: float = 0.8
    """An item is accepted if its expected time is at most this share of the time it has."""
    retry_share: float = 0.8
    """Share of count and size that work of priority RETRY may fill."""
    background_share: float = 0.5
    """Share of count and size that work of priority BACKGROUND may fill."""
    memory: int = 50
    """Completions that the average service time looks back on."""
    retry_after_min_s: float = 0.25
    """The shortest time that a refusal names, in seconds."""
    retry_after_max_s: float = 60.0
    """The longest time that a refusal names, in seconds, before chance makes it longer."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        whole("count_max", self.count_max, 1)
        whole("size_max", self.size_max, 1)
        above_zero("age_max_s", self.age_max_s)
        for name in ("wait_share", "retry_share", "background_share"):
            between(name, getattr(self, name), math.nextafter(0.0, 1.0), 1.0)
        whole("memory", self.memory, 1)
        above_zero("retry_after_min_s", self.retry_after_min_s)
        at_least("retry_after_max_s", self.retry_after_max_s, self.retry_after_min_s)


class Queued(NamedTuple):
    """Accepted: ``position`` counts from 1 among those who go first, ``eta_s`` is the expected time to its end.

    One is made for every message: a named tuple takes half the time of a frozen dataclass.
    """

    position: int
    eta_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Not accepted; ``retry_after_s`` is None if it never will be (too large, or its time is already up)."""

    reason: Reason
    retry_after_s: float | None
    eta_s: float


@dataclass(slots=True)
class _Entry(Generic[T]):
    item: T
    number: int
    priority: Priority
    size: int
    since: float
    until: float
    late: bool = False


class WaitQueue(Generic[T]):
    """The queue of one bot. Items are told apart by identity: the same object cannot wait twice."""

    __slots__ = (
        "_config",
        "_due",
        "_entries",
        "_last",
        "_late",
        "_lines",
        "_numbers",
        "_pace",
        "_rng",
        "_shares",
        "_size",
    )

    def __init__(self, config: WaitQueueConfig, rng: random.Random) -> None:
        """Start empty; ``rng`` spreads the times that refusals name."""
        self._config = config
        self._rng = rng
        self._shares: Final = (1.0, 1.0, config.retry_share, config.background_share)
        self._lines: Final = tuple(OrderedDict[int, _Entry[T]]() for _ in Priority)
        self._entries: dict[int, _Entry[T]] = {}
        self._late: OrderedDict[int, _Entry[T]] = OrderedDict()
        self._due: list[tuple[float, int, int]] = []
        self._numbers = 0
        self._size = 0
        self._last = BEGINNING
        self._pace = Pace(config.memory)

    def __len__(self) -> int:
        """How many items are held: waiting, or expired and not yet handed out."""
        return len(self._entries)

    def __contains__(self, item: object) -> bool:
        """Whether this very object is held."""
        return id(item) in self._entries

    @property
    def size(self) -> int:
        """Sum of the sizes of what is held."""
        return self._size

    @property
    def running(self) -> int:
        """Items taken and not yet settled."""
        return self._pace.running

    def offer(
        self,
        item: T,
        now: float,
        *,
        size: int = 0,
        priority: Priority = Priority.INTERACTIVE,
        deadline: float = math.inf,
    ) -> Queued | Refusal:
        """Accept an item if there is room, and time enough until ``deadline`` (a moment; infinity: none but the age).

        ValueError if it waits already, its size is negative, its deadline is NaN, or ``now`` is no finite number.
        """
        if math.isnan(deadline):
            raise ValueError("deadline must be a moment in seconds, got nan")
        now = self._check(item, now, size)
        if self._due and self._due[0][0] <= now:
            self._set_aside(now)
        config = self._config
        position = self._position(priority)
        eta_s = self._eta_s(now, position)
        left_s = min(deadline - now, config.age_max_s)
        share = self._shares[priority]
        if size > config.size_max * share:
            return Refusal("too-large", None, eta_s)
        if left_s <= 0:
            return Refusal("expired", None, eta_s)
        if len(self._entries) + 1 > config.count_max * share:
            return self._refuse("count", self._pace.each_s(now), eta_s)
        if self._size + size > config.size_max * share:
            return self._refuse("size", self._pace.each_s(now), eta_s)
        if priority is not Priority.SYSTEM and eta_s > config.wait_share * left_s:
            return self._refuse("wait", eta_s - config.wait_share * left_s, eta_s)
        self._add(item, now, now + left_s, size, priority)
        return Queued(position, eta_s)

    def pass_by(self, now: float, *, size: int = 0) -> Refusal | None:
        """Count an item as running until ``settled``, for there is a place for it: nothing to wait for, nor to foresee.

        Refused is only what is too large. ValueError if somebody is held, who would be overtaken, or as in ``offer``.
        """
        if self._entries:
            raise ValueError("somebody waits: offer the item, so that nobody is overtaken")
        _check_size(size)
        now = self._pass(now)
        if size > self._config.size_max:
            return Refusal("too-large", None, self._eta_s(now, 1))
        self._pace.begin(now)
        return None

    def take(self, now: float) -> T | None:
        """Give who goes next, and count it as running until ``settled``; None if nobody waits.

        Those whose time is up are skipped and kept for ``expired``.
        """
        now = self._pass(now)
        if self._due and self._due[0][0] <= now:
            self._set_aside(now)
        for line in self._lines:
            if line:
                key, entry = line.popitem(last=False)
                self._forget(key, entry)
                self._pace.begin(now)
                return entry.item
        return None

    def expired(self, now: float) -> tuple[T, ...]:
        """Hand out, once, those whose time was up before they were taken; by the time at which it was up."""
        self._set_aside(self._pass(now))
        late = tuple(entry.item for entry in self._late.values())
        for key, entry in self._late.items():
            del self._entries[key]
            self._size -= entry.size
        self._late.clear()
        return late

    def remove(self, item: T) -> bool:
        """Take out an item that nobody waits for any more; False if it is not held."""
        entry = self._entries.get(id(item))
        if entry is None:
            return False
        del (self._late if entry.late else self._lines[entry.priority])[id(item)]
        self._forget(id(item), entry)
        return True

    def settled(self, now: float, *, served: bool = True) -> None:
        """Report that a taken item has ended; ``served=False`` if it says nothing about how fast work is done.

        ValueError if nothing is running.
        """
        if not self._pace.running:
            raise ValueError("nothing is running: settle each taken item once")
        self._pace.end(self._pass(now), served=served)

    def eta_s(self, now: float, priority: Priority = Priority.INTERACTIVE) -> float:
        """Seconds until an item offered now would be done; 0.0 as long as nothing is known."""
        now = self._pass(now)
        return self._eta_s(now, self._position(priority))

    def oldest_age_s(self, now: float) -> float:
        """Seconds that the oldest of those who wait has waited; 0.0 if nobody waits."""
        now = self._pass(now)
        heads = [next(iter(line.values())).since for line in self._lines if line]
        return now - min(heads) if heads else 0.0

    def wake_at(self) -> float | None:
        """When the time of the next one is up, at the earliest; None if nobody waits."""
        while self._due and not self._waits(self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def restore(
        self,
        item: T,
        now: float,
        *,
        size: int = 0,
        priority: Priority = Priority.INTERACTIVE,
        deadline: float = math.inf,
    ) -> Queued:
        """Take back what was accepted earlier, such as before a restart: nothing is asked, for it was accepted.

        It waits until ``deadline`` (one that is over: until the next look), or as long as any other. ValueError as in
        ``offer``.
        """
        now = self._check(item, now, size)
        position = self._position(priority)
        eta_s = self._eta_s(now, position)
        self._add(item, now, min(deadline, now + self._config.age_max_s), size, priority)
        return Queued(position, eta_s)

    # --- Expected time ------------------------------------------------------------------------------------------------
    def _pass(self, now: float) -> float:
        if not self._last <= now < math.inf:
            now = forward(now, self._last)
        self._last = now
        self._pace.advance(now, waiting=len(self._entries) > len(self._late))
        return now

    def _eta_s(self, now: float, position: int) -> float:
        return (position + self._pace.running) * self._pace.each_s(now)

    def _refuse(self, reason: Reason, wait_s: float, eta_s: float) -> Refusal:
        config = self._config
        wait_s = min(max(wait_s, config.retry_after_min_s), config.retry_after_max_s)
        return Refusal(reason, spread(wait_s, self._rng), eta_s)

    # --- Places in the queue ------------------------------------------------------------------------------------------
    def _check(self, item: T, now: float, size: int) -> float:
        if id(item) in self._entries:
            raise ValueError("this item waits already: one object cannot stand in the queue twice")
        _check_size(size)
        return self._pass(now)

    def _position(self, priority: Priority) -> int:
        if len(self._entries) == len(self._late):
            return 1
        return 1 + sum(len(line) for line in self._lines[: priority + 1])

    def _add(self, item: T, now: float, until: float, size: int, priority: Priority) -> None:
        self._numbers += 1
        key = id(item)
        entry = _Entry(item, self._numbers, priority, size, now, until)
        self._entries[key] = self._lines[priority][key] = entry
        self._size += size
        heapq.heappush(self._due, (until, self._numbers, key))

    def _forget(self, key: int, entry: _Entry[T]) -> None:
        del self._entries[key]
        self._size -= entry.size
        # What was taken or removed leaves its time behind; those must not outnumber the ones who wait.
        if len(self._due) > 2 * len(self._entries) + STALE_MAX:
            self._due = [due for due in self._due if self._waits(due)]
            heapq.heapify(self._due)

    def _waits(self, due: tuple[float, int, int]) -> bool:
        """Whether the entry that this time was noted for is still there."""
        entry = self._entries.get(due[2])
        return entry is not None and entry.number == due[1]

    def _set_aside(self, now: float) -> None:
        """Take those whose time is up out of their lines."""
        due = self._due
        while due and due[0][0] <= now:
            _, number, key = heapq.heappop(due)
            entry = self._entries.get(key)
            if entry is not None and entry.number == number:
                del self._lines[entry.priority][key]
                entry.late = True
                self._late[key] = entry


def _check_size(size: int) -> None:
    if not size >= 0:
        raise ValueError(f"size must be at least 0, got {size}")
