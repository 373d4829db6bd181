"""Families and their handles: what is refused, what is folded, what is read."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.families import FAMILIES
from harness.core.registry import Registry
from harness.core.series import OVERFLOW, SECONDS_BOUNDS, Family

SMALL = Family(name="chat_x_total", kind="counter", help="X.", labels=("code",), series_max=3)
OVER = FAMILIES["chat_metrics_overflow_total"]
GAUGE = Family(name="chat_g", kind="gauge", help="G.", labels=("bot", "state"), series_max=2)
TIMES = Family(name="chat_t_seconds", kind="histogram", help="T.", unit="seconds")


def read(registry: Registry, name: str) -> dict[Any, Any]:
    (found,) = [snapshot for snapshot in registry.collect() if snapshot.family.name == name]
    return dict(found.series)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"name": "Chat"}, "lower-case", id="capitals"),
        pytest.param({"name": "chat__x"}, "single underscores", id="two underscores"),
        pytest.param({"kind": "summary"}, "kind must be one of", id="an unknown kind"),
        pytest.param({"kind": "counter"}, "_total", id="a counter without _total"),
        pytest.param({"name": "chat_x_total"}, "_total", id="a gauge with _total"),
        pytest.param({"name": "chat_x_count"}, "belong to the format", id="a suffix of the format"),
        pytest.param({"unit": "minutes"}, "unit must be one of", id="no base unit"),
        pytest.param({"unit": "seconds"}, "ends with its unit", id="a name without its unit"),
        pytest.param({"help": ""}, "one line", id="no help"),
        pytest.param({"help": "a\nb"}, "one line", id="help of two lines"),
        pytest.param({"labels": ("session",)}, "labels must be", id="a label without an end"),
        pytest.param({"labels": ("bot", "bot")}, "labels must be", id="a label twice"),
        pytest.param({"series_max": 0}, "series_max", id="no room"),
        pytest.param({"bounds": (1.0,)}, "only a histogram", id="bounds of a gauge"),
        pytest.param({"kind": "histogram", "bounds": (0.3,)}, "0.3 is no bound of a bucket", id="no power of two"),
        pytest.param({"kind": "histogram", "bounds": (0.0,)}, "no bound", id="zero"),
        pytest.param({"kind": "histogram", "bounds": (math.inf,)}, "no bound", id="infinity"),
        pytest.param({"kind": "histogram", "bounds": (math.nan,)}, "no bound", id="no number"),
        pytest.param({"kind": "histogram", "bounds": (2.0, 1.0)}, "ascend", id="bounds that fall"),
    ],
)
def test_a_family_that_cannot_be_exported_truly_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Family(**{"name": "chat_x", "kind": "gauge", "help": "X.", **fields})


def test_a_histogram_has_bounds_from_a_millisecond_to_a_minute() -> None:
    assert TIMES.bounds == SECONDS_BOUNDS
    assert (SECONDS_BOUNDS[0], SECONDS_BOUNDS[-1]) == (1 / 1024, 64)


def test_every_family_of_the_service_is_named_after_it() -> None:
    assert all(name == family.name and name.startswith("chat_") for name, family in FAMILIES.items())


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        Registry([SMALL, SMALL])


def test_misuse_is_refused_with_the_name() -> None:
    registry = Registry([SMALL, GAUGE, TIMES])
    with pytest.raises(ValueError, match="no family 'chat_y_total'"):
        registry.counter("chat_y_total")
    with pytest.raises(ValueError, match="chat_x_total is a counter, not a gauge"):
        registry.gauge("chat_x_total", "a")
    with pytest.raises(ValueError, match="has the labels code: 2 values"):
        registry.counter("chat_x_total", "a", "b")
    with pytest.raises(ValueError, match="has the labels none: 1 values"):
        registry.histogram("chat_t_seconds", "a")
    with pytest.raises(ValueError, match="recorded, not watched"):
        registry.watch("chat_t_seconds", lambda: 1.0)
    registry.watch("chat_g", dict)
    with pytest.raises(ValueError, match="gives its numbers already"):
        registry.watch("chat_g", dict)
    with pytest.raises(ValueError, match="read by a function"):
        registry.gauge("chat_g", "a", "b")
    assert all(snapshot.series == () for snapshot in registry.collect())


@pytest.mark.parametrize("by", [-1.0, math.nan, math.inf])
def test_a_counter_only_grows(by: float) -> None:
    counter = Registry([SMALL]).counter("chat_x_total", "a")
    with pytest.raises(ValueError, match="only grows"):
        counter.add(by)
    assert counter.value == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gauge_is_a_number(value: float) -> None:
    gauge = Registry([GAUGE]).gauge("chat_g", "a", "b")
    gauge.set(1.5)
    with pytest.raises(ValueError, match="finite"):
        gauge.set(value)
    assert gauge.value == 1.5


@given(st.lists(st.text(max_size=2), max_size=40))
def test_totals_stay_right_however_many_labels_there_are(codes: list[str]) -> None:
    registry = Registry([SMALL, OVER])
    for code in codes:
        registry.counter("chat_x_total", code).add()
    found = read(registry, "chat_x_total")
    assert sum(found.values()) == len(codes)
    assert len(found) <= 4
    assert (OVERFLOW in found) == (len(set(codes)) > 3)
    folded = read(registry, OVER.name).get((("family", "chat_x_total"),), 0)
    assert folded == found.get(OVERFLOW, 0)


def test_what_is_forgotten_makes_room() -> None:
    registry = Registry([SMALL])
    for code in "abcd":
        registry.counter("chat_x_total", code).add()
    registry.forget("code", "a")
    registry.counter("chat_x_total", "e").add()
    assert [labels[0][1] for labels in read(registry, "chat_x_total")] == ["b", "c", "e", "true"]


def test_the_same_labels_give_the_same_handle() -> None:
    registry = Registry([SMALL])
    assert registry.counter("chat_x_total", "a") is registry.counter("chat_x_total", "a")


def test_a_watched_family_is_what_was_read_and_nothing_else() -> None:
    registry = Registry([GAUGE, OVER])
    now: dict[tuple[str, ...], float] = {("b", "s"): 2.0, ("a", "s"): 1.0, ("c", "s"): math.nan}
    registry.watch("chat_g", lambda: now)
    assert list(read(registry, "chat_g").values()) == [1.0, 2.0]
    now |= {("c", "s"): 3.0, ("d", "s"): 4.0}
    watched, over = registry.collect()
    assert [value for _, value in watched.series] == [1.0, 2.0, 7.0]
    assert over.series == (((("family", "chat_g"),), 2.0),)
    now.clear()
    assert read(registry, "chat_g") == {}
