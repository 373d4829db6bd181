"""Breaker replay: from the lines of ``circuit-breaker.jsonl`` to where every breaker stands.

In    the lines, in the order of the files (``.1`` first); torn ones may be among them
Out   a Standing for each breaker, and how much the file admits to have lost
Rule  each line says the whole of its move, an anchor says where all of them stand: from an anchor on it is exact
Why   a log that the state cannot be rebuilt from has left something out
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

ANCHOR: Final = "anchor"
CONFIGURED: Final = "configured"
BREAKERS_MAX: Final = 1_000
"""Breakers that a replay keeps apart; beyond that the one that has not moved for longest is forgotten."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a breaker stands after its last move; times in seconds of the monotonic clock."""

    state: str = "closed"
    generation: int = 0
    """How many changes of state there have been."""
    since: float = 0.0
    """When the state began; 0 before the first move."""
    until: float | None = None
    """When time ends it: the cooldown, or the limit of an override."""
    attempt: int = 0
    """How many times it has opened since it was closed last."""
    cause: str = ""
    author: str = ""
    seq: int = 0
    """The number of its last move."""
    config_version: int = 1


@dataclass(slots=True)
class Replay:
    """What the lines have told so far."""

    breakers: dict[str, Standing] = field(default_factory=dict)
    line: int = 0
    """The number of the last line."""
    lost: int = 0
    """Moves that the writer could not write, by its own account."""
    missing: int = 0
    """Numbers of lines that should be there and are not."""
    torn: int = 0
    """Lines that cannot be read."""

    def read(self, text: str | bytes) -> None:
        """Take the next line."""
        try:
            line = json.loads(text)
            number = int(line.get("line", self.line + 1))
            if line.get("record") == ANCHOR:
                breakers = {bot: Standing(**standing) for bot, standing in line["breakers"].items()}
                self.breakers, self.lost = breakers, self.lost + int(line["lost"])
            else:
                self.move(line["bot"], line)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.torn += 1
            return
        if self.line:
            self.missing += max(0, number - self.line - 1)
        self.line = number

    def move(self, bot: str, line: Mapping[str, Any]) -> None:
        """Take one move; ``line`` is the object of a line, or would have been."""
        standing = self.breakers.get(bot, Standing())
        if line.get("signal") == CONFIGURED:
            standing = replace(standing, seq=line["seq"], config_version=line["config_version"])
        else:
            since = line["mono"] - line.get("late_s", 0.0)
            lasts_s = line.get("ttl_s", 0.0) or (line["cooldown_s"] if line["to"] == "open" else 0.0)
            standing = Standing(
                state=line["to"],
                generation=line.get("generation", line["seq"]),
                since=since,
                until=since + lasts_s if lasts_s else None,
                attempt=line.get("attempt", 0),
                cause=line["cause"],
                author=line.get("author", ""),
                seq=line["seq"],
                config_version=line.get("config_version", 1),
            )
        self.breakers.pop(bot, None)  # To the end: the one that has not moved for longest stands first.
        self.breakers[bot] = standing
        if len(self.breakers) > BREAKERS_MAX:
            del self.breakers[next(iter(self.breakers))]

    def anchor(self) -> dict[str, dict[str, Any]]:
        """Say where all of them stand, for an anchor."""
        return {bot: asdict(standing) for bot, standing in self.breakers.items()}


def replay(lines: Iterable[str | bytes]) -> Replay:
    """Read lines into the state that they lead to; empty lines are left out."""
    told = Replay()
    for line in lines:
        if line.strip():
            told.read(line)
    return told
