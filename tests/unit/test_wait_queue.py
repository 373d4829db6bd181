"""The queue: who is let in, who goes next, and that nobody vanishes."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.services.wait_queue import STALE_MAX, Priority, Queued, Refusal, WaitQueue, WaitQueueConfig


class Item:
    """Something that waits."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def queue(**config: float) -> WaitQueue[Item]:
    return WaitQueue(WaitQueueConfig(**config), random.Random(7))  # type: ignore[arg-type]


def busy(places: int, service_s: float) -> tuple[WaitQueue[Item], float]:
    """Give a queue that has learnt how fast its bot is, with all places taken; and the moment."""
    made, now = queue(), 0.0
    made.offer(Item(), now)
    for _ in range(places):
        made.offer(Item(), now)
        made.take(now)
    for _ in range(20 * places):
        now += service_s / places
        made.settled(now)
        made.offer(Item(), now)
        made.take(now)
    while made.take(now) is not None:
        made.settled(now, served=False)
    return made, now


# --- Order ------------------------------------------------------------------------------------------------------------
def test_by_priority_and_first_come_first_served_within_one() -> None:
    waiting = queue()
    names = ["b1", "r1", "i1", "s1", "i2", "b2", "r2", "s2"]
    priorities = {
        "s": Priority.SYSTEM,
        "i": Priority.INTERACTIVE,
        "r": Priority.RETRY,
        "b": Priority.BACKGROUND,
    }
    for name in names:
        assert isinstance(waiting.offer(Item(name), 0.0, priority=priorities[name[0]]), Queued)
    taken = [item.name for _ in names if (item := waiting.take(1.0)) is not None]
    assert taken == ["s1", "s2", "i1", "i2", "r1", "r2", "b1", "b2"]
    assert waiting.take(1.0) is None
    assert waiting.running == 8


def test_a_position_counts_those_who_go_first() -> None:
    waiting = queue()
    assert waiting.offer(Item(), 0.0, priority=Priority.BACKGROUND) == Queued(1, 0.0)
    assert waiting.offer(Item(), 0.0) == Queued(1, 0.0)
    assert waiting.offer(Item(), 0.0) == Queued(2, 0.0)
    assert waiting.offer(Item(), 0.0, priority=Priority.BACKGROUND) == Queued(4, 0.0)


# --- Bounds -----------------------------------------------------------------------------------------------------------
def test_no_more_than_the_count() -> None:
    waiting = queue(count_max=2)
    first = Item()
    waiting.offer(first, 0.0)
    waiting.offer(Item(), 0.0)
    refused = waiting.offer(Item(), 0.0)
    assert isinstance(refused, Refusal)
    assert refused.reason == "count"
    assert len(waiting) == 2
    assert waiting.remove(first)
    assert isinstance(waiting.offer(Item(), 0.0), Queued)


def test_no_more_than_the_size() -> None:
    waiting = queue(size_max=100)
    waiting.offer(Item(), 0.0, size=60)
    refused = waiting.offer(Item(), 0.0, size=41)
    assert isinstance(refused, Refusal)
    assert (refused.reason, waiting.size) == ("size", 60)
    assert isinstance(waiting.offer(Item(), 0.0, size=40), Queued)
    waiting.take(0.0)
    assert waiting.size == 40


def test_what_is_larger_than_the_queue_need_not_come_back() -> None:
    refused = queue(size_max=100).offer(Item(), 0.0, size=101)
    assert refused == Refusal("too-large", None, 0.0)


def test_what_is_too_late_already_need_not_come_back() -> None:
    assert queue().offer(Item(), 10.0, deadline=10.0) == Refusal("expired", None, 0.0)


def test_lower_priorities_leave_room_for_higher_ones() -> None:
    waiting = queue(count_max=10)
    let_in = Counter[Priority]()
    for priority in (Priority.BACKGROUND, Priority.RETRY, Priority.INTERACTIVE, Priority.SYSTEM):
        for _ in range(10):
            let_in[priority] += isinstance(waiting.offer(Item(), 0.0, priority=priority), Queued)
    assert let_in == {Priority.BACKGROUND: 5, Priority.RETRY: 3, Priority.INTERACTIVE: 2, Priority.SYSTEM: 0}


