from __future__ import annotations

import json
from typing import Any

import pytest

from harness.core.events import ClientBroke, GotAccepted, GotFailure, GotFirstToken, GotRefusal, GotReply, RunFact
from harness.core.texts import crc_of
from harness.load.conversation import ACK_EVERY, Conversation


def talk_of(*frames: dict[str, Any], cid: str = "u0-1") -> tuple[Conversation, list[RunFact]]:
    """A conversation with one message open, and the facts of these frames."""
    talk = Conversation("s1")
    talk.hello()
    read(talk, {"type": "welcome", "epoch": "e1", "head_seq": 0, "recovered": False, "messages": []})
    talk.say(cid, f"{cid} hello")
    return talk, read(talk, *frames)


def read(talk: Conversation, *frames: dict[str, Any]) -> list[RunFact]:
    return [fact for frame in frames if (fact := talk.read(json.dumps(frame).encode())) is not None]


ACCEPTED = {"type": "accepted", "seq": 1, "cid": "u0-1", "mid": "m", "turn": "t1", "text": "u0-1 hello"}
BEGIN = {"type": "begin", "seq": 2, "turn": "t1", "cid": "u0-1", "bot": "echo"}


def delta(seq: int, at: int, text: str) -> dict[str, Any]:
    return {"type": "delta", "seq": seq, "turn": "t1", "at": at, "text": text}


def end(seq: int, chars: int, state: str = "done") -> dict[str, Any]:
    return {"type": "end", "seq": seq, "turn": "t1", "cid": "u0-1", "state": state, "chars": chars}


REJECTED = {"type": "rejected", "cid": "u0-1", "code": "circuit-open", "message": "...", "retry_after_s": 2.5}


@pytest.mark.parametrize(
    ("frames", "facts"),
    [
        pytest.param(
            [ACCEPTED, BEGIN, delta(3, 0, "he"), delta(4, 2, "llo"), end(5, 5)],
            [GotAccepted("u0-1"), GotFirstToken("u0-1"), GotReply("u0-1", 5, pieces=2, crc=crc_of("hello"))],
            id="a whole reply",
        ),
        pytest.param(
            [ACCEPTED, BEGIN, delta(3, 0, "h\u00e9\U0001f600"), end(4, 3)],
            [
                GotAccepted("u0-1"),
                GotFirstToken("u0-1"),
                GotReply("u0-1", 3, pieces=1, crc=crc_of("h\u00e9\U0001f600")),
            ],
            id="characters are code points, not bytes",
        ),
        pytest.param(
            [ACCEPTED, BEGIN, end(3, 0)],
            [GotAccepted("u0-1"), GotReply("u0-1", 0, crc=crc_of(""))],
            id="an empty reply has no first token",
        ),
        pytest.param(
            [ACCEPTED, BEGIN, delta(3, 0, "he"), end(4, 5)],
            [GotAccepted("u0-1"), GotFirstToken("u0-1"), GotReply("u0-1", 2, intact=False, pieces=1, crc=crc_of("he"))],
            id="shorter than announced is not intact",
        ),
        pytest.param(
            [ACCEPTED, BEGIN, delta(3, 0, "he"), delta(4, 3, "llo"), end(5, 5)],
            [
                GotAccepted("u0-1"),
                GotFirstToken("u0-1"),
                GotReply("u0-1", 5, intact=False, pieces=2, crc=crc_of("hello")),
            ],
            id="a hole between two pieces is not intact",
        ),
        pytest.param(
            [ACCEPTED, BEGIN, delta(3, 0, "he"), delta(3, 0, "he"), end(4, 2)],
            [GotAccepted("u0-1"), GotFirstToken("u0-1"), GotReply("u0-1", 2, pieces=1, crc=crc_of("he"))],
            id="a frame that comes twice counts once",
        ),
        pytest.param(
            [ACCEPTED, delta(3, 0, "he")],
            [GotAccepted("u0-1"), ClientBroke("s1", "gap: frame 3 after 1")],
            id="a missing frame is a broken client",
        ),
        pytest.param(
            [ACCEPTED, delta(2, 0, "he"), end(3, 2)],
            [GotAccepted("u0-1"), GotReply("u0-1", 0, intact=False, crc=crc_of(""))],
            id="a reply that never began is not intact",
        ),
        pytest.param(
            [ACCEPTED, BEGIN, end(3, 0, "cancelled")],
            [GotAccepted("u0-1"), GotFailure("u0-1", "cancelled")],
            id="nobody asked for a cancelled reply",
        ),
        pytest.param(
            [ACCEPTED, {"type": "failed", "seq": 2, "turn": "t1", "cid": "u0-1", "code": "bot-gone", "message": "..."}],
            [GotAccepted("u0-1"), GotFailure("u0-1", "bot-gone")],
            id="a failure",
        ),
        pytest.param([REJECTED], [GotRefusal("u0-1", "circuit-open", 2.5)], id="a refusal"),
        pytest.param(
            [
                {**REJECTED, "code": "not-saved"},
                {"type": "failed", "seq": 1, "turn": "t1", "cid": "u0-1", "code": "not-saved", "message": "..."},
            ],
            [GotRefusal("u0-1", "not-saved", 2.5)],
            id="what was refused does not fail too",
        ),
        pytest.param(
            [{"type": "bot-status", "bot": "echo"}, {"type": "pong", "t": 1}, {"type": "later"}],
            [],
            id="other frames are let pass",
        ),
        pytest.param(
            [{"type": "error", "code": "too-big", "message": "no"}],
            [ClientBroke("s1", "error frame too-big: no")],
            id="an error frame",
        ),
    ],
)
def test_frames(frames: list[dict[str, Any]], facts: list[RunFact]) -> None:
    assert talk_of(*frames)[1] == facts


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b"{}", b'{"type":"rejected"}', b"\xff", b'{"type":"end","seq":1}']
)
def test_what_cannot_be_understood_is_a_broken_client(raw: bytes) -> None:
    talk, _ = talk_of()
    assert isinstance(talk.read(raw), ClientBroke)


