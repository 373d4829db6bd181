"""Flaky: a bot that fails now and then, and says so.

In    a message
Out   the echo of it; or, for a share of all messages, a failure with a code
Rule  which messages fail is drawn from their own dice: the same seed, session and text always meet the same fate
Why   a service must pass a bot's error on in clear words, and count it against the bot's circuit breaker
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from fake_bots import Fail, Heard, Say, Step, bounded, tokens

__all__ = ["Flaky"]

_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaky:
    """Fails a share of all messages with an error, and answers the others like echo.

    A message that failed fails again when the same text is sent again in the same session; another text has another
    fate. So a run can be repeated exactly, in whatever order its messages arrive.
    """

    error_rate: float = 0.2
    """Share of the messages that fail, from 0 (none) to 1 (all)."""
    code: str = "overloaded"
    """The error's code: lower-case letters, digits and "-"."""

    def __post_init__(self) -> None:
        """Refuse what is no share and no code."""
        bounded("error_rate", self.error_rate, 0, 1)
        if not _CODE.fullmatch(self.code):
            raise ValueError(f"code: must be 1 to 40 of a-z, 0-9 and '-', starting with a letter, got {self.code!r}")

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:
        """Throw the dice, then answer or fail."""
        if rng.random() < self.error_rate:
            yield Fail(self.code, f"this bot fails {self.error_rate:.0%} of its messages, and this is one of them")
            return
        for token in tokens(f"You said: {heard.text}"):
            yield Say(token)
