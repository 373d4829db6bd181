"""Rate limit: so many at once, so many a second, for everybody who comes.

In    take(now): somebody wants something; take(now, key) when each key has a bucket of its own
Out   0.0 if it is granted, else the seconds until it would be
Rule  from any moment on, nobody is granted more than burst + rate_per_s * seconds; a refusal costs nothing
Why   one loud session must not take the places of all others, and it must hear when to come back

A bucket fills with ``rate_per_s`` tokens a second up to ``burst``; what is granted takes tokens out (the token bucket
of RFC 2697 and 2698). Tokens are fractions of numbers, not timers: a bucket costs nothing while nobody looks at it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from harness.core.moments import BEGINNING, forward
from harness.core.ranges import above_zero, at_least, whole

EARLY: Final = 1e-9
"""Tokens that may be owed: whoever waits exactly as long as told is not sent away for a rounding error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucketConfig:
    """How fast a bucket fills, and how much it holds."""

    rate_per_s: float = 5.0
    """Tokens that come back each second."""
    burst: float = 20.0
    """Tokens in a full bucket; at least 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        above_zero("rate_per_s", self.rate_per_s)
        at_least("burst", self.burst, 1)

    @property
    def fill_s(self) -> float:
        """Seconds after which an empty bucket is full."""
        return self.burst / self.rate_per_s


class TokenBucket:
    """One bucket; it starts full."""

    __slots__ = ("_burst", "_last", "_level", "_rate")

    def __init__(self, config: TokenBucketConfig) -> None:
        """Start full."""
        self._rate = config.rate_per_s
        self._burst = config.burst
        self._level = config.burst
        self._last = BEGINNING

    def take(self, now: float, count: float = 1.0) -> float:
        """Take ``count`` tokens, or none: 0.0 if granted, else the seconds until they would be there.

        ValueError if ``count`` is not above 0 and at most ``burst`` (more is never there), or ``now`` is no finite
        number.
        """
        if not 0 < count <= self._burst:
            raise ValueError(f"count must be above 0 and at most the burst of {self._burst}, got {count}: ask for less")
        last = self._last
        if not last <= now < math.inf:
            now = forward(now, last)
        level = self._level + (now - last) * self._rate
        level = min(level, self._burst)
        if level + EARLY >= count:
            self._level = level - count
            self._last = now
            return 0.0
        return (count - level) / self._rate

    def level(self, now: float) -> float:
        """Tokens that are there now."""
        return min(self._burst, self._level + (forward(now, self._last) - self._last) * self._rate)


class TokenBuckets:
    """A bucket for each key, in bounded memory.

    A bucket that nobody touched for ``fill_s`` is full, and a full one is the same as none: those are forgotten, in
    whole generations, at no cost per call. If all ``keys_max`` are in use, new keys share one bucket until there is
    room: nobody gets more than a bucket of their own would give, however many names they make up.
    """

    __slots__ = ("_config", "_keys_max", "_last", "_old", "_overflow", "_renew_at", "_young")

    def __init__(self, config: TokenBucketConfig, *, keys_max: int = 10_000) -> None:
        """Start with no buckets; ``keys_max`` bounds how many are kept."""
        whole("keys_max", keys_max, 1)
        self._config = config
        self._keys_max = keys_max
        self._young: dict[str, TokenBucket] = {}
        self._old: dict[str, TokenBucket] = {}
        self._overflow = TokenBucket(config)
        self._last = BEGINNING
        self._renew_at = -math.inf

    def __len__(self) -> int:
        """How many buckets are kept."""
        return len(self._young) + len(self._old)

    def take(self, now: float, key: str, count: float = 1.0) -> float:
        """Take from the bucket of ``key``; answers and errors of ``TokenBucket.take``."""
        if not self._last <= now < math.inf:
            now = forward(now, self._last)
        self._last = now
        if now >= self._renew_at:
            self._renew(now)
        bucket = self._young.get(key)
        if bucket is None:
            bucket = self._admit(key)
        return bucket.take(now, count)

    def _admit(self, key: str) -> TokenBucket:
        bucket = self._old.pop(key, None)
        if bucket is None:
            if len(self) >= self._keys_max:
                return self._overflow
            bucket = TokenBucket(self._config)
        self._young[key] = bucket
        return bucket

    def _renew(self, now: float) -> None:
        """Forget what was not touched for a whole generation: it is full by now."""
        generation_s = self._config.fill_s
        # After a long silence the young ones are full as well.
        self._old = self._young if now < self._renew_at + generation_s else {}
        self._young = {}
        self._renew_at = now + generation_s
