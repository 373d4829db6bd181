"""A burst is judged by what was still answered, and by how soon all was as before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.core.measure import measure
from harness.core.measure_burst import NAMES
from harness.core.measures import Measures
from harness.core.scenario import Burst, Load
from harness.core.story import read

if TYPE_CHECKING:
    from harness.core.events import Entry
    from tests.sample_journals import Samples


def measured(entries: list[Entry], load: Load | None = None) -> Measures:
    (story,) = read(entries).stories
    scenario = story.scenario()
    return measure(story, scenario if load is None else replace(scenario, load=load))


def test_goodput_is_a_share_of_what_the_bots_can_do(samples: Samples) -> None:
    found = measured(samples.burst(per_s=20.0, refused=90))
    assert found.values["burst_goodput_share"] == pytest.approx(1.0, abs=0.02)
    assert found.values["burst_offered_share"] == pytest.approx(1.5, abs=0.05)
    assert found.evidence["burst_goodput_share"] == ("capacity 20.0 replies/s",)


def test_a_service_that_gets_less_done_under_load_shows(samples: Samples) -> None:
    found = measured(samples.burst(per_s=15.0))
    assert found.values["burst_goodput_share"] == pytest.approx(0.75, abs=0.02)


def test_recovery_ends_with_the_last_message_that_was_worse_off(samples: Samples) -> None:
    assert measured(samples.burst()).values["burst_recovery_s"] == 0.0
    found = measured(samples.burst(slow_after_s=3.0))
    assert found.values["burst_recovery_s"] == pytest.approx(2.9)
    assert len(found.evidence["burst_recovery_s"]) == 30


def test_replies_that_begin_after_their_deadline_are_named(samples: Samples) -> None:
    found = measured(samples.burst(late=2))
    assert found.values["replies_late"] == 2
    assert found.evidence["replies_late"] == ("t-b0: began after 2.1 s", "t-b1: began after 2.1 s")


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (Load(), "the load has no burst"),
        (Load(say_every_s=5.0, burst=Burst(users=1, at_s=10.0, for_s=4.0)), "shorter than one think time"),
        (Load(burst=Burst(users=1, at_s=0.5, for_s=4.0)), "nobody knows what the bots can do"),
    ],
    ids=["no burst", "too short", "too early"],
)
def test_what_cannot_be_said_is_missing(samples: Samples, load: Load, why: str) -> None:
    found = measured(samples.burst(), load)
    for name in NAMES:
        assert name not in found.values
        assert why in found.missing[name]


def test_a_burst_at_the_very_end_leaves_nobody_to_recover(samples: Samples) -> None:
    entries = [entry for entry in samples.burst() if entry.t < 20.0]
    assert "nobody sent anything after" in measured(entries).missing["burst_recovery_s"]


def test_without_any_finished_reply_nothing_is_late(samples: Samples) -> None:
    assert "finished no reply" in measured(samples.page()).missing["replies_late"]


def test_bots_of_several_processes_have_no_known_capacity(samples: Samples) -> None:
    (story,) = read(samples.burst()).stories
    scenario = story.scenario()
    found = measure(story, replace(scenario, service=replace(scenario.service, instances_max=2)))
    assert "several processes" in found.missing["burst_goodput_share"]
