"""A ladder that a chat could climb, for the tests of those who climb it."""

from __future__ import annotations

from typing import Final

from harness.core.ladder import Ladder, Rung

LADDER: Final = Ladder(
    (
        Rung("full", "the whole answer, piece by piece"),
        Rung("cached", "the newest answer to the same question, marked as such", 65.0, 75.0),
        Rung("reduced", "a smaller bot, or the answer in one piece", 50.0, 60.0),
        Rung("queued", "a ticket: place, expected time, and the answer later", 35.0, 50.0),
        Rung("notice", "a notice that says what is wrong and when to come back", 15.0, 30.0),
    )
)
