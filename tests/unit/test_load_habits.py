from __future__ import annotations

import statistics

import pytest

from harness.load.habits import Habits


def habits(user: int = 0, *, seed: int = 7, mean_s: float = 2.0, words: int = 4) -> Habits:
    return Habits(seed=seed, user=user, think_s_mean=mean_s, words=words)


def test_same_seed_same_habits() -> None:
    first, again = habits(), habits()
    assert [first.start_s(), first.think_s(), first.message()] == [again.start_s(), again.think_s(), again.message()]


def test_users_begin_anywhere_in_one_cycle() -> None:
    starts = [habits(user).start_s() for user in range(500)]
    assert min(starts) >= 0.0
    assert max(starts) <= 2.0
    assert statistics.mean(starts) == pytest.approx(1.0, abs=0.1)
    assert len(set(starts)) == 500


def test_think_times_keep_their_mean_and_differ() -> None:
    dice = habits()
    thinks = [dice.think_s() for _ in range(20_000)]
    assert statistics.mean(thinks) == pytest.approx(2.0, rel=0.05)
    assert statistics.median(thinks) < 1.6
    assert max(thinks) <= 20.0


def test_no_think_time() -> None:
    dice = habits(mean_s=0.0)
    assert (dice.start_s(), dice.think_s()) == (0.0, 0.0)


@pytest.mark.parametrize("words", [1, 2, 30])
def test_every_message_is_unique_and_known_by_its_first_word(words: int) -> None:
    said = [dice.message() for dice in (habits(0, words=words), habits(1, words=words)) for _ in range(50)]
    assert len({cid for cid, _ in said}) == 100
    for cid, text in said:
        assert text.split()[0] == cid
        assert len(text.split()) == words
