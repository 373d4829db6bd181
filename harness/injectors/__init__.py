"""Faults made real: one file each, undo registered before inject.

In    the service that is aimed at: its process and its HTTP interface, not what is inside it
Out   deliveries: for each hit, when it happened and what was hit
Rule  a fault proves on something of its own that it can do what it promises, before it is let loose;
      ``heal`` is registered before ``inject`` begins and runs however the run ends
Why   a fault that was not delivered proves nothing, and one that stays behind ruins the next run
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Delivery:
    """Proof that a fault hit once; ``t`` is CLOCK_MONOTONIC right before the hit."""

    t: float
    detail: str


class Aim(Protocol):
    """The service that a fault is aimed at."""

    @property
    def pid(self) -> int:
        """The service's process."""

    async def bots(self) -> Sequence[dict[str, Any]]:
        """The status of every bot (docs/reference/http-api.md)."""


class Imagined(Protocol):
    """The world of a simulation, as faults may change it; every hit is written down by the world."""

    def kill(self, bot: str) -> None:
        """End a bot's process as SIGKILL does, if there is one."""


class Injector(Protocol):
    """The contract of a plug-in in this folder; ``bot`` is one of its options.

    A fault that can also be simulated has ``imagine(self, world: Imagined) -> Iterator[float]``: do something to the
    world, then yield for how many virtual seconds nothing happens, until the fault's time is over.
    """

    async def prove(self) -> None:
        """Do it to something of its own; NoVerdictError if it does not work on this machine."""

    def inject(self, aim: Aim) -> AsyncGenerator[Delivery]:
        """Be at work, and tell of every hit, until closed."""

    async def heal(self, aim: Aim) -> None:
        """Undo it."""
