"""The bot wire: whatever is written reads back, and whatever is broken is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.wire import (
    LINE_BYTES_MAX,
    Answer,
    Ask,
    Cancel,
    Done,
    GaveUp,
    Piece,
    Question,
    Ready,
    read_answer,
    read_question,
    write,
)
from harness.errors import WireError

TEXT = st.text(st.characters(codec=None), max_size=60)  # Lone surrogates too: a bot may cut a pair in two.


@given(st.one_of(st.builds(Ask, TEXT, TEXT, TEXT), st.builds(Cancel, TEXT)))
def test_questions_read_back(question: Question) -> None:
    line = write(question)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert read_question(line) == question


@given(
    st.one_of(
        st.just(Ready(1)),
        st.builds(Piece, TEXT, TEXT),
        st.builds(Done, TEXT),
        st.builds(GaveUp, TEXT, TEXT, TEXT),
    )
)
def test_answers_read_back(answer: Answer) -> None:
    assert read_answer(write(answer)) == answer


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"\xff\xfe", "not UTF-8 (byte 0xff at 0)"),
        (b"hello", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "list, not an object"),
        (b"{}", "unknown type None"),
        (b'{"type":"sing"}', "unknown type 'sing'"),
        (b'{"type":"delta","turn":"t"}', "'delta' needs 'text' as a string, got None"),
        (b'{"type":"delta","turn":7,"text":"x"}', "'delta' needs 'turn' as a string, got 7"),
        (b'{"type":"ready","v":2}', "version 2 of the bot wire, this service 1"),
        (b" " * (LINE_BYTES_MAX + 1), "1,048,577 bytes"),
    ],
)
def test_a_broken_answer_is_named(line: bytes, says: str) -> None:
    with pytest.raises(WireError) as caught:
        read_answer(line)
    assert says in str(caught.value)


def test_a_bot_names_what_it_does_not_know() -> None:
    with pytest.raises(WireError, match="unknown type 'delta' from the service"):
        read_question(b'{"type":"delta"}')


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(line: bytes) -> None:
    for read in (read_answer, read_question):
        try:
            read(line)
        except WireError as error:
            assert str(error)  # noqa: PT017 - most bytes are broken; nothing but WireError may come out
