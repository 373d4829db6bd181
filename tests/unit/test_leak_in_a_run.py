"""Leaks in a whole run: what makes a leak check prove nothing reaches the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.core.events import Entry, MemorySampled
from harness.core.judge import judge
from harness.core.verdict import Outcome

if TYPE_CHECKING:
    from tests.sample_journals import Samples

Change = Callable[[MemorySampled], MemorySampled | None]


def changed(entries: list[Entry], change: Change) -> list[Entry]:
    """The same journal with other samples of the bot; None leaves one out."""
    kept = []
    for entry in entries:
        if isinstance(entry.fact, MemorySampled) and entry.fact.subject == "leaky":
            fact = change(entry.fact)
            kept += [replace(entry, fact=fact)] if fact else []
        else:
            kept.append(entry)
    return kept


def test_the_untouched_run_has_a_verdict(samples: Samples) -> None:
    assert judge("run", samples.run(samples.leak())).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda _: None, "leaky was measured in 0 of 10 cycles", id="a bot that nobody measured"),
        pytest.param(lambda s: replace(s, pid=90 + s.cycle // 3), "leaky was started again", id="a bot that restarts"),
        pytest.param(
            lambda s: replace(s, answered=s.messages // 150),
            "of 1800 messages to leaky only 12 were answered",
            id="149 of 150 messages fail",
        ),
    ],
)
def test_a_run_that_proves_nothing_never_passes(samples: Samples, change: Change, said: str) -> None:
    (case,) = judge("run", changed(samples.run(samples.leak()), change)).cases
    assert case.outcome is Outcome.NO_VERDICT
    assert said in case.why()
