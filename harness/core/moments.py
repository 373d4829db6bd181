"""Moments: times that only go forward, and waits that do not bring everybody back at once.

In    a moment that somebody claims it is now, in seconds; or a wait and a pair of dice
Out   a moment that is not before the last one; the wait, made longer by chance
Rule  a step back stands still (the last moment counts); a moment that is no finite number raises ValueError
Why   clocks of two threads may differ by a hair, which is no error; NaN in a machine would poison it for ever
"""

from __future__ import annotations

import math
import random
from typing import Final

SPREAD: Final = 0.5
"""By how much of itself a wait is made longer at most."""


BEGINNING: Final = -1e300
"""A moment before all others, and still a number: nothing that is no number is later."""


def forward(now: float, last: float) -> float:
    """Give ``now``, or ``last`` if that is later; seconds. ValueError for NaN and infinity."""
    if not math.isfinite(now):
        raise ValueError(f"now must be a finite number of seconds, got {now}: pass the reading of a monotonic clock")
    return max(now, last)


def spread(wait_s: float, rng: random.Random) -> float:
    """Make a wait longer by up to half of it, so that clients refused together do not return together.

    Only longer: before the wait is over, a return would be refused again.
    """
    return wait_s * (1.0 + SPREAD * rng.random())
