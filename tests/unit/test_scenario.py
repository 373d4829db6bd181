"""scenario.py and settings.py: what contradicts itself is refused before anything starts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from harness.core.decode import decode
from harness.core.scenario import Bot, Scenario, folder_of
from harness.core.settings import Settings
from harness.errors import ScenarioError

PLAIN: dict[str, Any] = {"name": "n", "why": "w", "bots": [{"behaviour": "echo"}]}


def test_the_smallest_scenario() -> None:
    scenario = decode(Scenario, PLAIN)
    assert scenario.distances == ("simulated", "wired", "browser")
    assert scenario.bot_names() == ("echo",)


def test_a_scenario_survives_its_journal() -> None:
    scenario = decode(
        Scenario,
        {
            **PLAIN,
            "faults": [{"kind": "crash-loop", "bot": "echo", "at_s": 1, "for_s": 2}],
            "memory": {"cycles": 8},
            "service": {"queue_max": 5},
            "expect": {"messages_lost": {"max": 0}},
        },
    )
    assert decode(Scenario, asdict(scenario)) == scenario


@pytest.mark.parametrize(
    ("bot", "names"),
    [
        pytest.param(Bot(behaviour="echo"), ("echo",), id="the behaviour's name"),
        pytest.param(Bot(behaviour="echo", name="anna"), ("anna",), id="its own name"),
        pytest.param(Bot(behaviour="echo", count=2), ("echo-1", "echo-2"), id="numbered"),
    ],
)
def test_names_of_bots(bot: Bot, names: tuple[str, ...]) -> None:
    assert bot.names() == names


def test_folders_of_cases_differ() -> None:
    names = ("a-b/c", "a/b-c", "a/b/c", "a-b-c", "a.b/c", "a/b.c", "a%2Eb/c", "a", "a-wired")
    folders = {folder_of(name, distance) for name in names for distance in ("wired", "browser")}
    assert len(folders) == 2 * len(names)
    assert all("/" not in folder for folder in folders)
    assert folder_of("smoke/chat", "wired") == "smoke.chat-wired"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"load": {"user": 3}}, "$.load: unknown field 'user' (did you mean 'users'?)", id="typo"),
        pytest.param({"load": {"users": 0}}, "$.load: users: must be from 1 to 10000, got 0", id="nobody"),
        pytest.param({"load": {"warm_up_s": 10}}, "$: load.warm_up_s: 10 s leaves nothing of 10 s", id="only warm-up"),
        pytest.param({"duration_s": 0}, "$: duration_s: must be from 0.1 to 86400, got 0", id="no time"),
        pytest.param({"why": " "}, "$: name and why must not be empty", id="no reason"),
        pytest.param({"distances": []}, "$: distances: name at least one", id="nowhere"),
        pytest.param({"distances": ["wire"]}, "$.distances[0]: 'wire' is not one of", id="unknown distance"),
        pytest.param(
            {"distances": ["wired", "wired"]}, "$: distances[1]: 'wired' is named twice", id="one distance twice"
        ),
        pytest.param({"seed": -5}, "$: seed: must be from 0 to 9223372036854775807, got -5", id="a seed below 0"),
        pytest.param({"seed": 2**63}, "$: seed: must be from 0 to", id="a huge seed"),
        pytest.param(
            {"bots": [{"behaviour": "echo", "name": "x" * 40, "count": 2}]},
            f"$.bots[0]: name: '{'x' * 40}-2' has 42 characters with its number, at most 40",
            id="a name that is too long with its number",
        ),
        pytest.param(
            {"bots": [{"behaviour": "echo", "name": "service"}], "memory": {}},
            "$: bots: a leak check calls the service itself 'service'",
            id="a bot with the name of the service",
        ),
        pytest.param({"expect": {"x": {"max": float("inf")}}}, "$.expect.x: max: must be a finite", id="no bound"),
        pytest.param({"expect": {"x": {"min": float("nan")}}}, "$.expect.x: min: must be a finite", id="no number"),
        pytest.param({"bots": []}, "$: bots: a scenario needs at least one bot", id="no bot"),
        pytest.param(
            {"bots": [{"behaviour": "echo"}, {"behaviour": "echo"}]}, "$: bots: two bots are called 'echo'", id="twins"
        ),
        pytest.param({"bots": [{"behaviour": "echo", "name": "No!"}]}, "$.bots[0]: name: 'No!' must be", id="bad name"),
        pytest.param(
            {"bots": [{"behaviour": "echo", "count": 99}]}, "$: bots: 99 bots, but service.bots_max", id="many"
        ),
        pytest.param(
            {"faults": [{"kind": "x", "bot": "anna", "at_s": 0, "for_s": 1}]},
            "$: faults[0].bot: no bot is called 'anna' (there are echo)",
            id="a fault on nobody",
        ),
        pytest.param(
            {"faults": [{"kind": "x", "bot": "echo", "at_s": 9, "for_s": 2}]},
            "$: faults[0]: ends after 11 s, but duration_s is 10",
            id="a fault that outlives the load",
        ),
        pytest.param(
            {"service": {"queue_max": 0}}, "$.service: queue_max must be a number above 0, got 0", id="limit 0"
        ),
        pytest.param({"memory": {"cycles": 6}}, "$.memory: cycles: must be from 7", id="too few to judge"),
        pytest.param({"expect": {"x": {}}}, "$.expect.x: needs min, max or both", id="a bound on nothing"),
        pytest.param({"expect": {"x": {"min": 2, "max": 1}}}, "$.expect.x: min 2.0 is above max 1.0", id="impossible"),
    ],
)
def test_refusals(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        decode(Scenario, {**PLAIN, **change})
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_settings_refuse_what_cannot_work(value: float) -> None:
    with pytest.raises(ScenarioError, match="breaker_cooldown_s must be a number above 0"):
        Settings(breaker_cooldown_s=value)


def test_no_limit_is_so_large_that_sums_or_documents_of_it_break() -> None:
    with pytest.raises(ScenarioError, match="answer_within_s must be at most 9007199254740992, got 1e"):
        Settings(answer_within_s=1e308)
    with pytest.raises(ScenarioError, match="backup_quota_bytes must be at most"):
        Settings(backup_quota_bytes=2**53 + 1)
    assert Settings(memory_bytes_max=2**53).memory_bytes_max == 2**53


def test_shares_and_growth_have_their_own_limits() -> None:
    with pytest.raises(ScenarioError, match="breaker_failure_rate is a share and must be at most 1"):
        Settings(breaker_failure_rate=1.5)
    with pytest.raises(ScenarioError, match="breaker_cooldown_growth must be at least 1"):
        Settings(breaker_cooldown_growth=0.5)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.6, 0.5), (0.5, 1.1)])
def test_water_marks_that_cannot_work_are_refused(low: float, high: float) -> None:
    with pytest.raises(ScenarioError, match="outbound_low_share must be below outbound_high_share"):
        Settings(outbound_low_share=low, outbound_high_share=high)
