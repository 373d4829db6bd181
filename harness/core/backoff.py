"""Backoff: how long to wait before trying again.

In    how often it has failed so far, dice; a floor if somebody said "not before"; the room that is left
Out   seconds: the floor plus a throw from 0 to min(cap, base * 2**attempt), evenly
Rule  limits are set before the dice are thrown, never after
Why   whoever cuts off after the throw makes everybody wait for the same time once the cap is reached: the herd is back

Full jitter: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

DOUBLINGS_MAX: Final = 1_000
"""Two to the power of more is no float any more; every cap is reached long before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How fast waiting grows, and how far. Seconds."""

    base_s: float = 0.5
    """The longest wait after the first failure."""
    cap_s: float = 30.0
    """The longest wait ever, floor excepted."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("base_s", "cap_s"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0, got {value}")
        if self.cap_s < self.base_s:
            raise ValueError(f"cap_s must be at least base_s ({self.base_s:g}), got {self.cap_s:g}")

    def ceiling_s(self, attempt: int) -> float:
        """The longest wait after failure number ``attempt``, counted from 0, without a floor."""
        if attempt < 0:
            raise ValueError(f"attempt counts from 0, got {attempt}")
        return min(self.cap_s, self.base_s * 2.0 ** min(attempt, DOUBLINGS_MAX))

    def delay_s(
        self, attempt: int, dice: random.Random, *, floor_s: float = 0.0, room_s: float = math.inf
    ) -> float | None:
        """Throw for the wait after failure number ``attempt`` (from 0); None if ``room_s`` has no room for the floor.

        The wait is at least ``floor_s`` and, with little room, spread over the room that is left.
        """
        if not 0 <= floor_s < math.inf:
            raise ValueError(f"floor_s must be a number from 0, got {floor_s}")
        if math.isnan(room_s):
            raise ValueError("room_s must be a number, got nan")
        room_s -= floor_s
        if room_s <= 0:
            return None
        return floor_s + dice.random() * min(self.ceiling_s(attempt), room_s)
