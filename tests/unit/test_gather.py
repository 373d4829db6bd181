"""Gather: what is read of the store, and what it means if it cannot be read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.adapters.journal import Book, read
from harness.core.events import BotSeen, Entry, GotAccepted, Sent, TranscriptRead
from harness.core.texts import crc_after, crc_of
from harness.drivers._gather import read_transcripts, transcript_of, write_down
from harness.drivers._history import history
from harness.errors import EXIT_FAILED, HarnessError

NOBODY = "http://127.0.0.1:9"


def message(cid: str, text: str, role: str = "user", state: str = "done") -> dict[str, Any]:
    return {"cid": cid, "text": text, "role": role, "state": state}


def test_only_whole_replies_are_replies_and_every_text_has_its_checksum() -> None:
    found = transcript_of(
        "s1",
        [
            message("m1", "one", state="accepted"),
            message("m1", "you said one", "bot"),
            message("m2", "\u00e9\U0001f600"),
            message("m2", "you sa", "bot", "interrupted"),
            message("m3", "three"),
            message("m3", "", "bot"),
        ],
    )
    assert found == TranscriptRead(
        "s1",
        ("m1", "m2", "m3"),
        ("m1", "m3"),
        (crc_of("one"), crc_of("\u00e9\U0001f600"), crc_of("three")),
        (crc_of("you said one"), 0),
    )


def test_a_service_that_no_longer_answers_has_failed_and_is_not_down() -> None:
    with pytest.raises(HarnessError, match=r"the service no longer answers: GET http:..127\.0\.0\.1:9") as raised:
        asyncio.run(read_transcripts(NOBODY, ["s1"], []))
    assert raised.value.exit_code == EXIT_FAILED


def test_what_all_witnesses_saw_is_one_journal_on_one_clock(tmp_path: Path) -> None:
    service = Book(tmp_path / "service.jsonl")
    service.write(100.5, "service", BotSeen("echo", "ready", 1))
    service.close()
    book = Book(tmp_path / "journal.jsonl", t0=100.0)
    seen = [Entry(101.0, "client", GotAccepted("m")), Entry(100.75, "client", Sent("s1", "echo", "m", 100.25))]
    write_down(book, seen, [tmp_path / "service.jsonl", tmp_path / "never-written.jsonl"])
    book.close()
    assert list(read(tmp_path / "journal.jsonl")) == [
        Entry(0.5, "service", BotSeen("echo", "ready", 1)),
        Entry(0.75, "client", Sent("s1", "echo", "m", 0.25)),
        Entry(1.0, "client", GotAccepted("m")),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]


@pytest.mark.parametrize(
    ("prefix", "text"), [("", ""), ("You said: ", ""), ("", "word"), ("Gr\u00fc\u00dfe: ", "a b c")]
)
def test_an_echo_is_known_by_the_checksum_of_what_it_repeats(prefix: str, text: str) -> None:
    assert crc_after(prefix, crc_of(text), len(text)) == crc_of(prefix + text)
    assert crc_of(text, crc_of(prefix)) == crc_of(prefix + text)


STORED = [message("m1", "hello"), message("m1", "You said: hello", "bot"), message("m2", "x"), message("m2", "", "bot")]
SHOWN = {"m1": "You said: hello", "m2": ""}


@pytest.mark.parametrize(
    ("stored", "before", "texts", "why"),
    [
        pytest.param(STORED, SHOWN, SHOWN, "", id="all there; a reply may be empty, if it was"),
        pytest.param(
            STORED, {**SHOWN, "m2": "You said: x"}, SHOWN, "replies read otherwise than before: m2", id="emptied"
        ),
        pytest.param(STORED, SHOWN, {"m1": "You said: hello"}, "replies are missing: m2", id="not shown"),
        pytest.param(STORED[:3], SHOWN, SHOWN, "replies that were read are not stored: m2", id="not stored"),
        pytest.param(STORED, {}, {**SHOWN, "m1": "#"}, "replies read otherwise than they are stored: m1", id="garbage"),
        pytest.param(STORED, {}, {**SHOWN, "m1": ""}, "replies without their text: m1", id="text not shown"),
    ],
)
def test_the_past_must_be_shown_as_it_was(
    stored: list[dict[str, Any]], before: dict[str, str], texts: dict[str, str], why: str
) -> None:
    if not why:
        assert history(stored, before, ["m1", "m2"], texts) == "2 messages, 2 replies"
        return
    with pytest.raises(AssertionError, match=why):
        history(stored, before, ["m1", "m2"], texts)


def test_the_past_must_be_whole() -> None:
    with pytest.raises(AssertionError, match="the page shows 1 of the 2 stored messages"):
        history(STORED, SHOWN, ["m1"], SHOWN)
