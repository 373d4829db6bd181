"""Fake bots: the contract between a behaviour and whoever runs it.

In    what a behaviour hears (``Heard``) and dice that are thrown for this message alone (``dice``)
Out   steps: frozen values that say what happens next in the reply; the end of the iterator is the end of the reply,
      and nothing comes after Fail, Die or Hang
Rule  a behaviour is pure and keeps nothing between messages: no clock, no sleep, no file, no print; waiting is a step,
      and what must outlive a message (a leak) is a step too
Why   the same file answers in the simulation, where no time passes, and as a real process behind a pipe

    class Echo:                        fake_bots/behaviours/echo.py: a frozen dataclass, its fields are its options
        def hear(self, heard, rng):    for step in Echo().hear(heard, dice(seed, heard)): ...
            yield Say("hello")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Heard:
    """One message to a bot; ``nth`` counts the messages that this process has heard, from 1."""

    text: str
    session: str
    turn: str
    nth: int


@dataclass(frozen=True, slots=True)
class Say:
    """The next piece of the reply, as one token."""

    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing for so many seconds; other turns go on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """The bot gives up on this turn and says why; the reply is over."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Die:
    """The process ends at once with this exit code, and every other turn with it."""

    code: int


@dataclass(frozen=True, slots=True)
class Hang:
    """This turn never goes on; the others do."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The process keeps so many bytes, as small objects, until it ends: a leak."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes go onto the wire as they are; whoever sends a line brings its newline."""

    data: bytes


Step = Say | Wait | Fail | Die | Hang | Keep | Raw


class Behaviour(Protocol):
    """What a file in fake_bots/behaviours holds: a frozen dataclass with this method."""

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:
        """Answer one message, step by step."""
        ...


class Dice(Random):
    """Dice that are seeded when they are first thrown.

    Seeding takes 5 us, a tenth of what the simulation may spend on a message, and most replies throw no dice.
    """

    def __init__(self, key: int) -> None:
        """Keep the key; ``Random.__init__`` is left out on purpose, for it would seed."""
        self._key: int | None = key

    def random(self) -> float:
        """Throw a number from 0 up to, not including, 1."""
        if self._key is not None:
            self._sow(self._key)
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        """Throw ``k`` bits."""
        if self._key is not None:
            self._sow(self._key)
        return super().getrandbits(k)

    def _sow(self, key: int) -> None:
        self._key = None
        self.seed(key)


def dice(seed: int, heard: Heard) -> Dice:
    """Make the dice of one message: the same for the same seed, session and text, whatever came before it.

    A checksum, because ``hash`` of a text differs from process to process.
    """
    return Dice(crc32(f"{seed}\0{heard.session}\0{heard.text}".encode("utf-8", "surrogatepass")))


_TOKEN: Final = re.compile(r"\s*\S+|\s+")


def tokens(text: str) -> list[str]:
    """Cut a text into words, each with the spaces before it; joined they are the text again."""
    return _TOKEN.findall(text)


def bounded(name: str, value: float, low: float, high: float) -> None:
    """Refuse an option outside its range (and NaN) with a ValueError that names it."""
    if not low <= value <= high:
        raise ValueError(f"{name}: must be from {low:g} to {high:g}, got {value:g}")
