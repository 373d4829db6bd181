"""Ladder: the rungs of graceful degradation, from everything to a notice, as data.

In    rungs with the levels (0 to 100) at which they are entered and left; a level; the rung so far
Out   the rung that fits; the next rung below one that did not hold
Rule  a rung is entered below one level and left from a higher one on: in between, nothing moves
Why   "it works a bit worse" is better than "it does not work", and flapping is worse than both
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

LEVEL_MAX: Final = 100.0


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to answer; ``gives`` says in a sentence what users get on it."""

    name: str
    gives: str
    enter_below: float = 0.0
    """Taken when the level falls below this; 0: only when the rungs above have failed."""
    leave_from: float = 0.0
    """Left for the rung above when the level is at least this."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not self.name:
            raise ValueError("a rung needs a name")
        if not 0 <= self.enter_below <= self.leave_from <= LEVEL_MAX:
            said = f"enter_below {self.enter_below:g}, leave_from {self.leave_from:g}"
            raise ValueError(f"rung {self.name!r}: levels go 0 <= enter_below <= leave_from <= 100, got {said}")


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rungs from the top down; the first is the full service, the last must always hold."""

    rungs: tuple[Rung, ...]

    def __post_init__(self) -> None:
        """Refuse a ladder on which a lower rung would be taken earlier than a higher one."""
        if not self.rungs:
            raise ValueError("a ladder needs at least one rung")
        names = [rung.name for rung in self.rungs]
        if len(set(names)) != len(names):
            raise ValueError(f"two rungs have the same name: {', '.join(names)}")
        for upper, lower in zip(self.rungs[1:], self.rungs[2:], strict=False):
            if lower.enter_below > upper.enter_below or lower.leave_from > upper.leave_from:
                raise ValueError(f"rung {lower.name!r} lies below {upper.name!r}: its levels must not be higher")

    def rung(self, level: float, before: int = 0) -> int:
        """Say which rung fits a level (0 to 100), coming from rung number ``before``."""
        if not math.isfinite(level):
            raise ValueError(f"level must be a number from 0 to 100, got {level}")
        at = self._known(before)
        while at + 1 < len(self.rungs) and level < self.rungs[at + 1].enter_below:
            at += 1
        while at > 0 and level >= self.rungs[at].leave_from:
            at -= 1
        return at

    def below(self, rung: int) -> Rung | None:
        """Give the next rung down; None below the last."""
        return self.rungs[rung + 1] if self._known(rung) + 1 < len(self.rungs) else None

    def _known(self, rung: int) -> int:
        if not 0 <= rung < len(self.rungs):
            raise ValueError(f"there is no rung {rung}; this ladder has {len(self.rungs)}")
        return rung


BARE: Final = Ladder((Rung("full", "the whole answer, or a clear error"),))
"""No fallback: what cannot be done is refused."""
