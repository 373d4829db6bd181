"""Breaker walk: follow one circuit breaker through its states and notice what cannot be.

In    its transitions and the calls that were let through, in order
Out   how often it entered each state, probes of each half-open phase, cooldowns, calls while open, impossible moves
Rule  nothing of the breaker's own code is used: a mistake there must not hide itself here
Why   a log that is checked only by whoever wrote it is a witness in its own case
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from harness.core.events import Admitted, BreakerMoved

EDGES: Final = frozenset(
    {("closed", "open"), ("open", "half-open"), ("half-open", "closed"), ("half-open", "open")}
    | {("forced-open", "half-open"), ("disabled", "closed"), ("metrics-only", "closed")},
)
"""The only changes of state that a breaker makes by itself."""
BY_HAND: Final = frozenset({"closed", "forced-open", "disabled", "metrics-only"})
"""Where a person can bring it, from anywhere."""
COOLDOWN_SLACK_S: Final = 0.005
"""What rounding and two readings of one clock may take off a cooldown."""


@dataclass(slots=True)
class Walk:
    """One breaker's way through its states."""

    bot: str
    state: str = "closed"
    since: float = 0.0
    cooldown_s: float = 0.0
    seq: int = 0
    entered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    through: list[str] = field(default_factory=list)
    probes: list[int] = field(default_factory=list)
    cooldowns: list[float] = field(default_factory=list)

    def step(self, t: float, fact: BreakerMoved | Admitted) -> None:
        """Take the next transition or call."""
        if isinstance(fact, Admitted):
            if self.state in ("open", "forced-open"):
                self.through.append(f"{fact.turn} to {self.bot} at {t:.3f} s")
            elif self.state == "half-open":
                self.probes[-1] += 1
            return
        where = f"{self.bot} at {t:.3f} s: {fact.before} to {fact.after} (seq {fact.seq})"
        by_hand = fact.cause == "manual"
        if fact.before != self.state:
            self.wrong.append(f"{where}, but it was {self.state}")
        elif not _possible(fact, by_hand=by_hand):
            self.wrong.append(f"{where} is no edge of a breaker")
        if fact.seq != self.seq + 1:
            self.wrong.append(f"{where} follows seq {self.seq}")
        self.seq = fact.seq
        if fact.signal == "configured":
            return
        if fact.before == "open" and self.state == "open" and not by_hand:
            stayed = t - self.since
            self.cooldowns.append(stayed)
            if stayed < self.cooldown_s - COOLDOWN_SLACK_S:
                self.wrong.append(f"{where} after {stayed:.3f} s, its cooldown is {self.cooldown_s:g} s")
        # A change counts from when it took effect: a lease that ran out at night is not a cooldown of the morning.
        self.state, self.since, self.cooldown_s = fact.after, t - fact.late_s, fact.cooldown_s
        self.entered[fact.after] += 1
        if fact.after == "half-open":
            self.probes.append(0)


def _possible(fact: BreakerMoved, *, by_hand: bool) -> bool:
    if fact.signal == "configured":
        return fact.before == fact.after
    return fact.after in BY_HAND if by_hand else (fact.before, fact.after) in EDGES
