"""Snapshots as OTLP's points: the buckets must hold exactly what ours hold."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from harness.core.histogram import Histogram
from harness.core.series import Family, Snapshot
from harness.exporters.otlp import SPAN_MAX, Exponential, metrics

REPLY = Family(name="chat_reply_seconds", kind="histogram", help="Reply.", unit="seconds")
VALUES = st.lists(
    st.floats(1e-12, 1e30) | st.just(0.0) | st.integers(-9, 20).map(lambda power: 2.0**power), max_size=60
)


def sent(histogram: Histogram) -> Exponential:
    ((metric),) = metrics([Snapshot(REPLY, (((), histogram),))])
    (point,) = metric.points
    assert isinstance(point.value, Exponential)
    return point.value


@given(VALUES)
def test_every_value_is_in_the_bucket_that_otlp_means(values: list[float]) -> None:
    made = sent(Histogram(values))
    assert made.n == len(values) == made.zeros + sum(made.counts)
    assert len(made.counts) <= SPAN_MAX
    base = math.exp2(2.0**-made.scale)
    # Bucket i holds (base^i, base^(i+1)]: cumulative counts at the bounds are those of the values themselves.
    seen = made.zeros
    for place, count in enumerate(made.counts):
        seen += count
        bound = base ** (made.offset + place + 1)
        below = sum(value <= bound * (1 + 1e-9) for value in values)
        surely = sum(value <= bound * (1 - 1e-9) for value in values)
        assert surely <= seen <= below
    if values:
        assert (made.low, made.high) == (min(values), max(values))


def test_nothing_recorded_is_an_empty_histogram() -> None:
    assert sent(Histogram()) == Exponential(0, 0.0, 0.0, 0.0, 0, 5, 0, ())


def test_a_family_without_series_or_numbers_is_left_out() -> None:
    gauge = Family(name="chat_sockets", kind="gauge", help="Sockets.")
    assert metrics([Snapshot(gauge, ()), Snapshot(gauge, (((), math.nan),))]) == ()


def test_names_and_units_are_those_of_otlp() -> None:
    turns = Family(name="chat_turns_total", kind="counter", help="Turns.")
    one, other = metrics([Snapshot(turns, (((), 1.0),)), Snapshot(REPLY, (((), Histogram([1.0])),))])
    assert [(one.name, one.unit), (other.name, other.unit)] == [("chat_turns", "1"), ("chat_reply_seconds", "s")]
