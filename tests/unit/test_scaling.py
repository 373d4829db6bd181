"""The formula of the Kubernetes autoscaler, held against what its documentation and its source say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.scaling import PerBot, Proposal, Target, Whole, ceil, floor, propose, refuse

TENTH = 0.1


def wanted(target: float, current: int, reading: PerBot | Whole | None, tolerance: float = TENTH) -> int | None:
    return propose("m", Target(value=target), tolerance, current, reading).wanted


@pytest.mark.parametrize(
    ("target", "values", "unready", "expected"),
    [
        # desired = ceil(current * metric / target): the examples of the documentation.
        pytest.param(100, [200], 0, 2, id="twice the target doubles"),
        pytest.param(100, [50, 50], 0, 1, id="half the target halves"),
        pytest.param(100, [200, 200, 200], 0, 6, id="for each of three"),
        pytest.param(100, [110, 110], 0, 2, id="ten percent above is within the tolerance"),
        pytest.param(100, [90, 90], 0, 2, id="and ten percent below"),
        pytest.param(100, [111, 111], 0, 3, id="eleven percent are not"),
        pytest.param(100, [89] * 10, 0, 9, id="nor below"),
        pytest.param(100, [0, 0, 0], 0, 0, id="nothing to do wants nobody"),
        pytest.param(100, [10, 390], 0, 4, id="the mean counts, not the worst"),
        pytest.param(0.7, [2.1 / 3] * 3, 0, 3, id="on target for floating point"),
        pytest.param(0.1, [0.3], 0, 3, id="0.3 / 0.1 is 3, not 2.9999999999999996 or a hair more"),
        pytest.param(0.7, [1.4] * 3, 0, 6, id="and 1.4 / 0.7 is 2"),
        # Who does not answer counts as on target when shrinking, as idle when growing.
        pytest.param(100, [20, 20, None], 0, 2, id="missing when shrinking: (20 + 20 + 100) / 3 is 0.47 of it"),
        pytest.param(100, [20, None, None], 0, 3, id="(20 + 100 + 100) / 3 is 0.73: ceil(2.2) is what there is"),
        pytest.param(100, [85, None, None, None], 0, 4, id="so near the target by then that nothing changes"),
        pytest.param(100, [300, 300, None], 0, 6, id="missing when growing: (300 + 300 + 0) / 3 is twice it"),
        pytest.param(100, [150, None], 0, 2, id="that turns the direction: nothing changes"),
        pytest.param(100, [100, None], 0, 2, id="exactly on target stays, whoever is missing"),
        pytest.param(100, [None, None], 0, None, id="nobody answers"),
        pytest.param(100, [], 2, None, id="nobody is ready"),
        # Who is not ready counts as idle when growing, and not at all when shrinking.
        pytest.param(100, [300, 300], 2, 6, id="(300 + 300 + 0 + 0) / 4 is 1.5 of it: ceil(1.5 * 4)"),
        pytest.param(100, [215, 215], 2, 4, id="430 / 4 is within the tolerance: with those who start it is enough"),
        pytest.param(100, [215, 215, None, None], 0, 4, id="and so it is with those who are missing"),
        pytest.param(100, [150, 150], 2, 4, id="those who start will be enough"),
        pytest.param(100, [50, 50], 2, 1, id="when shrinking only the ready ones count"),
        pytest.param(100, [300, None], 2, 4, id="missing and not ready: 300 / 4 is below the target, nothing changes"),
        pytest.param(100, [900, None], 2, 9, id="900 / 4 is 2.25 of it: ceil(2.25 * 4)"),
    ],
)
def test_a_metric_of_each_bot(target: float, values: list[float | None], unready: int, expected: int | None) -> None:
    assert wanted(target, len(values) + unready, PerBot(values, unready)) == expected


@pytest.mark.parametrize(
    ("value", "ready", "current", "expected"),
    [
        pytest.param(20.0, 4, 4, 8, id="twice the target doubles the ready ones"),
        pytest.param(5.0, 4, 4, 2, id="half of it halves them"),
        pytest.param(10.9, 4, 4, 4, id="within the tolerance"),
        pytest.param(15.0, 2, 4, 4, id="ceil(1.5 * 2) is 3: above the target never asks for fewer"),
        pytest.param(9.0 * 0.9, 9, 4, 4, id="nor below it for more"),
        pytest.param(25.0, 0, 0, 3, id="from nothing: ceil(ratio)"),
        pytest.param(0.0, 0, 0, 0, id="nothing to do and nobody there"),
        pytest.param(None, 4, 4, None, id="missing"),
    ],
)
def test_a_metric_of_all_together(value: float | None, ready: int, current: int, expected: int | None) -> None:
    assert wanted(10, current, Whole(value, ready)) == expected


def test_a_metric_without_a_reading_is_missing() -> None:
    assert propose("m", Target(value=1), TENTH, 3, None) == Proposal("m", None, None)


@pytest.mark.parametrize(("level", "bots", "active"), [(0.0, 0, False), (2.0, 0, False), (2.1, 1, True)])
def test_at_or_below_its_activation_a_metric_asks_for_nobody(level: float, bots: int, active: bool) -> None:  # noqa: FBT001
    proposal = propose("m", Target(value=10, activation=2), TENTH, 1, Whole(level, 1))
    assert (proposal.wanted, proposal.active) == (bots, active)


@given(
    values=st.lists(st.one_of(st.none(), st.integers(0, 400)), max_size=8),
    unready=st.integers(0, 4),
    target=st.integers(1, 200),
)
def test_it_agrees_with_the_algorithm_as_the_source_spells_it_out(
    values: list[int | None], unready: int, target: int
) -> None:
    current = len(values) + unready
    assert wanted(target, current, PerBot(values, unready)) == spelt_out(values, unready, target, current)


def spelt_out(values: list[int | None], unready: int, target: int, current: int) -> int | None:
    """Replay replica_calculator.go step by step, in whole numbers, and then hold it to the direction of the ratio."""
    metrics = [value for value in values if value is not None]
    missing = len(values) - len(metrics)
    if not metrics:
        return None
    total, count = sum(metrics), len(metrics)
    above, below = total > target * count, total < target * count
    rebalance = unready > 0 and above
    if rebalance or missing:
        if missing and below:
            total, count = total + missing * target, count + missing
        if missing and above:
            count += missing
        if rebalance:
            count += unready
        if (below and total > target * count) or (above and total < target * count):
            return current
    if abs(total - target * count) * 10 <= target * count:
        return current
    replicas = -(-total // target)  # ceil(total / (target * count) * count)
    return max(replicas, current) if above else min(replicas, current)


@given(st.integers(-1_000, 1_000), st.integers(1, 1_000))
def test_rounding_forgives_floating_point(whole: int, parts: int) -> None:
    assert ceil(whole / parts * parts) == whole == floor(whole / parts * parts)
    assert ceil(abs(whole) + 0.01) == abs(whole) + 1
    assert floor(abs(whole) + 0.99) == abs(whole)


@pytest.mark.parametrize(
    ("name", "reading", "why"),
    [
        ("n", Whole(1.0, 1), "'n' has no target: the metrics are m"),
        ("m", Whole(-1.0, 1), "m must be a number of at least 0"),
        ("m", Whole(math.nan, 1), "m must be a number of at least 0"),
        ("m", Whole(1.0, -1), "m bots must be a whole number"),
        ("m", PerBot([1.0, math.inf]), "m must be a number of at least 0"),
        ("m", PerBot([1.0], -1), "m bots must be a whole number"),
    ],
)
def test_readings_that_cannot_be_meant_are_refused(name: str, reading: PerBot | Whole, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        refuse(name, reading, {"m": Target(value=1)})


@pytest.mark.parametrize(("value", "activation"), [(0, None), (math.nan, None), (1, -1), (1, math.inf)])
def test_impossible_targets_are_refused(value: float, activation: float | None) -> None:
    with pytest.raises(ValueError, match=r"^(value|activation) must be"):
        Target(value=value, activation=activation)


def test_readings_that_are_missing_are_not_refused() -> None:
    refuse("m", PerBot([None, 1.0]), {"m": Target(value=1)})
    refuse("m", Whole(None, 1), {"m": Target(value=1)})
