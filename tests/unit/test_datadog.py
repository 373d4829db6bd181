"""What Datadog is told: counts since the last time, gauges, and summaries of what was recorded in between."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from harness.core.histogram import Histogram
from harness.core.series import Family, Snapshot
from harness.exporters.datadog import Changes, Reading, dotted


def told(changes: Changes, snapshots: list[Snapshot]) -> tuple[Reading, ...]:
    """What arrives when all goes well."""
    made = changes.readings(snapshots)
    changes.sent()
    return made


TURNS = Family(name="chat_turns_total", kind="counter", help="Turns.", labels=("bot",))
SOCKETS = Family(name="chat_sockets", kind="gauge", help="Sockets.")
REPLY = Family(name="chat_reply_seconds", kind="histogram", help="Reply.", unit="seconds", labels=("bot",))
ECHO = (("bot", "echo"),)
TAGS = ("bot:echo",)


def turns(value: float) -> list[Snapshot]:
    return [Snapshot(TURNS, ((ECHO, value),))]


def test_a_counter_is_told_by_what_was_added() -> None:
    changes = Changes()
    assert told(changes, turns(3)) == (Reading("chat.turns", "count", 3, TAGS),)
    assert told(changes, turns(5)) == (Reading("chat.turns", "count", 2, TAGS),)
    assert told(changes, turns(5)) == ()


def test_a_counter_that_was_started_anew_is_told_whole() -> None:
    changes = Changes()
    told(changes, turns(9))
    assert told(changes, turns(4)) == (Reading("chat.turns", "count", 4, TAGS),)


def test_what_did_not_arrive_is_told_again() -> None:
    changes = Changes()
    told(changes, turns(3))
    changes.readings(turns(5))
    assert told(changes, turns(6)) == (Reading("chat.turns", "count", 3, TAGS),)


def test_a_series_that_was_away_counts_from_the_start() -> None:
    changes = Changes()
    told(changes, turns(9))
    told(changes, [])
    assert told(changes, turns(2)) == (Reading("chat.turns", "count", 2, TAGS),)


@given(st.lists(st.integers(0, 50), max_size=30))
def test_all_that_was_added_arrives_once(added: list[int]) -> None:
    changes, total, arrived = Changes(), 0, 0.0
    for more in added:
        total += more
        arrived += sum(one.value for one in told(changes, turns(total)))
    assert arrived == total


def test_a_gauge_is_told_as_it_is_and_never_without_a_number() -> None:
    changes = Changes()
    assert told(changes, [Snapshot(SOCKETS, (((), 0.0),))]) == (Reading("chat.sockets", "gauge", 0.0, ()),)
    assert told(changes, [Snapshot(SOCKETS, (((), math.nan),))]) == ()


def test_a_histogram_is_told_by_what_was_recorded_since() -> None:
    changes, histogram = Changes(), Histogram([100.0])
    told(changes, [Snapshot(REPLY, ((ECHO, histogram),))])
    for _ in range(99):
        histogram.record(0.25)
    histogram.record(2.0)
    by_name = {one.name: one for one in told(changes, [Snapshot(REPLY, ((ECHO, histogram),))])}
    assert by_name["chat.reply_seconds.count"] == Reading("chat.reply_seconds.count", "count", 100, TAGS)
    assert math.isclose(by_name["chat.reply_seconds.sum"].value, 99 * 0.25 + 2.0)
    assert math.isclose(by_name["chat.reply_seconds.p50"].value, 0.25, rel_tol=0.011)
    assert math.isclose(by_name["chat.reply_seconds.max"].value, 2.0, rel_tol=0.022)
    assert told(changes, [Snapshot(REPLY, ((ECHO, histogram),))]) == ()


def test_tags_cannot_break_a_line() -> None:
    (one,) = Changes().readings([Snapshot(TURNS, (((("bot", "a|b,c#d\ne"),), 1.0),))])
    assert one.tags == ("bot:a_b_c_d_e",)


def test_names_get_their_dot() -> None:
    assert [dotted(name) for name in ("chat_turns_total", "chat_loop_lag_seconds", "up")] == [
        "chat.turns",
        "chat.loop_lag_seconds",
        "up",
    ]