# --- Expected time ----------------------------------------------------------------------------------------------------
def test_the_expected_time_follows_littles_law() -> None:
    waiting, now = busy(places=4, service_s=2.0)
    waiting.settled(now, served=False)
    waiting.offer(Item(), now)
    waiting.take(now)
    assert waiting.running == 4
    each_s = waiting.eta_s(now) / 5
    assert each_s == pytest.approx(0.5, rel=0.05)
    for position in (1, 2, 3):
        queued = waiting.offer(Item(), now, deadline=now + 60.0)
        assert isinstance(queued, Queued)
        assert queued.position == position
        assert queued.eta_s == pytest.approx((position + 4) * each_s)
    assert waiting.eta_s(now, Priority.SYSTEM) == pytest.approx(5 * each_s)
    assert waiting.eta_s(now, Priority.BACKGROUND) == pytest.approx(8 * each_s)


def test_only_who_can_be_served_in_time_is_let_in() -> None:
    waiting, now = busy(places=1, service_s=1.0)
    eta_s = waiting.eta_s(now)
    assert isinstance(waiting.offer(Item(), now, deadline=now + eta_s / 0.8 + 0.01), Queued)
    eta_s = waiting.eta_s(now)
    refused = waiting.offer(Item(), now, deadline=now + eta_s / 0.8 - 0.5)
    assert isinstance(refused, Refusal)
    assert refused.reason == "wait"
    assert refused.eta_s == eta_s
    assert refused.retry_after_s is not None
    assert 0.4 <= refused.retry_after_s <= 0.4 * 1.5


def test_the_system_is_not_asked_for_its_expected_time() -> None:
    waiting, now = busy(places=1, service_s=1.0)
    assert isinstance(waiting.offer(Item(), now, deadline=now + 0.1), Refusal)
    assert isinstance(waiting.offer(Item(), now, deadline=now + 0.1, priority=Priority.SYSTEM), Queued)


def test_where_a_place_is_free_nobody_is_sent_away_for_the_slowness_of_those_before() -> None:
    waiting, now = busy(places=1, service_s=60.0)
    assert isinstance(waiting.offer(Item(), now, deadline=now + 10.0), Refusal)
    running = waiting.running
    assert waiting.pass_by(now, size=5) is None
    assert (waiting.running, len(waiting), waiting.size) == (running + 1, 0, 0)
    refused = waiting.pass_by(now, size=8_000_001)
    assert refused == Refusal("too-large", None, waiting.eta_s(now))
    assert waiting.running == running + 1


def test_who_passes_by_leaves_the_queue_as_if_it_had_been_taken() -> None:
    taken, passed = queue(), queue()
    for number in range(50):
        now = 0.7 * number
        taken.offer(Item(), now)
        taken.take(now)
        passed.pass_by(now)
        if number % 3:
            taken.settled(now + 0.4)
            passed.settled(now + 0.4)
        assert passed.eta_s(now + 0.6) == taken.eta_s(now + 0.6)
        assert passed.running == taken.running


def test_nobody_passes_by_while_somebody_is_held() -> None:
    waiting = queue(age_max_s=10.0)
    waiting.offer(Item(), 0.0)
    for now in (1.0, 20.0):  # Waiting, then expired and not yet handed out.
        with pytest.raises(ValueError, match="somebody waits"):
            waiting.pass_by(now)
        assert (len(waiting), waiting.running) == (1, 0)
    assert len(waiting.expired(20.0)) == 1
    assert waiting.pass_by(20.0) is None


def test_without_a_deadline_the_age_is_the_time_it_has() -> None:
    waiting, now = busy(places=1, service_s=60.0)
    while isinstance(waiting.offer(Item(), now), Queued):
        pass
    assert waiting.eta_s(now) > 0.8 * 120.0
    assert len(waiting) == 0, "one runs: the next would be done after 120 s, of 120 s that it has"


