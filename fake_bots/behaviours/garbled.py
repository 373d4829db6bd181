"""Garbled: a bot that breaks the protocol.

In    a message
Out   the echo of it; from message number ``after`` on, with a line in the middle that no service can read
Rule  the rest of the reply still comes, as from a program whose library printed something onto its output
Why   a service must name the defect, not fall over it, and lose nothing that was already stored
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from fake_bots import Heard, Raw, Say, Step, bounded, tokens

__all__ = ["Garbled"]

_LINES: Final[Mapping[str, bytes]] = {
    "utf-8": b'{"type":"delta","turn":"caf\xe9"}\n',
    "json": b"Warning: something printed this onto the wire\n",
    "object": b'["delta"]\n',
    "type": b'{"type":"sing","song":"la la la"}\n',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbled:
    """Answers like echo, but sends a line that breaks the protocol after the first token of the reply."""

    defect: str = "utf-8"
    """What is wrong with the line: "utf-8" (invalid bytes), "json" (no JSON), "object" (JSON, but no object) or "type"
    (an object of a type that nobody knows)."""
    after: int = 1
    """The first message that is answered so, counted from 1 in each process."""

    def __post_init__(self) -> None:
        """Refuse a defect that is not known here."""
        if self.defect not in _LINES:
            raise ValueError(f"defect: must be one of {', '.join(_LINES)}, got {self.defect!r}")
        bounded("after", self.after, 1, 1_000_000_000)

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:  # noqa: ARG002 - the contract hands dice to everybody
        """Answer, with a disturbance."""
        garbled = heard.nth >= self.after
        for token in tokens(f"You said: {heard.text}"):
            yield Say(token)
            if garbled:
                yield Raw(_LINES[self.defect])
                garbled = False
