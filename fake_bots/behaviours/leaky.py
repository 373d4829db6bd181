"""Leaky: a bot that keeps a little of every message.

In    a message
Out   the echo of it, and memory that is never given back
Rule  the leak is a step: the behaviour itself stays pure, and the process does the keeping
Why   the positive control of the leak check: a check that does not find this bot proves nothing
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fake_bots import Heard, Keep, Say, Step, bounded, tokens

__all__ = ["Leaky"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaky:
    """Answers like echo, and keeps some memory of every message until its process ends.

    The memory is kept as small objects of 64 bytes, as a forgotten cache or log would, not as one block.
    """

    keep_bytes: int = 4096
    """Bytes that each message leaves behind; 0 leaks nothing."""

    def __post_init__(self) -> None:
        """Refuse a leak that would take the machine down at once."""
        bounded("keep_bytes", self.keep_bytes, 0, 1_000_000)

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:  # noqa: ARG002 - the contract hands dice to everybody
        """Keep something, then answer."""
        if self.keep_bytes:
            yield Keep(self.keep_bytes)
        for token in tokens(f"You said: {heard.text}"):
            yield Say(token)