def test_a_bot_that_hangs_lets_nobody_in_though_nothing_ever_ended() -> None:
    waiting = queue()
    for _ in range(3):
        waiting.offer(Item(), 0.0)
    waiting.take(0.0)
    assert isinstance(waiting.offer(Item(), 0.1, deadline=10.1), Queued)
    refused = waiting.offer(Item(), 9.0, deadline=19.0)
    assert isinstance(refused, Refusal)
    assert refused.reason == "wait"


def test_refusals_name_times_between_their_bounds_and_not_all_the_same() -> None:
    waiting, now = busy(places=1, service_s=0.001)
    full = WaitQueue[Item](WaitQueueConfig(count_max=1), random.Random(1))
    full.offer(Item(), 0.0)
    times = [refused.retry_after_s for _ in range(50) if isinstance(refused := full.offer(Item(), 0.0), Refusal)]
    assert len(set(times)) == 50
    assert all(time is not None and 0.25 <= time <= 0.375 for time in times)
    waiting.offer(Item(), now)
    refused = waiting.offer(Item(), now + 10_000.0, deadline=now + 10_000.1)
    assert isinstance(refused, Refusal)
    assert refused.retry_after_s is not None
    assert 60.0 <= refused.retry_after_s <= 90.0


# --- Time is up -------------------------------------------------------------------------------------------------------
def test_who_waited_too_long_is_skipped_and_handed_out_once() -> None:
    waiting = queue(age_max_s=10.0)
    short, aged, fresh = Item("short"), Item("aged"), Item("fresh")
    waiting.offer(aged, 0.0, size=3)
    waiting.offer(short, 0.0, deadline=5.0, size=2)
    assert waiting.wake_at() == 5.0
    waiting.offer(fresh, 8.0, size=1)
    assert waiting.wake_at() == 10.0
    assert waiting.take(10.0) is fresh
    assert (len(waiting), waiting.size) == (2, 5), "they hold their place until somebody has heard of them"
    assert waiting.wake_at() is None
    assert waiting.expired(10.0) == (short, aged)
    assert (len(waiting), waiting.size) == (0, 0)
    assert waiting.expired(10.0) == ()


def test_expired_ones_do_not_count_as_waiting_but_keep_their_room() -> None:
    waiting = queue(count_max=2, age_max_s=10.0)
    waiting.offer(Item(), 0.0)
    assert waiting.offer(Item(), 20.0) == Queued(1, 0.0)
    assert isinstance(waiting.offer(Item(), 20.0), Refusal)
    assert waiting.oldest_age_s(25.0) == 5.0
    waiting.expired(20.0)
    assert isinstance(waiting.offer(Item(), 20.0), Queued)


def test_the_oldest_of_all_lines() -> None:
    waiting = queue()
    assert waiting.oldest_age_s(0.5) == 0.0
    waiting.offer(Item(), 1.0, priority=Priority.BACKGROUND)
    waiting.offer(Item(), 3.0)
    assert waiting.oldest_age_s(5.0) == 4.0


def test_who_gives_up_is_taken_out_wherever_it_stands() -> None:
    waiting = queue(age_max_s=10.0)
    first, late, never = Item(), Item(), Item()
    waiting.offer(late, 0.0)
    waiting.offer(first, 5.0)
    waiting.expired(1.0)
    assert late in waiting
    assert isinstance(waiting.offer(Item(), 11.0), Queued)
    assert waiting.remove(late)
    assert late not in waiting
    assert waiting.remove(first)
    assert not waiting.remove(first)
    assert not waiting.remove(never)
    assert len(waiting) == 1


def test_the_times_of_those_who_left_do_not_pile_up() -> None:
    waiting = queue()
    stays = Item()
    waiting.offer(stays, 0.0)
    for number in range(1_000):
        item = Item()
        waiting.offer(item, number / 1_000)
        waiting.remove(item)
        assert len(waiting._due) <= 2 * len(waiting) + STALE_MAX + 1
    assert waiting.wake_at() == 120.0


