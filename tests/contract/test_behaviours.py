"""The contract of every behaviour in fake_bots/behaviours, the one that you are about to add included."""

from __future__ import annotations

import ast
import inspect
import random
import re
import sys
from dataclasses import MISSING, FrozenInstanceError, fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fake_bots import Behaviour, Die, Fail, Hang, Heard, Keep, Raw, Say, Step, Wait, behaviours, dice, manual
from harness import plugins
from harness.errors import ScenarioError

NAMES = plugins.names(behaviours)
FOLDER = Path(behaviours.__path__[0])
PAGE = FOLDER.parents[1] / "docs" / "reference" / "fake-bots.md"
IMPURE = {"time", "asyncio", "datetime", "logging", "os", "pathlib", "socket", "subprocess", "threading"}
STEPS_MAX = 10_000
MESSAGES = [
    Heard(text, session, f"t{nth}", nth)
    for nth, (text, session) in enumerate(
        [
            ("hello", "s1"),
            ("hello", "s2"),
            ("how are you today", "s1"),
            ("", "s1"),
            ("  two  spaces\nand a line ", "s3"),
            ("\N{GRINNING FACE} \ud800 \x00", "s2"),
            ("x" * 5_000, "s2"),
            ("word " * 1_000, "s1"),
        ],
        start=1,
    )
]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cls(name: str) -> Any:
    return plugins.load(behaviours, name)


@pytest.fixture
def behaviour(name: str) -> Behaviour:
    built: Behaviour = plugins.build(behaviours, name, {})
    return built


def play(behaviour: Behaviour, message: Heard, seed: int = 7) -> list[Step]:
    return list(islice(behaviour.hear(message, dice(seed, message)), STEPS_MAX))


def test_the_issue_has_its_bots() -> None:
    assert {"echo", "slow", "flaky", "crash", "hang", "leaky"} <= set(NAMES)


def test_it_is_a_frozen_dataclass_with_slots(cls: Any, behaviour: Any) -> None:
    assert is_dataclass(cls)
    assert "__slots__" in vars(cls)
    for field in fields(cls):
        with pytest.raises(FrozenInstanceError):
            setattr(behaviour, field.name, None)


def test_it_has_a_manual_page(cls: Any) -> None:
    headline = manual.headline(cls)
    assert headline.endswith(".")
    assert len(headline) < 110


def test_every_option_has_type_default_and_words(cls: Any) -> None:
    for option in manual.options(cls):
        assert option.type in manual.TYPES, option.name
        assert option.words.endswith("."), f"{option.name} needs a text below the field"
        assert option.name not in ("seed", "help")
    for field in fields(cls):
        assert field.default is not MISSING, field.name
        assert manual.type_of(field) == type(field.default).__name__
        assert field.kw_only, field.name


def test_the_reference_has_its_section(name: str, cls: Any) -> None:
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.startswith(f"{name}\n")]
    assert manual.headline(cls).removesuffix(".") in " ".join(section.split())
    assert f"python -m fake_bots {name}" in section, "needs an example"
    for option in manual.options(cls):
        row = f"| `{option.flag}` | {option.type} | `{manual.shown(option)}` | {option.words} |"
        assert row in section


def test_it_imports_nothing_that_acts(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    rooms = {module.partition(".")[0] for module in imported}
    assert not rooms & IMPURE
    assert rooms <= sys.stdlib_module_names | {"fake_bots", "harness"}
    allowed = ("fake_bots", "harness.core", "harness.plugins", "harness.errors")
    ours = {module for module in imported if module.partition(".")[0] in ("fake_bots", "harness")}
    assert all(module.startswith(allowed) for module in ours)


def test_it_says_steps_and_comes_to_an_end(behaviour: Behaviour) -> None:
    for message in MESSAGES:
        steps = play(behaviour, message)
        assert len(steps) < STEPS_MAX
        for step in steps:
            match step:
                case Say(text):
                    assert text, "an empty token says nothing"
                case Wait(seconds):
                    assert 0 <= seconds < 86_400
                case Fail(code, words):
                    assert re.fullmatch(r"[a-z][a-z0-9-]*", code)
                    assert words
                case Die(code):
                    assert 0 <= code <= 255
                case Keep(size_bytes):
                    assert size_bytes > 0
                case Raw(data):
                    assert data.endswith(b"\n"), "a line without its end would swallow the next one"
                case Hang():
                    pass
        assert not any(isinstance(step, Fail | Die | Hang) for step in steps[:-1]), "nothing comes after these"


def test_same_seed_same_reply_whatever_came_before(behaviour: Behaviour) -> None:
    in_order = {message.turn: play(behaviour, message) for message in MESSAGES}
    shuffled = random.Random(1).sample(MESSAGES, len(MESSAGES))
    assert {message.turn: play(behaviour, message) for message in shuffled} == in_order


def test_same_seed_same_reply_when_replies_interleave(behaviour: Behaviour) -> None:
    replies = {message.turn: behaviour.hear(message, dice(7, message)) for message in MESSAGES}
    heard: dict[str, list[Step]] = {turn: [] for turn in replies}
    order = random.Random(2)
    while replies:
        turn = order.choice(sorted(replies))
        step = next(replies[turn], None)
        if step is None:
            del replies[turn]
        else:
            heard[turn].append(step)
    assert heard == {message.turn: play(behaviour, message) for message in MESSAGES}


def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(ScenarioError, match="unknown field 'colour'"):
        plugins.build(behaviours, name, {"colour": "red"})


def test_manual_reads_the_source_of_the_class_it_shows(cls: Any) -> None:
    assert manual.headline(cls) in (inspect.getdoc(cls) or "")
    assert all(option.flag in manual.page("it", cls) for option in manual.options(cls))
