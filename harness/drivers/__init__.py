"""Who drives a scenario at which distance: one file each.

In    a case (scenario, distance, seed), the journal to write into, somebody who watches
Out   facts in the journal
Rule  a driver judges nothing: what it sees it writes down
Why   one verdict for all distances
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.adapters.journal import Book
from harness.core.scenario import Distance, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scenario at one distance."""

    scenario: Scenario
    distance: Distance
    seed: int
    folder: Path
    """Attachments of this case: logs, pictures, profiles."""
    state_dir: Path
    """The ``.deia`` of the run: transitions of breakers go to ``bot-logs/`` in it."""
    profile: bool = False
    """Run a leak check's processes under memray and name the allocating lines."""


class Watch(Protocol):
    """Somebody who looks on: a terminal, a status file, or nobody."""

    def stage(self, text: str) -> None:
        """Say what happens now."""

    def counted(self, sent: int, answered: int, failed: int) -> None:
        """Say how the messages stand."""


class Driver(Protocol):
    """The contract of a plug-in in this folder."""

    async def drive(self, case: Case, book: Book, watch: Watch) -> None:
        """Carry the case out and write its facts; TargetDownError if there is nothing to drive."""