def test_nothing_holds_on_to_an_item_that_was_taken() -> None:
    waiting = queue()
    waiting.offer(Item(), 0.0)
    item = waiting.take(0.0)
    assert item is not None
    assert item not in waiting
    assert waiting.wake_at() is None
    # The same object may come again, as a retry does; its old time does not expire it.
    waiting.settled(0.0)
    waiting.offer(item, 100.0)
    assert waiting.expired(130.0) == ()
    assert waiting.wake_at() == 220.0


def test_an_old_time_does_not_expire_who_came_again() -> None:
    waiting = queue(age_max_s=10.0)
    item = Item()
    waiting.offer(item, 0.0)
    waiting.remove(item)
    waiting.offer(item, 8.0)
    assert waiting.expired(12.0) == ()
    assert waiting.take(12.0) is item


def test_what_was_accepted_before_a_restart_is_taken_back_unasked() -> None:
    waiting = queue(count_max=1)
    waiting.offer(Item(), 0.0)
    back = Item()
    assert waiting.restore(back, 0.0, size=5) == Queued(2, 0.0)
    assert back in waiting
    assert waiting.size == 5
    with pytest.raises(ValueError, match="waits already"):
        waiting.restore(back, 0.0)


# --- What cannot be meant ---------------------------------------------------------------------------------------------
def test_bad_input_is_refused_and_changes_nothing() -> None:
    waiting = queue()
    item = Item()
    waiting.offer(item, 5.0, size=1)
    nan = float("nan")
    with pytest.raises(ValueError, match="waits already"):
        waiting.offer(item, 5.0)
    with pytest.raises(ValueError, match="size must be at least 0"):
        waiting.offer(Item(), 5.0, size=-1)
    with pytest.raises(ValueError, match="size must be at least 0"):
        queue().pass_by(5.0, size=-1)
    with pytest.raises(ValueError, match="deadline must be a moment"):
        waiting.offer(Item(), 5.0, deadline=nan)
    for now in (nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="now must be a finite number"):
            waiting.offer(Item(), now)
        with pytest.raises(ValueError, match="now must be a finite number"):
            waiting.take(now)
        with pytest.raises(ValueError, match="now must be a finite number"):
            waiting.expired(now)
    with pytest.raises(ValueError, match="nothing is running"):
        waiting.settled(5.0)
    assert (len(waiting), waiting.size, waiting.running) == (1, 1, 0)
    waiting.take(5.0)
    with pytest.raises(ValueError, match="now must be a finite number"):
        waiting.settled(nan)
    assert waiting.running == 1


def test_a_clock_that_steps_back_stands_still() -> None:
    waiting = queue(age_max_s=10.0)
    waiting.offer(Item(), 100.0)
    assert waiting.oldest_age_s(50.0) == 0.0
    assert waiting.expired(50.0) == ()
    assert len(waiting.expired(110.0)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count_max", 0),
        ("size_max", 0.5),
        ("age_max_s", float("inf")),
        ("wait_share", 0.0),
        ("wait_share", 1.1),
        ("retry_share", float("nan")),
        ("background_share", -1.0),
        ("memory", 0),
        ("retry_after_min_s", 0.0),
        ("retry_after_max_s", 0.1),
    ],
)
def test_impossible_configs_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        queue(**{field: value})


