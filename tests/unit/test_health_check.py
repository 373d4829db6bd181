"""Levels, ages, rise and fall, mutes, and what an unknown counts for."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.services.health_check import (
    CHECKS_MAX,
    OUTPUT_CHARS_MAX,
    CheckConfig,
    HealthCheck,
    HealthMoved,
    Level,
    Observation,
)

NEEDED = CheckConfig(name="store", required=True, stale_after_s=10.0, fall=1, rise=1)
NICE = CheckConfig(name="lag", required=False, stale_after_s=5.0)


@pytest.mark.parametrize(
    ("needed", "nice", "whole"),
    [
        ("pass", "pass", "pass"),
        ("pass", "warn", "warn"),
        ("warn", "pass", "warn"),
        ("pass", "fail", "warn"),
        ("pass", None, "warn"),
        ("fail", "pass", "fail"),
        (None, "pass", "fail"),
        (None, None, "fail"),
    ],
)
def test_the_whole_is_what_the_worst_counts_for(needed: Level | None, nice: Level | None, whole: Level) -> None:
    health = HealthCheck((NEEDED, NICE))
    for name, level in (("store", needed), ("lag", nice)):
        if level is not None:
            health.note(name, 100.0, level)
    assert health.report(101.0).level == whole
    assert health.ready(101.0)[0] is (whole != "fail")


@pytest.mark.parametrize(("now", "level"), [(100.0, "pass"), (110.0, "pass"), (110.1, "unknown"), (99.0, "pass")])
def test_an_old_observation_is_unknown(now: float, level: Level) -> None:
    health = HealthCheck((NEEDED,))
    health.note("store", 100.0, "pass")
    (finding,) = health.report(now).findings
    assert finding.level == level


def test_the_newest_observation_counts() -> None:
    health = HealthCheck((NEEDED,))
    health.note("store", 1.0, "fail", output="disk full")
    assert health.ready(2.0) == (False, "store: disk full")
    health.note("store", 3.0, "pass")
    assert health.ready(4.0) == (True, "")


def test_what_is_stale_says_since_when() -> None:
    health = HealthCheck((NEEDED,))
    assert health.ready(0.0) == (False, "store: not observed yet")
    health.note("store", 0.0, "pass")
    assert health.ready(20.0) == (False, "store: last observed 20.0 s ago")


def test_the_document_holds_every_check_with_its_age() -> None:
    health = HealthCheck((NEEDED, NICE))
    health.note("store", 10.0, "pass")
    health.note("lag", 10.5, "warn", observed=300.0, unit="ms", output="late")
    document = health.report(11.0).as_json(release="1", service="chat")
    assert document == {
        "status": "warn",
        "version": "1",
        "releaseId": "1",
        "serviceId": "chat",
        "output": "lag: late",
        "checks": {
            "store": [{"status": "pass", "required": True, "ageSeconds": 1.0}],
            "lag": [
                {
                    "status": "warn",
                    "required": False,
                    "ageSeconds": 0.5,
                    "observedValue": 300.0,
                    "observedUnit": "ms",
                    "output": "late",
                }
            ],
        },
    }


def test_nothing_to_check_is_fine() -> None:
    assert HealthCheck(()).report(0.0).level == "pass"


# --- Rise and fall ----------------------------------------------------------------------------------------------------
LETTERS: dict[str, Level] = {"p": "pass", "w": "warn", "f": "fail", "u": "unknown"}


def play(health: HealthCheck, notes: str, *, every_s: float = 1.0) -> str:
    """Note one letter a second; the level after each."""
    levels = ""
    for number, letter in enumerate(notes):
        now = number * every_s
        health.note("x", now, LETTERS[letter])
        (finding,) = health.report(now).findings
        levels += finding.level[0]
    return levels


def one(**changes: Any) -> HealthCheck:
    """One check that falls after three and rises after two."""
    return HealthCheck((CheckConfig(**{"name": "x", "required": True, "stale_after_s": 100.0, **changes}),))


@pytest.mark.parametrize(
    ("notes", "levels"),
    [
        pytest.param("f", "f", id="the first one is believed at once"),
        pytest.param("pffp", "pppp", id="two failures are forgiven"),
        pytest.param("pfffp", "pppff", id="three are not, and one success does not heal"),
        pytest.param("fpp", "ffp", id="two successes heal"),
        pytest.param("fpfpp", "ffffp", id="and have to come in a row"),
        pytest.param("pwff", "pppw", id="three agree on the mildest of them"),
        pytest.param("puuu", "pppu", id="not to be told is not to be well"),
        pytest.param("puuup", "pppup", id="after unknown the first one is believed"),
        pytest.param("fwp", "ffw", id="two agree on the worse of them"),
        pytest.param("pfpfpfpf", "pppppppp", id="what trembles stays"),
        pytest.param("wpfp", "wwww", id="a failure breaks a row of successes"),
        pytest.param("wfpff", "wwwww", id="a success breaks a row of failures"),
        pytest.param("pfffwppp", "pppffwwp", id="the way up may have a step"),
    ],
)
def test_it_takes_three_to_fall_and_two_to_rise(notes: str, levels: str) -> None:
    assert play(one(), notes) == levels


def test_what_cannot_fail_by_chance_fails_at_once() -> None:
    assert play(one(fail_at_once=True), "pfwwwpp") == "pffwwwp"


def test_every_change_is_handed_out_with_its_evidence() -> None:
    health = one()
    (first,) = health.note("x", 0.0, "pass")
    assert first == HealthMoved(1, "x", True, "unknown", "pass", 1, Observation(0.0, "pass"))
    assert health.note("x", 1.0, "fail", observed=7.0, unit="ms", output="late") == ()
    assert health.note("x", 2.0, "fail") == ()
    (fell,) = health.note("x", 3.0, "fail", observed=9.0, unit="ms", output="later")
    assert (fell.seq, fell.before, fell.after, fell.observations) == (2, "pass", "fail", 3)
    assert fell.evidence == Observation(3.0, "fail", 9.0, "ms", "later")
    assert health.tick(103.0) == ()
    (silent,) = health.tick(103.1)
    assert (silent.seq, silent.before, silent.after, silent.observations) == (3, "fail", "unknown", 0)
    assert health.tick(200.0) == ()


def test_an_observation_after_a_silence_nobody_noticed_is_two_changes() -> None:
    health = one()
    health.note("x", 0.0, "pass")
    moves = health.note("x", 500.0, "fail")
    assert [(move.before, move.after) for move in moves] == [("pass", "unknown"), ("unknown", "fail")]


def test_time_that_goes_back_counts_as_standing_still() -> None:
    health = one()
    health.note("x", 50.0, "pass")
    health.note("x", 10.0, "pass")
    (finding,) = health.report(60.0).findings
    assert finding.age_s == 10.0


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from((False, True)),
    st.lists(st.tuples(st.sampled_from("pwfu"), st.sampled_from((*[1.0] * 19, 200.0))), max_size=80),
)
def test_it_agrees_with_a_model_that_remembers_everything(
    fall: int, rise: int, at_once: object, steps: list[tuple[str, float]]
) -> None:
    health, now, level, streak, seqs = one(fall=fall, rise=rise, fail_at_once=bool(at_once)), 0.0, "u", "", []
    order = "pwuf"
    for letter, wait_s in steps:
        now += wait_s
        if wait_s > 100.0:
            level, streak = "u", ""
        streak += letter
        worse = streak[-fall:] if len(streak) >= fall and all(map(_beyond(order, level), streak[-fall:])) else ""
        better = streak[-rise:] if len(streak) >= rise and all(map(_before(order, level), streak[-rise:])) else ""
        if level == "u" and letter != "u":
            level, streak = letter, ""
        elif at_once and letter == "f" != level:
            level, streak = "f", ""
        elif worse:
            level, streak = min(worse, key=order.index), ""
        elif better:
            level, streak = max(better, key=order.index), ""
        seqs += [move.seq for move in health.note("x", now, LETTERS[letter])]
        (finding,) = health.report(now).findings
        assert finding.level[0] == level
    assert seqs == list(range(1, len(seqs) + 1))


def _beyond(order: str, level: str) -> Callable[[str], bool]:
    return lambda letter: order.index(letter) > order.index(level)


def _before(order: str, level: str) -> Callable[[str], bool]:
    return lambda letter: order.index(letter) < order.index(level)


# --- Coming and going -------------------------------------------------------------------------------------------------
def test_checks_come_and_go_and_instances_share_a_name() -> None:
    health = HealthCheck((NEEDED,))
    for bot in ("a", "b"):
        health.announce(CheckConfig(name="bot:process", instance=bot, required=False, stale_after_s=5.0))
    assert health.keys() == ("store", "bot:process/a", "bot:process/b")
    health.note("store", 0.0, "pass")
    health.note("bot:process/a", 0.0, "pass")
    health.note("bot:process/b", 0.0, "fail", output="it crashed")
    document = health.report(0.0).as_json(release="1", service="chat")
    checks = document["checks"]
    assert isinstance(checks, dict)
    assert [entry["componentId"] for entry in checks["bot:process"]] == ["a", "b"]
    assert document["output"] == "bot:process/b: it crashed"
    assert document["status"] == "warn"
    health.withdraw("bot:process/b")
    assert health.report(0.0).level == "pass"
    with pytest.raises(KeyError, match="bot:process/b"):
        health.note("bot:process/b", 1.0, "pass")
    health.announce(CheckConfig(name="bot:process", instance="b", required=False, stale_after_s=5.0))
    assert health.report(0.0).findings[-1].level == "unknown"  # A new bot of an old name starts anew.


def test_the_number_of_checks_is_bounded() -> None:
    health = HealthCheck(
        CheckConfig(name="x", instance=str(number), required=False, stale_after_s=1.0) for number in range(CHECKS_MAX)
    )
    with pytest.raises(ValueError, match="limit"):
        health.announce(NEEDED)
    with pytest.raises(ValueError, match="already"):
        HealthCheck((NEEDED, NEEDED))


# --- Mutes, start, end ------------------------------------------------------------------------------------------------
def test_a_mute_ends_by_itself_or_when_it_gets_worse() -> None:
    health = one(fall=1, rise=1)
    health.note("x", 0.0, "warn", output="nearly full")
    health.mute("x", 0.0, ttl_s=50.0, author="Ada", reason="a new disk is on its way")
    report = health.report(10.0)
    assert (report.level, report.problems()) == ("pass", "")
    (entry,) = report.as_json(release="1", service="chat")["checks"]["x"]  # type: ignore[index]
    assert entry["status"] == "warn"
    assert entry["muted"] == {"by": "Ada", "reason": "a new disk is on its way"}
    assert health.report(50.0).level == "warn"
    health.note("x", 20.0, "fail")
    assert health.report(20.0).level == "fail"
    health.note("x", 21.0, "warn")
    assert health.report(21.0).level == "warn"  # It had ended: what got worse once is not muted again.


def test_a_muted_failure_does_not_make_it_unready_until_the_mute_is_over() -> None:
    health = one(fall=1, rise=1)
    health.note("x", 0.0, "fail")
    health.mute("x", 0.0, ttl_s=50.0, author="Ada", reason="seen")
    assert health.ready(1.0)[0]
    health.tick(49.0)
    assert health.ready(49.0)[0]
    health.tick(50.0)
    assert not health.ready(50.0)[0]
    health.mute("x", 50.0, ttl_s=50.0, author="Ada", reason="seen")
    health.unmute("x")
    assert not health.ready(51.0)[0]


def test_what_is_muted_while_silent_is_muted_as_unknown() -> None:
    health = one()
    health.mute("x", 0.0, ttl_s=50.0, author="Ada", reason="not built yet")
    assert health.report(1.0).level == "pass"
    health.note("x", 1.0, "pass")
    health.note("x", 2.0, "fail")
    assert health.report(2.0).level == "pass"


@pytest.mark.parametrize(
    ("ttl_s", "author", "reason"),
    [(0.0, "Ada", "x"), (inf, "Ada", "x"), (nan, "Ada", "x"), (1.0, " ", "x"), (1.0, "A", "")],
)
def test_a_mute_that_nobody_answers_for_is_refused(ttl_s: float, author: str, reason: str) -> None:
    health = one()
    with pytest.raises(ValueError, match="mute"):
        health.mute("x", 0.0, ttl_s=ttl_s, author=author, reason=reason)
    assert health.report(0.0).findings[0].mute is None


def test_the_start_is_over_once_and_for_all() -> None:
    health = one(fall=1)
    assert health.startup(0.0) == (False, "x: not observed yet")
    health.note("x", 0.0, "pass")  # Nobody asks at this moment.
    health.note("x", 1.0, "fail")
    assert health.startup(1.0) == (True, "")
    assert not health.ready(1.0)[0]


def test_who_is_about_to_end_is_not_ready_again() -> None:
    health = one()
    health.note("x", 0.0, "pass")
    health.drain("asked to end")
    assert health.ready(0.0) == (False, "asked to end")
    health.drain("")
    assert health.ready(0.0) == (False, "the service is ending")


# --- What cannot be ---------------------------------------------------------------------------------------------------
def test_bad_observations_are_refused_and_change_nothing() -> None:
    health = one()
    health.note("x", 0.0, "pass")
    for call, kind, says in (
        (lambda: health.note("y", 0.0, "pass"), KeyError, "no check 'y'"),
        (lambda: health.note("x", nan, "fail"), ValueError, "finite"),
        (lambda: health.note("x", 1.0, "bad"), ValueError, "one of pass, warn"),  # type: ignore[arg-type]
        (lambda: health.withdraw("y"), KeyError, "announce it first"),
        (lambda: health.unmute("y"), KeyError, "announce it first"),
    ):
        with pytest.raises(kind, match=says):
            call()
    (finding,) = health.report(5.0).findings
    assert (finding.level, finding.age_s) == ("pass", 5.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "name"),
        ({"stale_after_s": 0.0}, "stale_after_s"),
        ({"stale_after_s": inf}, "stale_after_s"),
        ({"fall": 0}, "fall"),
        ({"rise": 0}, "rise"),
    ],
)
def test_an_impossible_check_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        one(**changes)


def test_what_is_said_is_bounded() -> None:
    health = one()
    health.note("x", 0.0, "fail", output="x" * 10_000)
    assert len(health.report(0.0).findings[0].output) == OUTPUT_CHARS_MAX
