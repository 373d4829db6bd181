"""Window: how many of the last calls were bad, at a price that does not depend on how many they are.

In    calls, one by one or good ones by the number; the time, for a window of time
Out   calls, failed, slow, bad (failed or slow), always up to date
Rule  O(1) for a call, amortised; memory is fixed when it is made; time never goes back (whoever calls sees to that)
Why   a breaker asks at every failure, and a sum over the window would cost more than the calls it guards
"""

from __future__ import annotations

import math
from typing import Final, Protocol

SLICES: Final = 60
"""Parts that a window of time moves on in: what it forgets, it forgets a sixtieth at a time."""
_FAILED: Final = 1
_SLOW: Final = 2


class CallWindow(Protocol):
    """What both kinds offer."""

    calls: int
    failed: int
    slow: int
    bad: int

    def record(self, *, failed: bool, slow: bool) -> None:
        """Count one call."""

    def succeed(self, number: int) -> None:
        """Count so many good calls."""

    def advance(self, now: float) -> float:
        """Forget what is too old at ``now`` (seconds); give the moment at which there is more to forget."""

    def clear(self) -> None:
        """Forget everything."""


class CountWindow:
    """The last ``size`` calls: a ring of one byte for each."""

    __slots__ = ("_at", "_ring", "bad", "calls", "failed", "slow")

    def __init__(self, size: int) -> None:
        """Start empty."""
        self._ring = bytearray(size)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._at = self.calls = self.failed = self.slow = self.bad = 0

    def advance(self, now: float) -> float:
        """Time changes nothing here."""
        del now
        return math.inf

    def record(self, *, failed: bool, slow: bool) -> None:
        """Count one call; the oldest makes room."""
        self._put(_FAILED * failed | _SLOW * slow)

    def succeed(self, number: int) -> None:
        """Count so many good calls; more than fit are as good as those that fit."""
        for _ in range(min(number, len(self._ring))):
            self._put(0)

    def _put(self, code: int) -> None:
        ring, at = self._ring, self._at
        if self.calls == len(ring):
            self._add(ring[at], -1)
        else:
            self.calls += 1
        self._add(code, 1)
        ring[at] = code
        self._at = (at + 1) % len(ring)

    def _add(self, code: int, sign: int) -> None:
        if code:
            self.failed += sign * (code & _FAILED)
            self.slow += sign * (code >> 1)
            self.bad += sign


class TimeWindow:
    """The last ``window_s`` seconds: slices that are subtracted from the sums when they grow too old."""

    __slots__ = ("_index", "_slice_s", "_slices", "bad", "calls", "failed", "slow")

    def __init__(self, window_s: float) -> None:
        """Start empty."""
        self._slice_s = window_s / SLICES
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.calls = self.failed = self.slow = self.bad = 0
        self._slices = [(0, 0, 0, 0)] * SLICES
        self._index: float = -math.inf

    def advance(self, now: float) -> float:
        """Subtract the slices that have fallen out."""
        index = now // self._slice_s
        if self.calls and index > self._index:
            for passed in range(int(min(index - self._index, SLICES))):
                place = int(self._index + passed + 1) % SLICES
                calls, failed, slow, bad = self._slices[place]
                if calls:
                    self.calls -= calls
                    self.failed -= failed
                    self.slow -= slow
                    self.bad -= bad
                    self._slices[place] = (0, 0, 0, 0)
        self._index = max(index, self._index)
        return (index + 1) * self._slice_s

    def record(self, *, failed: bool, slow: bool) -> None:
        """Count one call in the slice of the last ``advance``."""
        self._add(1, int(failed), int(slow), int(failed or slow))

    def succeed(self, number: int) -> None:
        """Count so many good calls there."""
        self._add(number, 0, 0, 0)

    def _add(self, calls: int, failed: int, slow: int, bad: int) -> None:
        place = int(self._index) % SLICES
        before = self._slices[place]
        self._slices[place] = (before[0] + calls, before[1] + failed, before[2] + slow, before[3] + bad)
        self.calls += calls
        self.failed += failed
        self.slow += slow
        self.bad += bad
