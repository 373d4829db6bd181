"""Turns: many replies side by side, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from fake_bots import Behaviour, Die, Heard, Raw, Say, Step, Wait
from fake_bots.behaviours.crash import Crash
from fake_bots.behaviours.echo import Echo
from fake_bots.behaviours.flaky import Flaky
from fake_bots.behaviours.hang import Hanging
from fake_bots.behaviours.leaky import Leaky
from fake_bots.behaviours.slow import Slow
from fake_bots.turns import BATCH_BYTES, CRUMB_BYTES, TURNS_MAX, Turns
from harness.core.wire import LINE_BYTES_MAX, Answer, Ask, Cancel, Done, GaveUp, Piece, read_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """Never stops talking."""

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:  # noqa: ARG002
        while True:
            yield Say(heard.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """Plays the given steps."""

    steps: tuple[Step, ...]

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:  # noqa: ARG002
        yield from self.steps


def said(turns: Turns, now: float) -> list[Answer]:
    return [read_answer(line) for line in turns.speak(now).splitlines()]


def ask(turns: Turns, *names: str, now: float = 0.0, text: str = "hi") -> None:
    for name in names:
        assert turns.hear(Ask(name, f"s-{name}", text), now) == ""


def test_an_echo_is_over_at_once() -> None:
    turns = Turns(Echo(), 7)
    ask(turns, "t1")
    assert turns.wake_s(0.0) == 0.0
    assert said(turns, 0.0) == [Piece("t1", "You"), Piece("t1", " said:"), Piece("t1", " hi"), Done("t1")]
    assert turns.wake_s(0.0) is None
    assert len(turns) == 0


def test_pauses_of_many_turns_run_side_by_side() -> None:
    turns = Turns(Slow(first_token_s=1, token_s=0.5, prefix=""), 7)
    ask(turns, "t1", text="a b", now=10.0)
    assert said(turns, 10.0) == []
    ask(turns, "t2", text="c", now=10.25)
    assert said(turns, 10.25) == []
    assert turns.wake_s(10.25) == 0.75
    assert said(turns, 11.0) == [Piece("t1", "a")]
    assert said(turns, 11.25) == [Piece("t2", "c"), Done("t2")]
    assert turns.wake_s(11.25) == 0.25
    assert said(turns, 11.5) == [Piece("t1", " b"), Done("t1")]


def test_being_late_once_does_not_add_up() -> None:
    turns = Turns(Slow(first_token_s=1, token_s=1, prefix=""), 7)
    ask(turns, "t1", text="a b c")
    said(turns, 0.0)
    assert said(turns, 1.75) == [Piece("t1", "a")]
    assert turns.wake_s(1.75) == 0.25
    assert said(turns, 9.0) == [Piece("t1", " b"), Piece("t1", " c"), Done("t1")]


def test_turns_that_are_due_together_keep_their_order() -> None:
    turns = Turns(Slow(first_token_s=1, prefix=""), 7)
    names = [f"t{n}" for n in range(50)]
    ask(turns, *names, text="a")
    said(turns, 0.0)
    assert [piece.turn for piece in said(turns, 1.0) if isinstance(piece, Piece)] == names


def test_a_turn_that_hangs_holds_up_no_other() -> None:
    turns = Turns(Hanging(after=2), 7)
    ask(turns, "t1", "t2")
    assert Done("t1") in said(turns, 0.0)
    assert turns.wake_s(0.0) is None
    assert len(turns) == 1


def test_a_reply_may_be_empty() -> None:
    turns = Turns(Scripted(steps=()), 7)
    ask(turns, "t1")
    assert said(turns, 0.0) == [Done("t1")]


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Hanging(), id="hangs"),
        pytest.param(Slow(), id="waits"),
        pytest.param(Flood(), id="talks"),
        pytest.param(Echo(), id="is ready"),
    ],
)
def test_a_cancelled_turn_says_nothing_more(behaviour: Behaviour) -> None:
    turns = Turns(behaviour, 7)
    ask(turns, "t1", "t2")
    if not isinstance(behaviour, Echo):
        said(turns, 0.0)
    turns.hear(Cancel("t1"), 0.0)
    turns.hear(Cancel("t1"), 0.0)
    assert b'"t1"' not in turns.speak(60.0)
    turns.hear(Cancel("t2"), 60.0)
    assert said(turns, 60.0) == []
    assert turns.wake_s(60.0) is None
    assert len(turns) == 0


def test_talkers_share_the_pipe() -> None:
    turns = Turns(Flood(), 7)
    ask(turns, "t1", "t2", "t3")
    lines = turns.speak(0.0)
    assert BATCH_BYTES <= len(lines) < 2 * BATCH_BYTES
    shares = [lines.count(f'"turn":"{name}"'.encode()) for name in ("t1", "t2", "t3")]
    assert min(shares) > max(shares) / 2
    assert turns.wake_s(0.0) == 0.0


def test_a_failure_is_passed_on() -> None:
    turns = Turns(Flaky(error_rate=1, code="quota"), 7)
    ask(turns, "t1")
    (answer,) = said(turns, 0.0)
    assert isinstance(answer, GaveUp)
    assert (answer.turn, answer.code) == ("t1", "quota")
    assert len(turns) == 0


def test_death_ends_everything_but_what_was_said() -> None:
    turns = Turns(Crash(after=2, exit_code=9), 7)
    ask(turns, "t1", "t2", "t3")
    answers = said(turns, 0.0)
    assert Done("t1") in answers
    assert answers[-1] == Piece("t2", "You")
    assert turns.died == 9
    assert said(turns, 1.0) == []


def test_a_leak_is_kept_as_small_objects() -> None:
    turns = Turns(Leaky(keep_bytes=1000), 7)
    ask(turns, "t1", "t2")
    said(turns, 0.0)
    assert [len(crumbs) for crumbs in turns._kept] == [16, 16]
    assert all(crumb.__sizeof__() == CRUMB_BYTES for crumbs in turns._kept for crumb in crumbs)
    assert len({id(crumb) for crumbs in turns._kept for crumb in crumbs}) == 32


def test_raw_bytes_pass_as_they_are() -> None:
    turns = Turns(Scripted(steps=(Raw(b"\xff\n"),)), 7)
    ask(turns, "t1")
    assert turns.speak(0.0).startswith(b"\xff\n")


def test_a_turn_that_is_asked_twice_goes_on_once() -> None:
    turns = Turns(Hanging(mid_reply=True), 7)
    ask(turns, "t1")
    assert "asked before" in turns.hear(Ask("t1", "s1", "again"), 0.0)
    assert said(turns, 0.0) == [Piece("t1", "You")]


def test_too_many_turns_are_refused_in_clear_words() -> None:
    turns = Turns(Hanging(), 7)
    ask(turns, *(f"t{n}" for n in range(TURNS_MAX + 1)))
    (answer,) = said(turns, 0.0)
    assert isinstance(answer, GaveUp)
    assert (answer.turn, answer.code) == (f"t{TURNS_MAX}", "overloaded")


@pytest.mark.parametrize("letter", ["a", "\N{GRINNING FACE}", "\x00"])
def test_a_long_piece_fits_into_the_wire(letter: str) -> None:
    turns = Turns(Scripted(steps=(Say(letter * 100_000),)), 7)
    ask(turns, "t1")
    lines = turns.speak(0.0).splitlines()
    assert all(len(line) <= LINE_BYTES_MAX for line in lines)
    pieces = [read_answer(line) for line in lines]
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == letter * 100_000


def test_messages_are_counted_in_the_order_they_are_heard() -> None:
    turns = Turns(Crash(after=3, mid_reply=False), 7)
    ask(turns, "t1", "t2")
    said(turns, 0.0)
    assert turns.died is None
    ask(turns, "t3")
    said(turns, 0.0)
    assert turns.died == 1


def test_a_wait_of_nothing_is_no_pause() -> None:
    turns = Turns(Scripted(steps=(Wait(0.0), Say("a"), Die(0))), 7)
    ask(turns, "t1")
    assert said(turns, 5.0) == [Piece("t1", "a")]
    assert turns.died == 0
