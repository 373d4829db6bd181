"""Recorder: what happened to each message, told to Locust and written into the journal.

In    facts, with the moment at which they were seen
Out   Locust's statistics (type WS); if a journal is wanted, one line a fact with the machine's monotonic time
Rule  every time is measured from when the user *meant* to send, so a stall that kept users from sending is not hidden
Why   Locust's page and our verdict tell of the same messages, and the journal is exact where Locust rounds
"""

from __future__ import annotations

from typing import Final, Protocol

from harness.adapters.journal import Book
from harness.core.events import (
    ClientBroke,
    GotAccepted,
    GotFailure,
    GotFirstToken,
    GotRefusal,
    GotReply,
    RunFact,
    Sent,
)
from harness.errors import AmbiguousError

TYPE: Final = "WS"
SOURCE: Final = "client"


class UnansweredError(AmbiguousError):
    """A message that got no whole reply; the text is the service's code, which Locust groups by."""


class Fire(Protocol):
    """Locust's ``events.request.fire``."""

    def __call__(
        self,
        *,
        request_type: str,
        name: str,
        response_time: float,
        response_length: int,
        exception: Exception | None,
        context: dict[str, str],
    ) -> None:
        """Count one request."""


class Recorder:
    """The record of one test."""

    def __init__(self, fire: Fire, book: Book | None) -> None:
        """Tell ``fire``, and write into ``book`` if there is one."""
        self._fire, self._book = fire, book
        self._intended: dict[str, float] = {}
        self.sent = 0
        self.faults = 0
        """What a service must never do: lose a connection, or give a reply that is not whole."""

    def send(self, now: float, fact: Sent) -> None:
        """A message goes out now."""
        self.sent += 1
        self._intended[fact.cid] = fact.intended
        self.note(now, fact)

    def note(self, now: float, fact: RunFact) -> None:
        """Take one fact."""
        if self._book is not None:
            self._book.write(now, SOURCE, fact)
        match fact:
            case GotFirstToken(cid):
                self._tell("first token", now, self._intended.get(cid))
            case GotReply(cid, chars, intact):
                self.faults += not intact
                self._tell("reply", now, self._intended.pop(cid, None), chars, "" if intact else "not intact")
            case GotAccepted(cid):
                self._tell("accepted", now, self._intended.get(cid))
            case GotRefusal(cid, code):
                self._tell("refused", now, self._intended.pop(cid, None), 0, code)
            case GotFailure(cid, code):
                self._tell("failed", now, self._intended.pop(cid, None), 0, code)
            case ClientBroke(_, why):
                self.faults += 1
                self._tell("connection", now, now, 0, why)
            case _:
                pass

    def leave_open(self, now: float, cid: str) -> None:
        """Nobody waits for this message any more: Locust counts a failure; the journal holds no outcome of it."""
        self._tell("reply", now, self._intended.pop(cid, None), 0, "no outcome when the user left")

    def close(self) -> None:
        """Close the journal."""
        if self._book is not None:
            self._book.close()
            self._book = None

    def _tell(self, name: str, now: float, since: float | None, chars: int = 0, error: str = "") -> None:
        if since is None:
            return  # An outcome that came twice, or after everybody had left: only the journal keeps it.
        self._fire(
            request_type=TYPE,
            name=name,
            response_time=(now - since) * 1000,
            response_length=chars,
            exception=UnansweredError(error) if error else None,
            context={},
        )
