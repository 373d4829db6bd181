"""The witness of the breakers' moves: it knows the machine's promises, not its code."""

from __future__ import annotations

import pytest

from harness.core.breaker_walk import BY_HAND, EDGES, Walk
from harness.core.events import Admitted, BreakerMoved
from harness.services.circuit_breaker import NEXT, Signal, State


def walked(*facts: tuple[float, BreakerMoved | Admitted]) -> Walk:
    walk = Walk("b")
    for t, fact in facts:
        walk.step(t, fact)
    return walk


def moved(seq: int, before: str, after: str, cause: str = "", *, late_s: float = 0.0, signal: str = "") -> BreakerMoved:
    return BreakerMoved("b", seq, before, after, cause, 5, 3.0, late_s=late_s, signal=signal)


def test_the_witness_and_the_machine_know_the_same_edges() -> None:
    alone = {(state.value, after.value) for (state, signal), after in NEXT.items() if signal not in _people()}
    assert alone == EDGES
    assert {after.value for (_, signal), after in NEXT.items() if signal in _people() - {Signal.CONFIGURED}} == BY_HAND


def _people() -> set[Signal]:
    return {Signal.FORCED, Signal.DISABLED, Signal.OBSERVED, Signal.RESET, Signal.CONFIGURED}


@pytest.mark.parametrize("after", sorted(BY_HAND))
@pytest.mark.parametrize("before", [state.value for state in State])
def test_people_may_bring_it_anywhere_that_is_theirs(before: str, after: str) -> None:
    walk = Walk("b", state=before)
    walk.step(1.0, moved(1, before, after, "manual"))
    assert walk.wrong == []
    assert walk.state == after


def test_nobody_can_make_it_half_open_by_hand() -> None:
    assert walked((1.0, moved(1, "closed", "half-open", "manual"))).wrong == [
        "b at 1.000 s: closed to half-open (seq 1) is no edge of a breaker"
    ]


def test_a_cooldown_that_somebody_ends_is_not_cut_short() -> None:
    walk = walked((1.0, moved(1, "closed", "open")), (1.5, moved(2, "open", "closed", "manual")))
    assert (walk.wrong, walk.cooldowns) == ([], [])


def test_a_cooldown_counts_from_when_it_began_not_from_when_that_was_noticed() -> None:
    late = moved(1, "closed", "open", "in-flight-slow", late_s=2.0)
    assert walked((5.0, late), (6.5, moved(2, "open", "half-open"))).wrong == []
    assert len(walked((5.0, late), (5.5, moved(2, "open", "half-open"))).wrong) == 1


def test_a_configuration_is_numbered_and_moves_nothing() -> None:
    walk = walked((1.0, moved(1, "closed", "closed", "manual", signal="configured")), (2.0, moved(2, "closed", "open")))
    assert (walk.wrong, walk.entered["closed"]) == ([], 0)
    assert len(walked((1.0, moved(1, "closed", "open", "manual", signal="configured"))).wrong) == 1


def test_a_call_through_a_forced_open_breaker_is_one_too_many() -> None:
    walk = walked((1.0, moved(1, "closed", "forced-open", "manual")), (2.0, Admitted("b", "t1", probe=False)))
    assert walk.through == ["t1 to b at 2.000 s"]
