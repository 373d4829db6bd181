"""Echo: the well-behaved bot.

In    a message
Out   "You said: " and the message, word by word, at once
Rule  never waits, never fails
Why   whatever goes wrong in a run with this bot is not the bot's fault
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fake_bots import Heard, Say, Step, tokens

__all__ = ["Echo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """Repeats what it hears, word by word and at once.

    The joined reply is exactly ``prefix`` and the message, so that a client can check every character of it.
    """

    prefix: str = "You said: "
    """What the reply begins with; may be empty."""

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:  # noqa: ARG002 - the contract hands dice to everybody
        """Say it again."""
        for token in tokens(self.prefix + heard.text):
            yield Say(token)
