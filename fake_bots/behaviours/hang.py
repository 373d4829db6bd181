"""Hang: a bot that falls silent, though its process lives.

In    a message
Out   the echo of it; from message number ``after`` on, nothing, for ever
Rule  only the turn hangs: the process still reads its pipe, hears a cancel and ends with its input
Why   a silent bot is the one failure that nothing reports; only a deadline of the service finds it
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fake_bots import Hang, Heard, Say, Step, bounded, tokens

__all__ = ["Hanging"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hanging:
    """Answers like echo, until it stops answering from the n-th message on."""

    after: int = 1
    """The first message that gets no answer, counted from 1 in each process."""
    mid_reply: bool = False
    """Whether it falls silent after the first token of the reply (true) or says nothing at all (false)."""

    def __post_init__(self) -> None:
        """Refuse a message that never comes."""
        bounded("after", self.after, 1, 1_000_000_000)

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:  # noqa: ARG002 - the contract hands dice to everybody
        """Answer, or never."""
        silent = heard.nth >= self.after
        if silent and not self.mid_reply:
            yield Hang()
            return
        for token in tokens(f"You said: {heard.text}"):
            yield Say(token)
            if silent:
                yield Hang()
                return
