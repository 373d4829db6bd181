"""The session log gives back exactly what was missed, or says that it cannot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.chat.session_log import SessionLog
from harness.core.events import Accepted, Begin, Delta


def frame(number: int) -> Delta:
    return Delta("t", number, "x")


@given(total=st.integers(0, 40), limit=st.integers(1, 20), acked=st.integers(0, 50), seen=st.integers(-3, 50))
def test_since_is_the_exact_rest_or_none(total: int, limit: int, acked: int, seen: int) -> None:
    log = SessionLog(limit, 10_000)
    for number in range(1, total + 1):
        assert log.append(frame(number)) == number
    log.trim(acked)
    oldest_kept = max(total - limit, min(acked, total))
    if oldest_kept <= seen <= total:
        assert log.since(seen) == tuple((number, frame(number)) for number in range(seen + 1, total + 1))
    else:
        assert log.since(seen) is None


def test_trimming_twice_is_harmless() -> None:
    log = SessionLog(5, 10_000)
    log.append(frame(1))
    log.append(frame(2))
    log.trim(1)
    log.trim(1)
    log.trim(0)
    assert log.since(1) == ((2, frame(2)),)
    assert log.since(0) is None


def test_long_texts_push_the_oldest_out() -> None:
    log = SessionLog(100, 10)
    for number in range(1, 5):
        log.append(Delta("t", number, "xxxx"))
    assert log.since(1) is None
    assert log.since(2) == ((3, Delta("t", 3, "xxxx")), (4, Delta("t", 4, "xxxx")))
    log.append(Begin("t", "c", "b"))
    log.trim(5)
    log.append(Delta("t", 6, "x" * 11))
    assert log.since(5) is None
    assert log.since(6) == ()


def test_an_acceptance_that_never_came_about_leaves_its_number() -> None:
    log = SessionLog(10, 100)
    log.append(Accepted("c1", "t1.q", "t1", "hello"))
    log.append(Accepted("c2", "t2.q", "t2", "hello"))
    log.append(Begin("t2", "c2", "b"))
    log.blank("t1")
    log.blank("nobody")
    missed = log.since(0)
    assert missed is not None
    assert [type(frame) for _, frame in missed] == [Delta, Accepted, Begin]
