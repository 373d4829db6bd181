"""Crash: a bot whose process dies.

In    a message
Out   the echo of it; from message number ``after`` on, the end of the process
Rule  counts the messages of this process, so a bot that was started again works again for a while
Why   a service must notice, fail what was under way in clear words, start the bot again, and lose nothing
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fake_bots import Die, Heard, Say, Step, bounded, tokens

__all__ = ["Crash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """Answers like echo, until its process dies on the n-th message that it hears.

    Every other turn that is under way dies with it.
    """

    after: int = 3
    """The message that kills it, counted from 1 in each process."""
    mid_reply: bool = True
    """Whether it dies after the first token of the reply (true) or without a word (false)."""
    exit_code: int = 1
    """What the process ends with."""

    def __post_init__(self) -> None:
        """Refuse a message that never comes and a code that no process can have."""
        bounded("after", self.after, 1, 1_000_000_000)
        bounded("exit_code", self.exit_code, 0, 255)

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:  # noqa: ARG002 - the contract hands dice to everybody
        """Answer, or die."""
        doomed = heard.nth >= self.after
        if doomed and not self.mid_reply:
            yield Die(self.exit_code)
            return
        for token in tokens(f"You said: {heard.text}"):
            yield Say(token)
            if doomed:
                yield Die(self.exit_code)
                return