# --- Any order of calls -----------------------------------------------------------------------------------------------
class QueueWalk(RuleBasedStateMachine):
    """What was accepted comes out exactly once, in order, against a list that is searched from end to end."""

    @initialize(count_max=st.integers(1, 12), size_max=st.integers(5, 60))
    def begin(self, count_max: int, size_max: int) -> None:
        self.config = WaitQueueConfig(count_max=count_max, size_max=size_max, age_max_s=20.0)
        self.queue = WaitQueue[Item](self.config, random.Random(1))
        self.now = 0.0
        self.model: list[tuple[Item, Priority, int, float]] = []
        self.late: list[tuple[Item, float, int]] = []
        self.accepted: list[Item] = []
        self.out: list[Item] = []
        self.running = 0

    def sort_out(self) -> None:
        due = sorted((entry for entry in self.model if entry[3] <= self.now), key=lambda entry: entry[3])
        self.late.extend((item, until, size) for item, _, size, until in due)
        self.model = [entry for entry in self.model if entry[3] > self.now]

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 6.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        size=st.integers(0, 20), priority=st.sampled_from(Priority), left=st.sampled_from([-1.0, 0.5, 10.0, math.inf])
    )
    def offer(self, size: int, priority: Priority, left: float) -> None:
        item = Item()
        held, filled = len(self.model) + len(self.late), self.held_size()
        self.sort_out()
        eta_s = self.queue.eta_s(self.now, priority)
        answer = self.queue.offer(item, self.now, size=size, priority=priority, deadline=self.now + left)
        share = (1.0, 1.0, 0.8, 0.5)[priority]
        left = min(left, 20.0)
        if isinstance(answer, Queued):
            assert held + 1 <= self.config.count_max * share
            assert filled + size <= self.config.size_max * share
            assert left > 0
            assert priority is Priority.SYSTEM or answer.eta_s <= 0.8 * left
            assert answer.position == 1 + sum(1 for entry in self.model if entry[1] <= priority)
            self.model.append((item, priority, size, self.now + left))
            self.accepted.append(item)
            return
        why = {
            "too-large": size > self.config.size_max * share,
            "expired": left <= 0,
            "count": held + 1 > self.config.count_max * share,
            "size": filled + size > self.config.size_max * share,
            "wait": eta_s >= answer.eta_s > 0.8 * left,
        }
        assert why[answer.reason]
        assert (answer.retry_after_s is None) is (answer.reason in ("too-large", "expired"))

    @rule()
    def take(self) -> None:
        self.sort_out()
        item = self.queue.take(self.now)
        if not self.model:
            assert item is None
            return
        first = min(self.model, key=lambda entry: entry[1])
        assert item is first[0]
        self.model.remove(first)
        self.out.append(first[0])
        self.running += 1

    @rule(size=st.integers(0, 80))
    def pass_by(self, size: int) -> None:
        if self.model or self.late:
            with pytest.raises(ValueError, match="somebody waits"):
                self.queue.pass_by(self.now, size=size)
            return
        refused = self.queue.pass_by(self.now, size=size)
        assert (refused is not None) is (size > self.config.size_max)
        self.running += refused is None

    @rule()
    def hand_out_expired(self) -> None:
        self.sort_out()
        late = self.queue.expired(self.now)
        assert list(late) == [item for item, _, _ in self.late]
        self.out.extend(late)
        self.late = []

    @precondition(lambda self: self.model or self.late)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        items = [entry[0] for entry in self.model] + [entry[0] for entry in self.late]
        item = data.draw(st.sampled_from(items))
        assert self.queue.remove(item)
        self.model = [entry for entry in self.model if entry[0] is not item]
        self.late = [entry for entry in self.late if entry[0] is not item]
        self.out.append(item)

    @precondition(lambda self: self.running)
    @rule(served=st.booleans())
    def settle(self, served: bool) -> None:  # noqa: FBT001
        self.queue.settled(self.now, served=served)
        self.running -= 1

    def held_size(self) -> int:
        return sum(entry[2] for entry in self.model) + sum(entry[2] for entry in self.late)

    @invariant()
    def nothing_vanishes(self) -> None:
        if hasattr(self, "queue"):
            waiting = [entry[0] for entry in self.model] + [entry[0] for entry in self.late]
            assert len(self.queue) == len(waiting)
            assert self.queue.size == self.held_size()
            assert self.queue.running == self.running
            assert Counter(map(id, self.accepted)) == Counter(map(id, self.out + waiting))
            assert self.queue.eta_s(self.now) >= 0.0


TestQueueWalk = QueueWalk.TestCase
TestQueueWalk.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
