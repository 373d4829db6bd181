"""Ranges: refuse a number that cannot be meant, with its name and what it must be.

In    a name, a value, and what the value must be
Out   nothing, or one ValueError that names the cause
Rule  NaN is never inside a range; infinity only where it is said
Why   every config refuses the same nonsense in the same words
"""

from __future__ import annotations

import math


def above_zero(name: str, value: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a number above 0, got {value}")


def at_least(name: str, value: float, low: float) -> None:
    """Refuse what is not a finite number of at least ``low``."""
    if not low <= value < math.inf:
        raise ValueError(f"{name} must be a number of at least {low}, got {value}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Refuse what is not from ``low`` to ``high``, both included."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")


def whole(name: str, value: float, low: int) -> None:
    """Refuse what is not a whole number of at least ``low``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} must be a whole number of at least {low}, got {value!r}")
