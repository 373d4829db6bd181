"""Levels, ages, and what an unknown counts for."""

from __future__ import annotations

import pytest

from harness.services.health_check import CheckConfig, HealthCheck, Level

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


def test_what_was_not_announced_cannot_be_noted() -> None:
    with pytest.raises(KeyError):
        HealthCheck(()).note("x", 0.0, "pass")
    with pytest.raises(ValueError, match="stale_after_s"):
        CheckConfig(name="x", required=False, stale_after_s=0.0)
