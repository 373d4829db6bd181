"""Habits: what a user types, and how long it thinks.

In    the run's seed and the user's number
Out   a start within the first cycle, think times, texts that are each unique in the run
Rule  all dice come from the seed and the user's number, so no user's habits depend on another's
Why   users that begin together fire together for ever and measure their own crowd; think times that are all the same
      find the rhythm of a stall and miss it
"""

from __future__ import annotations

import math
import random
from typing import Final

SPREAD: Final = 0.8
"""Sigma of the log-normal think time: most are short, some are long, as people are."""
_CYCLES_MAX: Final = 10.0
_VOCABULARY: Final = (
    "amber anchor apple autumn basket beacon birch bottle breeze bridge candle canyon carbon cedar chalk circle "
    "clover cobalt copper coral cotton desert dragon ember engine falcon fabric feather fern flint forest garden "
    "ginger glacier granite harbour hazel honey island ivory jacket jasmine kettle ladder lagoon lantern lemon "
    "linen magnet maple marble meadow mirror morning needle nutmeg ocean olive orchard paper pebble pepper pillow "
    "planet pocket prairie quartz rabbit raven ribbon river rocket saddle saffron shadow silver spider summit "
    "temple thunder timber tulip tunnel valley velvet violet walnut willow window winter yellow zephyr"
)
_WORDS: Final = _VOCABULARY.split()


class Habits:
    """The dice of one user."""

    def __init__(self, *, seed: int, user: int, think_s_mean: float, words: int) -> None:
        """Throw nothing yet."""
        self._dice = random.Random(f"{seed}/user/{user}")
        self._user, self._think_s_mean, self._words = user, think_s_mean, words
        self._said = 0

    def start_s(self) -> float:
        """Seconds until the first message: anywhere in one cycle."""
        return self._dice.uniform(0.0, self._think_s_mean)

    def think_s(self) -> float:
        """Seconds between a reply and the next message: log-normal around the mean, at most ten times it."""
        if self._think_s_mean == 0:
            return 0.0
        centre = math.log(self._think_s_mean) - SPREAD**2 / 2  # The mean of a log-normal lies above its median.
        return min(self._dice.lognormvariate(centre, SPREAD), _CYCLES_MAX * self._think_s_mean)

    def message(self) -> tuple[str, str]:
        """Give the next ``cid`` and its text; the text begins with the cid, so wherever it turns up it is known."""
        self._said += 1
        cid = f"u{self._user}-{self._said}"
        return cid, " ".join((cid, *self._dice.choices(_WORDS, k=self._words - 1)))
