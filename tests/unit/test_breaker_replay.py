"""What a log of breakers tells, and what of it can be broken. (The model's test rebuilds thousands of lives.)"""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.core.breaker_replay import BREAKERS_MAX, Standing, replay


def line(number: int, bot: str = "b", **changed: Any) -> str:
    told = {
        "line": number,
        "mono": 5.0,
        "seq": number,
        "bot": bot,
        "from": "closed",
        "to": "open",
        "cause": "consecutive",
    }
    return json.dumps(told | {"cooldown_s": 30.0} | changed)


def test_the_last_move_of_each_breaker_counts() -> None:
    told = replay([line(1, "a"), line(2, "b", late_s=2.0, generation=2, attempt=2), line(3, "a", to="half-open")])
    assert told.breakers == {
        "b": Standing("open", 2, 3.0, 33.0, 2, "consecutive", "", 2, 1),
        "a": Standing("half-open", 3, 5.0, None, 0, "consecutive", "", 3, 1),
    }
    assert told.line == 3


def test_a_configuration_changes_nothing_else() -> None:
    told = replay([line(1), line(2, signal="configured", config_version=2, to="open", author="ada")])
    assert told.breakers["b"] == Standing("open", 1, 5.0, 35.0, 0, "consecutive", "", 2, 2)


def test_an_override_lasts_for_its_limit() -> None:
    told = replay([line(1, to="forced-open", cooldown_s=0.0, ttl_s=60.0, author="ada")])
    assert (told.breakers["b"].until, told.breakers["b"].author) == (65.0, "ada")


def test_an_anchor_says_it_all() -> None:
    anchor = {
        "line": 2,
        "record": "anchor",
        "why": "gap",
        "lost": 3,
        "breakers": {"c": {"state": "open", "until": 7.0}},
    }
    told = replay([line(1), json.dumps(anchor)])
    assert told.breakers == {"c": Standing("open", until=7.0)}
    assert (told.lost, told.missing) == (3, 0)


@pytest.mark.parametrize(
    "text",
    [
        '{"ts":"20',
        "7",
        "[]",
        '{"line":"x"}',
        '{"line":2,"seq":1}',
        '{"line":2,"bot":"b","seq":1,"mono":1.0}',
        '{"line":2,"record":"anchor","lost":0,"breakers":{"b":{"what":1}}}',
        '{"line":2,"record":"anchor","lost":0,"breakers":7}',
        '{"line":2,"record":"anchor","breakers":{}}',
    ],
)
def test_what_cannot_be_read_is_counted_and_changes_nothing(text: str) -> None:
    told = replay([line(1), text])
    assert (told.torn, told.line, told.breakers) == (1, 1, replay([line(1)]).breakers)


def test_missing_numbers_are_counted_and_empty_lines_are_none() -> None:
    told = replay([line(1), "", line(5), b"\n", line(6)])
    assert (told.missing, told.torn) == (3, 0)


def test_the_first_file_may_have_been_turned_away() -> None:
    assert replay([line(500)]).missing == 0


def test_the_breakers_that_are_kept_apart_are_bounded() -> None:
    told = replay(line(number, f"b{number}") for number in range(1, BREAKERS_MAX + 3))
    assert len(told.breakers) == BREAKERS_MAX
    assert "b1" not in told.breakers


def test_an_anchor_reads_back_as_it_was_written() -> None:
    told = replay([line(1, "a", author="ada"), line(2, "b", late_s=0.1)])
    again = replay([json.dumps({"line": 3, "record": "anchor", "lost": 0, "breakers": told.anchor()})])
    assert again.breakers == told.breakers
