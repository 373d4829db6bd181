"""decode.py: a mapping into dataclasses, or the path of what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest

from harness.core.decode import decode, suggest
from harness.errors import ScenarioError


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 1
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    mode: Literal["slow", "fast"] = "slow"
    inner: Inner = field(default_factory=Inner)
    maybe: float | None = None
    either: int | str = 1
    parts: tuple[Inner, ...] = ()
    table: Mapping[str, int] = field(default_factory=dict)
    on: bool = False

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ScenarioError("name must not be bad")


def test_everything_fits() -> None:
    data = {
        "name": "x",
        "mode": "fast",
        "inner": {"size": 3, "share": 1},
        "maybe": None,
        "either": "word",
        "parts": [{"size": 2}, {}],
        "table": {"a": 1},
        "on": True,
    }
    assert decode(Outer, data) == Outer(
        name="x",
        mode="fast",
        inner=Inner(size=3, share=1.0),
        either="word",
        parts=(Inner(size=2), Inner()),
        table={"a": 1},
        on=True,
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param([], "$: must be a table, got []", id="a list is no table"),
        pytest.param({}, "$: needs the field 'name'", id="a field without default is missing"),
        pytest.param(
            {"name": "x", "inner": {"sise": 1}}, "$.inner: unknown field 'sise' (did you mean 'size'?)", id="typo"
        ),
        pytest.param(
            {"name": "x", "inner": {"zzz": 1}},
            "$.inner: unknown field 'zzz' (known: share, size)",
            id="nothing is near",
        ),
        pytest.param({"name": 1}, "$.name: must be a text, got 1", id="no number for a text"),
        pytest.param(
            {"name": "x", "inner": {"size": 1.5}}, "$.inner.size: must be a whole number, got 1.5", id="no half"
        ),
        pytest.param({"name": "x", "inner": {"size": True}}, "$.inner.size: must be a whole number", id="true is no 1"),
        pytest.param({"name": "x", "on": 1}, "$.on: must be true or false, got 1", id="1 is not true"),
        pytest.param({"name": "x", "mode": "fats"}, "$.mode: 'fats' is not one of slow, fast", id="one of"),
        pytest.param({"name": "x", "parts": [{}, {"size": ""}]}, "$.parts[1].size: must be", id="place in a list"),
        pytest.param({"name": "x", "parts": {}}, "$.parts: must be a list", id="a table is no list"),
        pytest.param({"name": "x", "table": {"a": "b"}}, "$.table.a: must be a whole number", id="value of a table"),
        pytest.param({"name": "x", "table": 3}, "$.table: must be a table", id="a number is no table"),
        pytest.param({"name": "x", "either": 1.5}, "$.either: must be a whole number or a text", id="neither"),
        pytest.param({"name": "x", "maybe": "1"}, "$.maybe: must be a number, got '1'", id="optional, but a number"),
        pytest.param({"name": "bad"}, "$: name must not be bad", id="the value's own check gets the path"),
    ],
)
def test_refusals_name_the_path(data: object, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        decode(Outer, data)
    assert str(caught.value).startswith(said)


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(ScenarioError) as caught:
        decode(Outer, {"name": ["word"] * 1000})
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("word", "said"),
    [
        pytest.param("usres", " (did you mean 'users'?)", id="near"),
        pytest.param("zzz", " (known: load, users)", id="far"),
    ],
)
def test_suggestions(word: str, said: str) -> None:
    assert suggest(word, ["users", "load"]) == said


def test_nothing_to_suggest() -> None:
    assert suggest("x", []) == ""
