"""The limit: leases, what moves it and what must not, and where it settles at a simulated bot."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.services.concurrency_limit import ConcurrencyConfig, ConcurrencyLimit, Kind, Lease, Moved

SMALL = ConcurrencyConfig(kind="gradient", start=20, ceiling=100, samples_min=10, samples_max=40, probe_every=1_000)


def window(
    limit: ConcurrencyLimit, now: float, signal_s: float, *, reached: bool = True, count: int = 10, took_s: float = 1.0
) -> Moved | None:
    """Play one window of calls that all take as long; ``reached``: all places are taken at once at its beginning."""
    leases = []
    while (lease := limit.try_acquire(now)) is not None:
        leases.append(lease)
        if not reached and limit.in_flight >= limit.limit // 2:
            break
    moved = None
    for number in range(count):
        lease = leases.pop() if leases else limit.try_acquire(now)
        assert lease is not None
        moved = limit.settle(lease, now + took_s * number / (count - 1), signal_s=signal_s) or moved
    for lease in leases:
        limit.settle(lease, now + took_s)
    return moved


# --- Leases -----------------------------------------------------------------------------------------------------------
def test_no_more_leases_than_the_limit_and_each_gives_its_place_back_once() -> None:
    limit = ConcurrencyLimit(ConcurrencyConfig(start=2))
    first, second = limit.try_acquire(0.0), limit.try_acquire(0.0)
    assert first is not None
    assert second is not None
    assert limit.try_acquire(0.0) is None
    assert limit.settle(first, 1.0, signal_s=0.1) is None
    assert limit.settle(first, 1.0, signal_s=0.1) is None
    assert limit.in_flight == 1
    assert limit.try_acquire(1.0) is not None
    assert limit.try_acquire(1.0) is None
    assert limit.limit == 2


def test_a_lease_that_nobody_settles_is_taken_back_in_the_end() -> None:
    limit = ConcurrencyLimit(ConcurrencyConfig(start=2, lease_max_s=60.0))
    lost, held = limit.try_acquire(0.0), limit.try_acquire(30.0)
    assert lost is not None
    assert held is not None
    assert limit.overdue(59.9) == ()
    assert limit.overdue(60.0) == (lost,)
    assert limit.in_flight == 1
    assert limit.settle(lost, 61.0, signal_s=0.1) is None
    assert limit.in_flight == 1
    assert limit.overdue(90.0) == (held,)
    assert limit.overdue(90.0) == ()


def test_a_fixed_limit_stays() -> None:
    limit = ConcurrencyLimit(ConcurrencyConfig(kind="fixed", start=4))
    for number in range(200):
        lease = limit.try_acquire(number)
        assert lease is not None
        assert limit.settle(lease, number, signal_s=number, dropped=number % 2 == 0) is None
    assert limit.limit == 4


# --- Additive increase, multiplicative decrease -----------------------------------------------------------------------
AIMD = ConcurrencyConfig(kind="aimd", start=20, floor=2, ceiling=22, samples_min=10, samples_max=40)


def test_one_more_after_a_good_window_up_to_the_ceiling() -> None:
    limit = ConcurrencyLimit(AIMD)
    moved = window(limit, 0.0, 0.1)
    assert moved == Moved(before=20, after=21, cause="room", in_flight_max=20, samples=10, recent_s=0.1)
    assert window(limit, 10.0, 9.9) is not None, "times mean nothing to it"
    assert window(limit, 20.0, 0.1) is None
    assert limit.limit == 22


def test_a_limit_that_was_not_reached_does_not_grow() -> None:
    limit = ConcurrencyLimit(AIMD)
    assert window(limit, 0.0, 0.1, reached=False) is None
    assert limit.limit == 20


def test_a_drop_takes_a_tenth_at_once_but_only_once_for_all_who_were_under_way() -> None:
    limit = ConcurrencyLimit(AIMD)
    leases = [lease for _ in range(20) if (lease := limit.try_acquire(0.0)) is not None]
    moved = limit.settle(leases[0], 1.0, dropped=True)
    assert moved == Moved(before=20, after=18, cause="dropped", in_flight_max=20, samples=0)
    assert [limit.settle(lease, 1.0, dropped=True) for lease in leases[1:]] == [None] * 19
    assert limit.limit == 18
    again = limit.try_acquire(2.0)
    assert again is not None
    moved = limit.settle(again, 3.0, dropped=True)
    assert moved is not None
    assert (moved.before, moved.after) == (18, 16)


def test_a_drop_from_before_a_growth_counts() -> None:
    limit = ConcurrencyLimit(AIMD)
    early = limit.try_acquire(0.0)
    assert early is not None
    assert window(limit, 0.0, 0.1) is not None
    moved = limit.settle(early, 2.0, dropped=True)
    assert moved is not None, "if fewer calls were too many already, more of them are no better"
    assert moved.cause == "dropped"


def test_the_floor_holds() -> None:
    limit = ConcurrencyLimit(AIMD)
    for number in range(100):
        lease = limit.try_acquire(number)
        assert lease is not None
        limit.settle(lease, number, dropped=True)
    assert limit.limit == 2


# --- Windows ----------------------------------------------------------------------------------------------------------
def test_few_samples_never_move_it() -> None:
    limit = ConcurrencyLimit(ConcurrencyConfig(kind="aimd", start=1))
    for number in range(500):  # One in 1.3 seconds: fewer than 50 a minute.
        lease = limit.try_acquire(1.3 * number)
        assert lease is not None
        assert limit.settle(lease, 1.3 * number, signal_s=0.1) is None
        assert len(limit._samples) <= 50


def test_a_window_takes_at_least_its_time_and_at_most_its_samples() -> None:
    limit = ConcurrencyLimit(AIMD)
    assert window(limit, 0.0, 0.1, took_s=0.5) is None
    assert window(limit, 0.5, 0.1, took_s=0.5) is not None
    assert window(limit, 5.0, 0.1, count=39, took_s=0.01) is None
    assert window(limit, 5.01, 0.1, count=2, took_s=0.01) is not None


def test_old_samples_and_those_that_show_nothing_do_not_count() -> None:
    limit = ConcurrencyLimit(AIMD)
    old = [lease for _ in range(20) if (lease := limit.try_acquire(0.0)) is not None]
    limit.settle(old.pop(), 0.0, dropped=True)
    for lease in old:
        limit.settle(lease, 5.0, signal_s=0.1)
    for _ in range(20):
        lease = limit.try_acquire(6.0)
        assert lease is not None
        limit.settle(lease, 7.0)
    assert limit._samples == []


# --- The queue inside the bot -----------------------------------------------------------------------------------------
def test_it_grows_while_there_is_no_queue_and_shrinks_when_there_is_one() -> None:
    limit = ConcurrencyLimit(SMALL)
    moved = window(limit, 0.0, 0.1)
    assert moved is not None
    assert (moved.before, moved.after, moved.cause) == (20, 21, "room")
    assert moved.usual_s == limit.usual_s == 0.1
    assert moved.queue == 0.0
    # 10 calls in one second that took 1.1 s longer than usual: 10 of 21 waited.
    moved = window(limit, 10.0, 1.2, took_s=1.0)
    assert moved is not None
    assert (moved.before, moved.after, moved.cause) == (21, 19, "queueing")
    assert moved.queue == pytest.approx(10 / 1.2 * 1.1)
    assert moved.usual_s == 0.1, "a queue does not become usual"


def test_nothing_is_usual_at_first() -> None:
    assert ConcurrencyLimit(SMALL).usual_s is None


def test_between_the_bounds_it_stays() -> None:
    limit = ConcurrencyLimit(SMALL)
    window(limit, 0.0, 0.1)
    assert window(limit, 10.0, 0.6) is None
    assert limit.limit == 21


def test_a_limit_that_is_not_in_the_way_stays_though_there_is_no_queue() -> None:
    limit = ConcurrencyLimit(SMALL)
    assert [window(limit, 10.0 * number, 0.1, reached=False) for number in range(5)] == [None] * 5
    assert limit.limit == 20


def test_what_is_usual_falls_with_every_window_and_rises_only_where_no_queue_can_be() -> None:
    limit = ConcurrencyLimit(SMALL)
    window(limit, 0.0, 0.2)
    window(limit, 10.0, 0.1)
    assert limit.usual_s == pytest.approx(0.19)
    window(limit, 20.0, 0.4)
    assert limit.usual_s == pytest.approx(0.19)
    window(limit, 30.0, 0.4, reached=False)
    assert limit.usual_s == pytest.approx(0.19), "more than half were still under way when the window began"
    window(limit, 40.0, 0.4, reached=False)
    assert limit.usual_s == pytest.approx(0.211)


def test_at_the_floor_it_is_the_bot_that_is_slow() -> None:
    limit = ConcurrencyLimit(ConcurrencyConfig(kind="gradient", start=4, floor=4, ceiling=8, samples_min=10))
    for number in range(100):
        window(limit, 10.0 * number, 0.1 if number == 0 else 5.0)
    assert limit.usual_s == pytest.approx(5.0, rel=0.01)


def test_a_probe_shows_that_what_seemed_usual_was_a_queue() -> None:
    config = ConcurrencyConfig(kind="gradient", start=40, ceiling=40, samples_min=10, samples_max=400, probe_every=3)
    limit = ConcurrencyLimit(config)
    assert window(limit, 0.0, 1.0, count=30) is None
    assert window(limit, 10.0, 1.0, count=30) is None
    moved = window(limit, 20.0, 1.0, count=30)
    assert moved is not None
    assert (moved.before, moved.after, moved.cause) == (40, 20, "probe")
    # At half the limit it takes 0.2 s: of 40, 30 a second times 0.8 s were a queue; beta of them may stay.
    moved = window(limit, 30.0, 0.2)
    assert moved is not None
    assert (moved.before, moved.after, moved.cause) == (20, 40 - math.ceil(24 - 6 * math.log10(40)), "probe")
    assert moved.usual_s == 0.2


def test_a_probe_that_shows_nothing_gives_everything_back() -> None:
    config = ConcurrencyConfig(kind="gradient", start=40, ceiling=40, samples_min=10, probe_every=1)
    limit = ConcurrencyLimit(config)
    window(limit, 0.0, 1.0)
    assert limit.limit == 20
    moved = window(limit, 10.0, 1.0)
    assert moved is not None
    assert (moved.before, moved.after, moved.cause) == (20, 40, "probe")


def test_a_probe_that_nobody_answers_is_given_up() -> None:
    config = ConcurrencyConfig(kind="gradient", start=40, ceiling=40, samples_min=10, probe_every=1)
    limit = ConcurrencyLimit(config)
    window(limit, 0.0, 1.0)
    moved = window(limit, 10.0, 1.0, count=3, took_s=61.0)
    assert moved is not None
    assert (moved.before, moved.after, moved.cause) == (20, 40, "room")


def test_a_drop_in_a_probe_counts_for_the_limit_before_it() -> None:
    config = ConcurrencyConfig(kind="gradient", start=40, ceiling=40, samples_min=10, probe_every=1)
    limit = ConcurrencyLimit(config)
    window(limit, 0.0, 1.0)
    lease = limit.try_acquire(10.0)
    assert lease is not None
    moved = limit.settle(lease, 11.0, dropped=True)
    assert moved is not None
    assert (moved.before, moved.after, moved.cause) == (20, 36, "dropped")


# --- Where it settles -------------------------------------------------------------------------------------------------
@dataclass
class Bot:
    """A bot with so many places; who finds none waits inside it. The first token comes after a third of the time."""

    places: int
    service_s: float
    change: tuple[float, int, float] = (math.inf, 0, 0.0)
    """From this moment on it has so many places, and takes so long."""
    limits: list[int] = field(default_factory=list)
    throughput: int = 0

    def play(self, limit: ConcurrencyLimit, *, load: float, seconds: float, seed: int) -> None:
        """Offer so many times what it can do; what finds no lease waits outside."""
        rng, number, busy = random.Random(seed), 0, 0
        outside, inside = 0, deque[tuple[Lease, float]]()
        events: list[tuple[float, int, Lease | None, float]] = [(0.0, 0, None, 0.0)]
        while events[0][0] < seconds:
            now, _, lease, first_s = heapq.heappop(events)
            changed = now >= self.change[0]
            places, service_s = self.change[1:] if changed else (self.places, self.service_s)
            number += 1
            if lease is None:
                outside += 1
                heapq.heappush(events, (now + rng.expovariate(load * places / service_s), number, None, 0.0))
            else:
                busy -= 1
                self.throughput += now >= seconds / 2
                limit.settle(lease, now, signal_s=first_s)
            while outside and (lease := limit.try_acquire(now)) is not None:
                outside -= 1
                inside.append((lease, now))
            while inside and busy < places:
                lease, asked = inside.popleft()
                busy += 1
                number += 1
                took_s = service_s * rng.uniform(0.5, 1.5)
                heapq.heappush(events, (now + took_s, number, lease, now + took_s / 3 - asked))
            self.limits.append(limit.limit)


def settle_at(kind: Kind, start: int, bot: Bot, *, load: float = 1.3) -> tuple[float, float]:
    """Give the median limit of the second half, and the throughput there as a share of what the bot can do."""
    limit = ConcurrencyLimit(ConcurrencyConfig(kind=kind, start=start, ceiling=64))
    seconds = 200.0
    bot.play(limit, load=load, seconds=seconds, seed=start)
    half = sorted(bot.limits[len(bot.limits) // 2 :])
    places, service_s = bot.change[1:] if bot.change[0] < seconds else (bot.places, bot.service_s)
    return half[len(half) // 2], bot.throughput / (seconds / 2) / (places / service_s)


@pytest.mark.parametrize("start", [1, 16, 64])
def test_from_any_start_the_gradient_finds_the_places_of_the_bot(start: int) -> None:
    limit, share = settle_at("gradient", start, Bot(10, 0.1))
    assert 10 <= limit <= 18
    assert share > 0.95


@pytest.mark.parametrize(
    ("bot", "low", "high"),
    [
        pytest.param(Bot(10, 0.1, (50.0, 10, 0.2)), 9, 18, id="a bot that gets slower keeps its places"),
        pytest.param(Bot(20, 0.1, (50.0, 5, 0.1)), 5, 15, id="places that are gone are missed"),
        pytest.param(Bot(5, 0.1, (50.0, 20, 0.1)), 20, 30, id="new places are found"),
    ],
)
def test_the_gradient_follows_the_bot(bot: Bot, low: int, high: int) -> None:
    limit, share = settle_at("gradient", 16, bot)
    assert low <= limit <= high
    assert share > 0.9


def test_the_gradient_leaves_a_bot_alone_that_has_time() -> None:
    limit, share = settle_at("gradient", 16, Bot(10, 0.1), load=0.5)
    assert limit >= 10
    assert 0.45 < share < 0.55


# --- What cannot be meant ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("signal_s", [-0.1, float("nan"), float("inf")])
def test_a_signal_that_is_no_time_is_refused_and_the_lease_is_still_out(signal_s: float) -> None:
    limit = ConcurrencyLimit(SMALL)
    lease = limit.try_acquire(0.0)
    assert lease is not None
    with pytest.raises(ValueError, match="signal_s must be"):
        limit.settle(lease, 1.0, signal_s=signal_s)
    assert limit.in_flight == 1


@pytest.mark.parametrize("now", [float("nan"), float("inf"), float("-inf")])
def test_a_moment_that_is_no_number_is_refused_and_changes_nothing(now: float) -> None:
    limit = ConcurrencyLimit(SMALL)
    calls: list[Callable[[], object]] = [lambda: limit.try_acquire(now), lambda: limit.overdue(now)]
    lease = limit.try_acquire(0.0)
    assert lease is not None
    calls.append(lambda: limit.settle(lease, now, signal_s=0.1))
    for call in calls:
        with pytest.raises(ValueError, match="now must be a finite number"):
            call()
    assert limit.in_flight == 1


def test_a_clock_that_steps_back_stands_still() -> None:
    limit = ConcurrencyLimit(ConcurrencyConfig(start=2, lease_max_s=10.0))
    limit.try_acquire(100.0)
    lease = limit.try_acquire(50.0)
    assert lease is not None
    assert lease.since == 100.0
    limit.settle(lease, 20.0)
    assert limit.overdue(105.0) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "magic"),
        ("floor", 0),
        ("ceiling", 0),
        ("start", 65),
        ("start", 1.5),
        ("backoff", 1.0),
        ("backoff", float("nan")),
        ("samples_min", 0),
        ("samples_max", 49),
        ("window_min_s", 0.0),
        ("window_max_s", 0.5),
        ("memory", 0),
        ("probe_every", 0),
        ("lease_max_s", float("inf")),
    ],
)
def test_impossible_configs_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        ConcurrencyConfig(**{field: value})  # type: ignore[arg-type]


# --- Any order of calls -----------------------------------------------------------------------------------------------
class LimitWalk(RuleBasedStateMachine):
    """Whatever happens: the limit keeps its bounds, no lease is lost or doubled, and every move is told."""

    @initialize(kind=st.sampled_from(["fixed", "aimd", "gradient"]), floor=st.integers(1, 4))
    def begin(self, kind: Kind, floor: int) -> None:
        self.config = ConcurrencyConfig(
            kind=kind,
            start=6,
            floor=floor,
            ceiling=12,
            samples_min=3,
            samples_max=6,
            window_min_s=0.5,
            window_max_s=20.0,
            probe_every=3,
            lease_max_s=50.0,
        )
        self.limit = ConcurrencyLimit(self.config)
        self.told = self.limit.limit
        self.out: list[Lease] = []
        self.past: list[Lease] = []
        self.now = 0.0

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 1.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        lost = self.limit.overdue(self.now)
        assert list(lost) == [lease for lease in self.out if self.now - lease.since >= 50.0]
        self.past.extend(lost)
        self.out = [lease for lease in self.out if lease not in lost]

    @rule(count=st.integers(1, 15))
    def acquire(self, count: int) -> None:
        for _ in range(count):
            lease = self.limit.try_acquire(self.now)
            assert (lease is None) is (len(self.out) >= self.limit.limit)
            if lease is not None:
                self.out.append(lease)

    @rule(data=st.data(), count=st.integers(1, 6), dropped=st.sampled_from([False, False, False, True]))
    def settle(self, data: st.DataObject, count: int, dropped: bool) -> None:  # noqa: FBT001
        signal_s = data.draw(st.sampled_from([None, 0.0, 0.1, 0.1, 0.1, 0.5, 5.0]))
        for lease in self.out[:count]:
            self.note(self.limit.settle(lease, self.now, signal_s=signal_s, dropped=dropped))
            self.past.append(lease)
        self.out = self.out[count:]

    @rule(data=st.data())
    def settle_again(self, data: st.DataObject) -> None:
        if self.past:
            lease = data.draw(st.sampled_from(self.past))
            assert self.limit.settle(lease, self.now, signal_s=0.1, dropped=True) is None

    def note(self, moved: Moved | None) -> None:
        if moved is not None:
            assert self.config.kind != "fixed"
            assert moved.before == self.told != moved.after
            assert moved.cause in ("dropped", "queueing", "room", "probe")
            if moved.cause in ("queueing", "dropped") and not moved.after > moved.before:
                assert moved.after >= self.config.floor
            self.told = moved.after

    @invariant()
    def bounds_are_kept(self) -> None:
        if hasattr(self, "limit"):
            assert self.limit.in_flight == len(self.out)
            assert self.config.floor <= self.limit.limit <= self.config.ceiling
            assert self.limit.limit == self.told
            assert len(self.limit._samples) < self.config.samples_max


TestLimitWalk = LimitWalk.TestCase
TestLimitWalk.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
