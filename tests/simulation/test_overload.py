"""A burst of 1.5 times the capacity: the queue by expected wait against what is often used in its place."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ci import overload
else:
    spec = spec_from_file_location("overload", Path(__file__).parents[2] / "ci" / "overload.py")
    overload = module_from_spec(spec)
    sys.modules["overload"] = overload
    spec.loader.exec_module(overload)

BY_WAIT = "expected wait at most 0.8 of the patience"
FIFO = "unbounded, first come first served"


@pytest.mark.parametrize("seed", range(8))
def test_by_expected_wait_the_capacity_is_used_and_no_answer_is_late(seed: int) -> None:
    outcome = overload.run(overload.DOORS[BY_WAIT](seed), seed, overload.varied)
    assert outcome.goodput_per_s >= 0.95 * overload.CAPACITY_PER_S
    assert outcome.late == 0
    assert outcome.lost == 0
    assert outcome.recovery_s < 5.0
    assert outcome.refused > 0, "a burst that is not refused at all is no burst"


@pytest.mark.parametrize("seed", range(4))
def test_with_service_times_that_have_a_long_tail_at_most_one_in_a_thousand_is_late(seed: int) -> None:
    outcome = overload.run(overload.DOORS[BY_WAIT](seed), seed, overload.memoryless)
    assert outcome.goodput_per_s >= 0.95 * overload.CAPACITY_PER_S
    assert outcome.late <= 0.001 * overload.CAPACITY_PER_S * overload.BURST_S
    assert outcome.lost == 0


@pytest.mark.parametrize("seed", range(4))
def test_an_unbounded_queue_answers_those_who_have_left(seed: int) -> None:
    outcome = overload.run(overload.DOORS[FIFO](seed), seed, overload.varied)
    assert outcome.goodput_per_s < 0.3 * overload.CAPACITY_PER_S
    assert outcome.late > 5_000
    assert outcome.lost == 0
    assert outcome.recovery_s > 20.0


def test_the_figures_in_the_docs_are_those_of_the_code() -> None:
    program = Path(overload.__file__)
    done = subprocess.run([sys.executable, program, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
