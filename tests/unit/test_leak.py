"""Leaks: processes that leak, and healthy ones that only look like it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from harness.core.events import MemorySampled
from harness.core.leak import CYCLES_MIN, FLOORS, LeakVerdict, judge_leaks, unclear, unjudgeable

PER_CYCLE = 200


def cycles(
    counter: str, value: Callable[[int], float], *, n: int = 10, subject: str = "service"
) -> list[MemorySampled]:
    return [
        MemorySampled(subject, c, (c + 1) * PER_CYCLE, {counter: round(value((c + 1) * PER_CYCLE))}) for c in range(n)
    ]


def verdict(counter: str, value: Callable[[int], float], *, n: int = 10) -> LeakVerdict:
    (found,) = judge_leaks(cycles(counter, value, n=n), cycles=n)
    return found


def noisy(value: Callable[[int], float], spread: int, seed: int = 5) -> Callable[[int], float]:
    rng = random.Random(seed)
    return lambda messages: value(messages) + rng.randint(-spread, spread)


@pytest.mark.parametrize(
    ("counter", "value"),
    [
        pytest.param("blocks", noisy(lambda m: 180_000 + m, 8), id="one block a message"),
        pytest.param("blocks", noisy(lambda m: 180_000 + 0.1 * m, 8), id="one block every ten messages"),
        pytest.param("objects", noisy(lambda m: 60_000 + 3 * m, 20), id="three objects a message"),
        pytest.param("heap_bytes", noisy(lambda m: 14e6 + 48 * m, 4_000), id="48 bytes a message"),
        pytest.param("handles", lambda m: 20 + m // 50, id="a handle every fifty messages"),
        pytest.param("tasks", lambda m: 3 + m // 20, id="a task every twenty messages"),
        pytest.param("threads", lambda m: 2 + m // 40, id="a thread every forty messages"),
    ],
)
def test_a_leak_is_found(counter: str, value: Callable[[int], float]) -> None:
    found = verdict(counter, value)
    assert found.leaking
    assert not found.plateau
    assert "leaks: +" in found.text


@pytest.mark.parametrize(
    ("counter", "value"),
    [
        pytest.param("blocks", lambda _: 180_000, id="nothing moves"),
        pytest.param("blocks", noisy(lambda _: 180_000, 300), id="only noise"),
        pytest.param("blocks", lambda m: 180_000 + 0.003 * m, id="a creep below the floor"),
        pytest.param("blocks", lambda m: 180_000 + min(3 * m, 2_400), id="a cache that fills"),
        pytest.param("blocks", lambda m: 180_000 + 400 * ((m // PER_CYCLE) % 3), id="a sawtooth"),
        pytest.param("blocks", lambda m: 180_000 - 2 * m, id="it shrinks"),
        pytest.param("heap_bytes", lambda m: 14e6 + (65_536 if m > 800 else 0), id="one step"),
        pytest.param("rss_bytes", lambda m: 58e6 + 2_048 * m, id="resident memory is never judged"),
        pytest.param("unheard_of", lambda m: 10 * m, id="a counter without a floor is never judged"),
    ],
)
def test_a_healthy_process_is_not_called_leaky(counter: str, value: Callable[[int], float]) -> None:
    assert not verdict(counter, value).leaking


@pytest.mark.parametrize("n", [7, 8, 10, 14])
@pytest.mark.parametrize("spread", [0, 3])
def test_a_leak_behind_a_steeper_warm_up_is_found(n: int, spread: int) -> None:
    found = verdict("blocks", noisy(lambda m: 180_000 + 3 * min(m, 600) + 0.3 * m, spread), n=n)
    assert (found.trend, found.leaking, found.plateau) == ("leaking", True, False)


def test_a_cache_that_fills_is_said_to_have_levelled_off() -> None:
    found = verdict("blocks", lambda m: 180_000 + 1.5 * min(m, 1_600) + 0.01 * m, n=14)
    assert found.plateau
    assert not found.leaking
    assert found.text.startswith("levelled off: +")
    assert "in the second half +0.01 (0.01 to 0.01)" in found.text


def test_a_cache_that_is_full_only_late_is_said_to_be_settling() -> None:
    found = verdict("blocks", lambda m: 180_000 + 1.5 * min(m, 1_400))
    assert (found.trend, found.leaking) == ("settling", False)
    assert found.text.startswith("no leak, but still settling")


def test_what_slows_down_and_wavers_is_neither_a_leak_nor_none() -> None:
    steps = [0, 300, 600, 900, 1_200, 1_500, 1_500, 1_600, 1_590, 1_700]
    found = verdict("blocks", lambda m: 180_000 + steps[m // PER_CYCLE - 1])
    assert (found.trend, found.leaking) == ("unclear", False)
    assert found.text.startswith("unclear: ")
    assert "memory.warm_up" in found.text
    assert unclear([found]).startswith("service blocks unclear: ")
    leak = verdict("blocks", lambda m: m)
    assert unclear([found, leak]) == "", "there is a verdict: a leak"
    assert unclear([verdict("blocks", lambda _: 7)]) == ""


def test_leak_free_processes_are_rarely_accused() -> None:
    """A thousand noisy healthy processes: at a level of 1 % with a floor on top, none should be called leaky."""
    accused = sum(verdict("blocks", noisy(lambda _: 180_000, 12, seed)).leaking for seed in range(1_000))
    assert accused == 0


def test_the_interval_holds_the_true_slope() -> None:
    held = sum(
        found.low <= 4.0 <= found.high
        for found in (verdict("blocks", noisy(lambda m: 4 * m, 30, s)) for s in range(200))
    )
    assert held >= 190


def test_too_few_cycles_have_no_verdict() -> None:
    assert judge_leaks(cycles("blocks", lambda m: m, n=CYCLES_MIN - 1), cycles=CYCLES_MIN) == ()


def test_only_the_last_cycles_are_judged() -> None:
    warm = cycles("blocks", lambda m: 100_000 + 50 * min(m, 800), n=14)
    (found,) = judge_leaks(warm, cycles=10)
    assert found.messages[0] == 5 * PER_CYCLE
    assert not found.leaking


def test_each_process_and_counter_is_judged_for_itself() -> None:
    both = [
        MemorySampled(subject, c, (c + 1) * 100, {"blocks": 1_000 + factor * c * 100, "tasks": 3})
        for c in range(8)
        for subject, factor in (("service", 0), ("leaky", 2))
    ]
    found = {(leak.subject, leak.counter): leak.leaking for leak in judge_leaks(both, cycles=8)}
    assert found == {
        ("service", "blocks"): False,
        ("service", "tasks"): False,
        ("leaky", "blocks"): True,
        ("leaky", "tasks"): False,
    }


def test_a_counter_that_the_machine_lacks_halfway_is_left_out() -> None:
    samples = [
        MemorySampled("service", c, c * 100, {"blocks": c} if c > 3 else {"blocks": c, "tasks": 1}) for c in range(8)
    ]
    assert [leak.counter for leak in judge_leaks(samples, cycles=8)] == ["blocks"]


def test_messages_that_stand_still_have_no_slope() -> None:
    samples = [MemorySampled("service", c, 100, {"blocks": c}) for c in range(8)]
    assert judge_leaks(samples, cycles=8) == ()


def test_every_floor_is_above_zero() -> None:
    assert all(floor > 0 for floor in FLOORS.values())


# --- Cycles that prove nothing ----------------------------------------------------------------------------------------
def cast(*, cycles: int = 8, **changes: Callable[[int], MemorySampled | None]) -> list[MemorySampled]:
    """A service and the bot ``echo``, every message answered; ``changes`` are other samples of a subject by cycle."""
    samples = []
    for cycle in range(-2, cycles):
        for subject, pid in (("service", 10), ("echo", 11)):
            messages = (cycle + 3) * 100
            healthy = MemorySampled(subject, cycle, messages, {"blocks": 5}, pid=pid, answered=messages)
            sample = changes[subject](cycle) if subject in changes else healthy
            samples += [sample] if sample else []
    return samples


def echo(cycle: int, *, pid: int = 11, failed: int = 0) -> MemorySampled:
    messages = (cycle + 3) * 100
    return MemorySampled("echo", cycle, messages, {"blocks": 5}, pid=pid, answered=messages - failed)


def why(samples: list[MemorySampled]) -> str:
    return unjudgeable(samples, subjects=("service", "echo"), cycles=8)


def test_a_whole_cast_that_answered_can_be_judged() -> None:
    assert why(cast()) == ""
    assert why(cast(echo=lambda c: echo(c, failed=c + 2))) == "", "a few failures leave enough"
    assert why(cast(echo=lambda c: echo(c, failed=90 if c >= 0 else 0))) == "", "what failed before is not judged"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda _: None, "echo was measured in 0 of 8 cycles", id="never"),
        pytest.param(lambda c: None if c == 3 else echo(c), "echo was measured in 7 of 8 cycles", id="missing once"),
        pytest.param(lambda c: None if c >= 6 else echo(c), "echo was measured in 6 of 8 cycles", id="gone"),
        pytest.param(lambda c: echo(c, pid=20 + c // 3), "echo was started again between the cycles", id="restarts"),
        pytest.param(lambda c: echo(c, pid=12 if c == 7 else 11), "echo was started again", id="restarted at the end"),
        pytest.param(
            lambda c: echo(c, failed=(c + 2) * 99),
            "of 700 messages to echo only 7 were answered; a leak check needs 95% of them",
            id="hardly an answer",
        ),
        pytest.param(lambda c: echo(c, failed=c * 6), "of 700 messages to echo only 658 were answered", id="94 %"),
    ],
)
def test_a_cast_with_a_gap_is_not_judged(change: Callable[[int], MemorySampled | None], said: str) -> None:
    assert why(cast(echo=change)).startswith(said)


def test_a_service_that_is_missing_is_not_judged() -> None:
    assert why(cast(service=lambda _: None)) == "service was measured in 0 of 8 cycles"


def test_a_process_without_messages_is_not_judged() -> None:
    idle = cast(echo=lambda c: MemorySampled("echo", c, 20, {"blocks": 5}, pid=11, answered=20))
    assert why(idle) == "echo got no message after the first cycle"


def test_a_journal_without_answers_counts_as_answered() -> None:
    assert why([MemorySampled(s, c, (c + 1) * 9, {"blocks": 5}) for c in range(8) for s in ("service", "echo")]) == ""
