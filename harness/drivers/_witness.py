"""Witness: what stood on the page, turned into facts.

In    reports of the page's messages as they change; the moments at which Enter was pressed
Out   Sent, GotAccepted, GotFirstToken, GotReply, GotRefusal, GotFailure, each once a message
Rule  a fact's time is when it stood on the page, not when the frame arrived
Why   a person waits for what they see
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from harness.core.events import GotAccepted, GotFailure, GotFirstToken, GotRefusal, GotReply, RunFact, Sent
from harness.core.texts import crc_of
from harness.drivers._page import Seen

SOURCE: Final = "client"
_FAILED: Final = ("failed", "interrupted")


@dataclass(slots=True)
class Told:
    """One message and what became of it."""

    bot: str
    intended: float
    pressed: float
    text: str
    cid: str = ""
    accepted: bool = False
    begun: bool = False
    outcome: str = ""
    """Empty while it is open; then "done", "refused" or "failed"."""
    code: str = ""
    chars: int = 0
    pieces: int = 0
    """How often the page showed more of the reply than before."""
    ended: float = 0.0
    known: asyncio.Event = field(default_factory=asyncio.Event)
    saved: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Witness:
    """Keeps the messages of one person."""

    def __init__(self, note: Callable[[float, str, RunFact], None]) -> None:
        """Hand each fact to ``note``; times are CLOCK_MONOTONIC."""
        self._note = note
        self._next: Told | None = None
        self.told: dict[str, Told] = {}

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many were sent, answered, refused or failed."""
        outcomes = [told.outcome for told in self.told.values()]
        return len(outcomes), outcomes.count("done"), outcomes.count("refused") + outcomes.count("failed")

    def answered(self, cid: str) -> bool:
        """Whether the whole reply to a message was seen."""
        return cid in self.told and self.told[cid].outcome == "done"

    def press(self, bot: str, intended: float, text: str) -> Told:
        """Enter is about to be pressed: the next unknown message on the page is this one."""
        self._next = Told(bot, intended, time.monotonic(), text)
        return self._next

    def saw(self, seen: Seen) -> None:
        """Hear of a message on the page."""
        now = time.monotonic()
        told = self.told.get(seen["cid"])
        if told is None:
            if self._next is None or seen["turn"]:
                return  # Another tab's, or from before.
            told, self._next = self._next, None
            told.cid = seen["cid"]
            self.told[told.cid] = told
            sent = Sent(seen["session"], told.bot, told.cid, told.intended, crc_of(told.text))
            self._note(told.pressed, SOURCE, sent)
            told.known.set()
        if told.outcome:
            return  # Shown again, after a reload.
        if seen["turn"]:
            self._reply(told, seen, now)
        else:
            self._message(told, seen, now)

    def _message(self, told: Told, seen: Seen, now: float) -> None:
        if seen["state"] == "accepted" and not told.accepted:
            told.accepted = True
            self._note(now, SOURCE, GotAccepted(told.cid))
            told.saved.set()
        elif seen["state"] == "failed":
            told.code = seen["code"]
            self._note(now, SOURCE, GotRefusal(told.cid, told.code, seen["retry_after_s"]))
            self._end(told, "refused", now)

    def _reply(self, told: Told, seen: Seen, now: float) -> None:
        told.chars, told.pieces = seen["chars"], seen["pieces"]
        if told.chars and not told.begun:
            told.begun = True
            self._note(now, SOURCE, GotFirstToken(told.cid))
        if seen["state"] in ("done", "cancelled"):
            self._note(now, SOURCE, GotReply(told.cid, told.chars, seen["intact"], told.pieces))
            self._end(told, "done", now)
        elif seen["state"] in _FAILED:
            told.code = seen["code"] or seen["state"]
            self._note(now, SOURCE, GotFailure(told.cid, told.code))
            self._end(told, "failed", now)

    def _end(self, told: Told, outcome: str, now: float) -> None:
        told.outcome, told.ended = outcome, now
        for event in (told.saved, told.over):
            event.set()
