"""Overload: writes the figures of docs/explanation/overload.md; ``--check`` only compares.

In    the wait queue of the product, and what is often used in its place
Out   how each does in a burst of 1.5 times what ten places can do, in virtual time
Rule  the dice are seeded: the same code gives the same table on every machine
Why   that a bounded queue answers more people than an unbounded one is hard to believe without a figure
"""

from __future__ import annotations

import heapq
import math
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Final, Protocol

from harness.services.wait_queue import Priority, Queued, WaitQueue, WaitQueueConfig

PAGE: Final = Path(__file__).parents[1] / "docs" / "explanation" / "overload.md"
BEGIN: Final = "<!-- figures: written by ci/overload.py -->\n"
END: Final = "<!-- end of figures -->\n"

PLACES: Final = 10
SERVICE_S: Final = 0.05
CAPACITY_PER_S: Final = PLACES / SERVICE_S
CALM: Final = 0.6
"""Load before and after the burst, as a share of the capacity."""
BURST: Final = 1.5
BURST_AT_S: Final = 10.0
BURST_S: Final = 30.0
REST_S: Final = 60.0
"""How long is watched after the burst."""
PATIENCE_S: Final = 2.0
"""An answer that takes longer finds nobody."""
SLOWER: Final = 4.0
"""How much slower the bot of the second table is."""
SEEDS: Final = range(3)


class Call:
    """One message on its way."""

    __slots__ = ("ended", "service_s", "since")

    def __init__(self, since: float, service_s: float) -> None:
        self.since = since
        self.service_s = service_s
        self.ended: float | None = None


class Door(Protocol):
    """What decides who is let in, and who goes next."""

    def offer(self, call: Call, now: float) -> bool:
        """Let a call in, or not."""

    def take(self, now: float) -> Call | None:
        """Give who goes next."""

    def settled(self, now: float) -> None:
        """One has ended."""

    def __len__(self) -> int:
        """How many wait."""


class Unbounded:
    """First come, first served, everybody is let in."""

    def __init__(self) -> None:
        self._line: deque[Call] = deque()

    def offer(self, call: Call, now: float) -> bool:
        """Let everybody in."""
        del now
        self._line.append(call)
        return True

    def take(self, now: float) -> Call | None:
        """Give the oldest."""
        del now
        return self._line.popleft() if self._line else None

    def settled(self, now: float) -> None:
        """Learn nothing."""
        del now

    def __len__(self) -> int:
        return len(self._line)


class NewestFirst(Unbounded):
    """Last come, first served, everybody is let in."""

    def take(self, now: float) -> Call | None:
        """Give the newest."""
        del now
        return self._line.pop() if self._line else None


@dataclass(slots=True)
class Bounded:
    """The product's queue; how it is used is what is compared."""

    queue: WaitQueue[Call]
    priority: Priority = Priority.INTERACTIVE
    deadlines: bool = True
    expired: list[Call] = field(default_factory=list)

    def offer(self, call: Call, now: float) -> bool:
        """Ask the queue."""
        deadline = now + PATIENCE_S if self.deadlines else math.inf
        return isinstance(self.queue.offer(call, now, priority=self.priority, deadline=deadline), Queued)

    def take(self, now: float) -> Call | None:
        """Give who goes next; those whose time is up stand aside."""
        call = self.queue.take(now)
        self.expired.extend(self.queue.expired(now))
        return call

    def settled(self, now: float) -> None:
        """Tell the queue how fast it goes."""
        self.queue.settled(now)

    def __len__(self) -> int:
        return len(self.queue)


def _bounded(count_max: int, *, seed: int, by_wait: bool, deadlines: bool) -> Bounded:
    config = WaitQueueConfig(count_max=count_max, age_max_s=3_600.0)
    # What has the priority of the system is not asked for its expected time.
    priority = Priority.INTERACTIVE if by_wait else Priority.SYSTEM
    return Bounded(WaitQueue(config, random.Random(seed)), priority, deadlines)


