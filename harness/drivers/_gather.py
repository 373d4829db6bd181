"""Gather: what is left to look at when a load or a visit is over.

In    the service; the sessions in which something was said; the journals of several witnesses
Out   TranscriptRead for each session; one journal, in the order of time, on the case's clock
Rule  a service that ran and then does not answer is what a test looks for: it has failed, it is not "down"
Why   wired and browser hand in the same evidence
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.adapters import journal
from harness.adapters.journal import Book
from harness.core.events import Entry, Sent, TranscriptRead
from harness.core.texts import crc_of
from harness.errors import HarnessError, TargetDownError
from harness.targets._api import Api

SOURCE = "store"


@contextmanager
def answering() -> Iterator[None]:
    """Around calls to a service that was there before: its silence is its failure (exit code 1)."""
    try:
        yield
    except TargetDownError as error:
        raise HarnessError(f"the service no longer answers: {error}") from error


async def read_transcripts(url: str, sessions: Iterable[str], entries: list[Entry]) -> None:
    """Add what the store holds of each session; the first one that cannot be read ends it with HarnessError."""
    api = Api(url)
    try:
        with answering():
            for session in sessions:
                read = transcript_of(session, await api.transcript(session))
                entries.append(Entry(time.monotonic(), SOURCE, read))
    finally:
        api.close()


def transcript_of(session: str, messages: Sequence[dict[str, Any]]) -> TranscriptRead:
    """Tell of stored messages by their checksums; a reply that was not completed is none."""
    asked = [message for message in messages if message["role"] == "user"]
    replies = [message for message in messages if message["role"] == "bot" and message["state"] == "done"]
    return TranscriptRead(
        session=session,
        cids=tuple(message["cid"] for message in asked),
        replies=tuple(message["cid"] for message in replies),
        crcs=tuple(crc_of(message["text"]) for message in asked),
        reply_crcs=tuple(crc_of(message["text"]) for message in replies),
    )


def write_down(book: Book, seen: Iterable[Entry], journals: Sequence[Path]) -> None:
    """Put what all witnesses saw into the case's journal; ``seen`` and ``journals`` have CLOCK_MONOTONIC times."""
    entries = list(seen)
    for path in journals:
        if path.exists():
            entries += journal.read(path)
    entries.sort(key=lambda entry: entry.t)  # Stable: what one witness saw at one instant keeps its order.
    book.write_all(_since(book.t0, entry) for entry in entries)
    for path in journals:
        path.unlink(missing_ok=True)


def _since(t0: float, entry: Entry) -> Entry:
    fact = entry.fact
    if isinstance(fact, Sent):
        fact = replace(fact, intended=round(fact.intended - t0, 6))
    return Entry(entry.t - t0, entry.source, fact)