def test_open_until_the_outcome() -> None:
    talk, _ = talk_of(ACCEPTED, BEGIN)
    assert talk.open == "u0-1"
    read(talk, delta(3, 0, "x"), end(4, 1))
    assert talk.open is None


def test_acks_every_so_many_frames_and_after_the_last() -> None:
    talk, _ = talk_of(ACCEPTED, BEGIN)
    assert talk.ack() is None
    read(talk, *(delta(3 + n, n, "x") for n in range(ACK_EVERY - 2)))
    assert json.loads(talk.ack() or b"") == {"type": "ack", "seq": ACK_EVERY}
    assert talk.ack(now=True) is None
    read(talk, end(ACK_EVERY + 1, ACK_EVERY - 2))
    assert json.loads(talk.ack(now=True) or b"") == {"type": "ack", "seq": ACK_EVERY + 1}


class TestResume:
    def test_hello_says_what_was_seen(self) -> None:
        talk, _ = talk_of(ACCEPTED, BEGIN)
        hello = json.loads(talk.hello())
        assert hello == {"type": "hello", "v": 1, "session": "s1", "epoch": "e1", "last_seq": 2}
        assert not talk.welcomed

    def test_a_recovered_session_goes_on_where_it_was(self) -> None:
        talk, _ = talk_of(ACCEPTED, BEGIN, delta(3, 0, "he"))
        talk.hello()
        welcome = {"type": "welcome", "epoch": "e1", "head_seq": 5, "recovered": True, "messages": None}
        assert read(talk, welcome, delta(4, 2, "llo"), end(5, 5)) == [
            GotReply("u0-1", 5, pieces=2, crc=crc_of("hello"))
        ]

    @pytest.mark.parametrize(("frames", "again"), [([], True), ([ACCEPTED], False), ([REJECTED], False)])
    def test_only_what_may_be_lost_is_said_again(self, frames: list[dict[str, Any]], *, again: bool) -> None:
        talk, _ = talk_of(*frames)
        talk.hello()
        read(talk, {"type": "welcome", "epoch": "e1", "head_seq": 1, "recovered": True, "messages": None})
        repeat = talk.repeat()
        assert (repeat is not None) == again
        if repeat is not None:
            assert json.loads(repeat) == {"type": "say", "cid": "u0-1", "text": "u0-1 hello"}

    def test_the_answer_to_a_repeated_message_has_no_seq(self) -> None:
        talk, _ = talk_of()
        answer = {key: value for key, value in ACCEPTED.items() if key != "seq"}
        assert read(talk, answer, answer) == [GotAccepted("u0-1")]

    @pytest.mark.parametrize(
        ("stored", "fact"),
        [
            pytest.param(
                {"role": "bot", "state": "done", "text": "hello"},
                GotReply("u0-1", 5, crc=crc_of("hello")),
                id="answered meanwhile",
            ),
            pytest.param(
                {"role": "bot", "state": "interrupted", "text": "he"},
                GotFailure("u0-1", "interrupted"),
                id="cut short by the restart",
            ),
            pytest.param({"role": "user", "state": "accepted", "text": "u0-1 hello"}, None, id="saved, not answered"),
            pytest.param({"role": "bot", "state": "done", "text": "x", "cid": "u0-0"}, None, id="another message"),
        ],
    )
    def test_after_a_restart_the_store_tells(self, stored: dict[str, Any], fact: RunFact | None) -> None:
        talk, _ = talk_of(ACCEPTED, BEGIN)
        talk.hello()
        message = {"mid": "t1", "cid": "u0-1", "error": "", "at": 0.0, **stored}
        welcome = {"type": "welcome", "epoch": "e2", "head_seq": 0, "recovered": False, "messages": [message]}
        assert read(talk, welcome) == ([] if fact is None else [fact])
        assert (talk.open is None) == (fact is not None)
        assert (talk.repeat() is None) == (fact is not None)

    def test_a_reply_that_still_streams_is_taken_up_in_the_middle(self) -> None:
        talk, _ = talk_of(ACCEPTED, BEGIN, delta(3, 0, "h"))
        talk.hello()
        message = {"mid": "t1", "cid": "u0-1", "role": "bot", "text": "hel", "state": "streaming", "error": ""}
        welcome = {"type": "welcome", "epoch": "e1", "head_seq": 9, "recovered": False, "messages": [message]}
        assert read(talk, welcome, delta(10, 3, "lo"), end(11, 5)) == [
            GotReply("u0-1", 5, pieces=1, crc=crc_of("hello"))
        ]