DOORS: Final[dict[str, Callable[[int], Door]]] = {
    "unbounded, first come first served": lambda _: Unbounded(),
    "unbounded, newest first": lambda _: NewestFirst(),
    "unbounded, expired ones skipped": lambda seed: _bounded(100_000, seed=seed, by_wait=False, deadlines=True),
    "at most 100 wait": lambda seed: _bounded(100, seed=seed, by_wait=False, deadlines=False),
    "expected wait at most 0.8 of the patience": lambda seed: _bounded(1_000, seed=seed, by_wait=True, deadlines=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of everybody who came during the burst."""

    goodput_per_s: float
    """Answers in time, for each second of the burst."""
    late: int
    refused: int
    expired: int
    wait_s_p99: float
    """From coming to the answer, of those who got one."""
    recovery_s: float
    """From the end of the burst until nobody waits."""
    lost: int
    """Let in, and neither answered nor handed out as expired."""


def run(door: Door, seed: int, service: Callable[[random.Random], float], slower: float = 1.0) -> Outcome:
    """Play one burst; ``slower`` makes the bot so many times slower, and as many fewer people come."""
    rng = random.Random(seed)
    end_s = BURST_AT_S + BURST_S
    arrivals = _arrivals(rng, CAPACITY_PER_S / slower)
    running: list[tuple[float, int, Call]] = []
    let_in: list[Call] = []
    refused = number = 0
    recovered: float | None = None
    next_at = next(arrivals)
    while next_at < math.inf or running:
        now = min(next_at, running[0][0] if running else math.inf)
        if running and running[0][0] <= next_at:
            call = heapq.heappop(running)[2]
            call.ended = now
            door.settled(now)
        else:
            call = Call(now, slower * service(rng))
            if door.offer(call, now):
                let_in.append(call)
            elif BURST_AT_S <= now < end_s:
                refused += 1
            next_at = next(arrivals, math.inf)
        while len(running) < PLACES and (taken := door.take(now)) is not None:
            number += 1
            heapq.heappush(running, (now + taken.service_s, number, taken))
        if recovered is None and now >= end_s and not len(door):
            recovered = now - end_s
    inside = [call for call in let_in if BURST_AT_S <= call.since < end_s]
    took = sorted(call.ended - call.since for call in inside if call.ended is not None)
    in_time = [call for call in let_in if call.ended is not None and call.ended - call.since <= PATIENCE_S]
    late = sum(1 for call in let_in if call.ended is not None) - len(in_time)
    expired = len(door.expired) if isinstance(door, Bounded) else 0
    return Outcome(
        goodput_per_s=sum(1 for call in in_time if BURST_AT_S <= (call.ended or 0.0) < end_s) / BURST_S,
        late=late,
        refused=refused,
        expired=expired,
        wait_s_p99=took[math.ceil(0.99 * len(took)) - 1],
        recovery_s=math.inf if recovered is None else recovered,
        lost=sum(1 for call in let_in if call.ended is None) - expired,
    )


def varied(rng: random.Random) -> float:
    """Draw a service time: 50 ms on average, from 25 to 75."""
    return SERVICE_S * rng.uniform(0.5, 1.5)


def memoryless(rng: random.Random) -> float:
    """Draw a service time: 50 ms on average, with a long tail."""
    return rng.expovariate(1 / SERVICE_S)


def _arrivals(rng: random.Random, capacity_per_s: float) -> Iterator[float]:
    now = 0.0
    while True:
        inside = BURST_AT_S <= now < BURST_AT_S + BURST_S
        now += rng.expovariate(capacity_per_s * (BURST if inside else CALM))
        if now >= BURST_AT_S + BURST_S + REST_S:
            return
        yield now


def text() -> str:
    """Write both tables, and what they show."""
    return (
        f"Ten places, 50 ms each: {CAPACITY_PER_S:.0f} answers a second. For {BURST_S:.0f} seconds come\n"
        f"{BURST:g} times as many; whoever has no answer after {PATIENCE_S:.0f} s is gone.\n"
        f"Means of {len(SEEDS)} seeds.\n\n"
        f"{table(1.0)}\n\n"
        f"The same queues, unchanged, before a bot that is {SLOWER:.0f} times slower: {CAPACITY_PER_S / SLOWER:.0f}\n"
        f"answers a second, and as many fewer people come.\n\n"
        f"{table(SLOWER)}"
    )


def table(slower: float) -> str:
    """Write one table."""
    lines = [
        "| who is let in | answers in time, 1/s | late | refused | expired | p99, s | recovery, s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, make in DOORS.items():
        outcomes = [run(make(seed), seed, varied, slower) for seed in SEEDS]

        def of(what: str, outcomes: list[Outcome] = outcomes) -> float:
            return mean(float(getattr(outcome, what)) for outcome in outcomes)

        lines.append(
            f"| {name} | {of('goodput_per_s'):.0f} | {of('late'):,.0f} | {of('refused'):,.0f} | {of('expired'):,.0f} "
            f"| {of('wait_s_p99'):.2f} | {of('recovery_s'):.1f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Write the table into its page, or say that it is out of date."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    figures = text()
    made = f"{before}{BEGIN}\n{figures}\n\n{END}{after}"
    if sys.argv[1:] == ["--check"]:
        if made != page:
            print(f"{PAGE.name} is out of date: run .venv/bin/python ci/overload.py")
        return int(made != page)
    PAGE.write_text(made, "utf-8")
    print(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
