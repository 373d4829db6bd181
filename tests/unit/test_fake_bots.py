"""Fake bots: dice, tokens and what each behaviour says, as tables."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_bots import Behaviour, Die, Fail, Hang, Heard, Keep, Raw, Say, Step, Wait, dice, tokens
from fake_bots.behaviours.crash import Crash
from fake_bots.behaviours.echo import Echo
from fake_bots.behaviours.flaky import Flaky
from fake_bots.behaviours.garbled import Garbled
from fake_bots.behaviours.hang import Hanging
from fake_bots.behaviours.leaky import Leaky
from fake_bots.behaviours.slow import Slow
from harness.core import wire
from harness.errors import WireError

SAID = [Say("You"), Say(" said:"), Say(" hi"), Say(" there")]
OVERLOADED = Fail("overloaded", "this bot fails 100% of its messages, and this is one of them")


def heard(text: str = "hi there", nth: int = 1, session: str = "s1") -> Heard:
    return Heard(text, session, f"t{nth}", nth)


def play(behaviour: Behaviour, message: Heard, seed: int = 7) -> list[Step]:
    return list(behaviour.hear(message, dice(seed, message)))


@pytest.mark.parametrize(
    ("behaviour", "nth", "steps"),
    [
        pytest.param(Echo(), 1, SAID, id="echo says it word by word"),
        pytest.param(Echo(prefix=""), 1, [Say("hi"), Say(" there")], id="echo without a prefix"),
        pytest.param(
            Slow(first_token_s=2, token_s=0.5),
            1,
            [Wait(2), SAID[0], Wait(0.5), SAID[1], Wait(0.5), SAID[2], Wait(0.5), SAID[3]],
            id="slow pauses before every token",
        ),
        pytest.param(Flaky(error_rate=0), 1, SAID, id="flaky that never fails"),
        pytest.param(Flaky(error_rate=1), 1, [OVERLOADED], id="flaky that always fails"),
        pytest.param(Crash(after=2), 1, SAID, id="crash before its time"),
        pytest.param(Crash(after=2), 2, [SAID[0], Die(1)], id="crash in the middle of the reply"),
        pytest.param(Crash(after=2, mid_reply=False, exit_code=9), 3, [Die(9)], id="crash without a word"),
        pytest.param(Hanging(after=2), 1, SAID, id="hang before its time"),
        pytest.param(Hanging(), 1, [Hang()], id="hang without a word"),
        pytest.param(Hanging(after=2, mid_reply=True), 5, [SAID[0], Hang()], id="hang in the middle of the reply"),
        pytest.param(Leaky(), 1, [Keep(4096), *SAID], id="leaky keeps 4 KiB"),
        pytest.param(Leaky(keep_bytes=0), 1, SAID, id="leaky that leaks nothing"),
        pytest.param(Garbled(after=2), 1, SAID, id="garbled before its time"),
        pytest.param(
            Garbled(defect="object"), 1, [SAID[0], Raw(b'["delta"]\n'), *SAID[1:]], id="garbled in the middle"
        ),
    ],
)
def test_steps(behaviour: Behaviour, nth: int, steps: list[Step]) -> None:
    assert play(behaviour, heard(nth=nth)) == steps


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Slow(first_token_s=-1), "first_token_s: must be from 0 to 3600, got -1"),
        (lambda: Slow(token_s=float("nan")), "token_s: must be from 0 to 3600, got nan"),
        (lambda: Slow(jitter_sigma=9), "jitter_sigma: must be from 0 to 3, got 9"),
        (lambda: Flaky(error_rate=1.5), "error_rate: must be from 0 to 1, got 1.5"),
        (lambda: Flaky(code="So Bad"), "code: must be 1 to 40 of a-z"),
        (lambda: Crash(after=0), "after: must be from 1"),
        (lambda: Crash(exit_code=256), "exit_code: must be from 0 to 255, got 256"),
        (lambda: Hanging(after=0), "after: must be from 1"),
        (lambda: Leaky(keep_bytes=-1), "keep_bytes: must be from 0"),
        (lambda: Garbled(after=0), "after: must be from 1"),
        (lambda: Garbled(defect="utf8"), "defect: must be one of utf-8, json, object, type, got 'utf8'"),
    ],
)
def test_wrong_option_is_named(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=r"^\w+: ") as caught:
        make()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("defect", "words"),
    [("utf-8", "not UTF-8"), ("json", "not JSON"), ("object", "not an object"), ("type", "unknown type 'sing'")],
)
def test_garbled_lines_are_refused_by_the_wire(defect: str, words: str) -> None:
    (raw,) = [step for step in play(Garbled(defect=defect), heard()) if isinstance(step, Raw)]
    with pytest.raises(WireError, match=words):
        wire.read_answer(raw.data)


@given(st.text())
def test_joined_tokens_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("one", ["one"]),
        ("one two", ["one", " two"]),
        ("  one\n\ntwo ", ["  one", "\n\ntwo", " "]),
        ("   ", ["   "]),
    ],
)
def test_tokens(text: str, pieces: list[str]) -> None:
    assert tokens(text) == pieces


def throws(seed: int, message: Heard) -> list[object]:
    rng = dice(seed, message)
    return [rng.random(), rng.gauss(0, 1), rng.randrange(1000), rng.choice("abc"), rng.getrandbits(8)]


def test_dice_depend_on_seed_session_and_text_only() -> None:
    first = throws(7, heard())
    assert throws(7, Heard("hi there", "s1", "another turn", 99)) == first
    others = [throws(8, heard()), throws(7, heard(session="s2")), throws(7, heard("hi their"))]
    assert first not in others
    assert len({str(other) for other in others}) == 3


@pytest.mark.parametrize("first_throw", ["random", "getrandbits"])
def test_late_seeding_gives_the_dice_of_early_seeding(first_throw: str) -> None:
    late = dice(7, heard())
    assert late._key is not None
    early = random.Random(late._key)
    if first_throw == "getrandbits":
        assert late.getrandbits(32) == early.getrandbits(32)
    assert [late.random() for _ in range(4)] == [early.random() for _ in range(4)]


def test_dice_are_the_same_in_another_process() -> None:
    program = (
        "from fake_bots import Heard, dice\n"
        "print(dice(7, Heard('h\\u00e9 \\ud83d\\ude00 \\ud800', 's1', 't1', 1)).random())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in (1, 2)
    }
    assert len(told) == 1


def test_the_share_of_failures_is_the_one_asked_for() -> None:
    bot = Flaky(error_rate=0.3)
    failed = sum(isinstance(play(bot, heard(f"message {n}"))[0], Fail) for n in range(10_000))
    # Drawn from a fixed seed, so this is one number for ever; 150 is more than three standard deviations.
    assert abs(failed - 3_000) < 150


def test_jitter_keeps_the_mean() -> None:
    bot = Slow(first_token_s=1, token_s=1, jitter_sigma=0.5)
    waits = [step.seconds for n in range(3_000) for step in play(bot, heard(f"m {n}")) if isinstance(step, Wait)]
    assert abs(sum(waits) / len(waits) - 1) < 0.03
    assert min(waits) < 0.5
    assert max(waits) > 2
