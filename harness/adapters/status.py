"""Status: how a queue of cases stands, as a value and as ``status.md``.

In    a ``Standing`` for every change
Out   the file, replaced in one step (a temporary file beside it, then a rename), so a reader never sees half of it
Rule  written at once when a case or its stage changes, else at most every few seconds: counting costs no disk
Why   whoever looks from another window, or after a crash, reads what runs, until when, what failed and what waits
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harness.adapters import disk
from harness.errors import UsageError

Result = Literal["passed", "failed", "no verdict"]
MARKS: Final = {"passed": "✅", "failed": "❌", "no verdict": "⚠"}
PAUSE_S: Final = 5.0
"""Between two writes that differ in nothing but their counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A case that is over; ``why`` holds what failed, one line each."""

    case: str
    distance: str
    result: Result
    took_s: float
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """The case that runs: times of the monotonic clock, the latest stage and counts."""

    case: str
    distance: str
    began_s: float
    expected_s: float
    stage: str = "starting"
    sent: int = 0
    answered: int = 0
    failed: int = 0

    def left_s(self, now: float) -> float:
        """Seconds until the expected end; 0 when it is late."""
        return max(0.0, self.began_s + self.expected_s - now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one run stands."""

    run: str
    total: int
    done: tuple[Finished, ...] = ()
    current: Current | None = None
    waiting: tuple[str, ...] = ()
    note: str = ""
    """How it ended, once it has: the verdict and where the report lies."""


class StatusFile:
    """Keeps ``status.md`` of a state folder up to date."""

    def __init__(self, folder: Path) -> None:
        """Make the folder; UsageError in one line if nothing can be written there."""
        self.path = folder / "status.md"
        self._wrote_s = float("-inf")
        self._heading: tuple[object, ...] = ()
        try:
            disk.try_folder(folder)
        except OSError as error:
            raise UsageError(
                f"the state folder {folder} cannot be written ({error.strerror}); choose another with --state-dir"
            ) from None

    def changed(self, standing: Standing) -> None:
        """Write the file if it is worth it."""
        current = standing.current
        heading = (standing.done, current and (current.case, current.distance, current.stage), standing.note)
        now = time.monotonic()
        if heading == self._heading and now - self._wrote_s < PAUSE_S:
            return
        self._heading, self._wrote_s = heading, now
        text = render(standing, now=now, wall=time.time())
        try:
            self._replace(text)
        except OSError:
            # A disk that fills up must not end a run here. What stands in the file is no longer true, and without it
            # there may be room for what is.
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
                self._replace(text)

    def close(self) -> None:
        """Nothing is held open."""

    def _replace(self, text: str) -> None:
        temporary = self.path.with_name(f".status-{os.getpid()}.tmp")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def render(standing: Standing, *, now: float, wall: float) -> str:
    """Write a standing as Markdown; ``now`` is monotonic, ``wall`` the same moment of the calendar."""
    lines = [f"# {standing.run}", ""]
    if standing.current is not None:
        lines += _running(standing.current, now, wall)
    lines += ["## Done", *(_finished(case) for case in standing.done)] if standing.done else ["Nothing is done yet."]
    # What stands in the way of a verdict; what merely failed is said where it is done.
    blocked = [f"- {case.case} {case.distance}: {'; '.join(case.why)}" for case in standing.done if _blocks(case)]
    lines += ["", "## Blockers", *(blocked or ["None."])]
    lines += ["", f"## Waiting: {len(standing.waiting)}", *(f"- {case}" for case in standing.waiting)]
    if standing.note:
        lines += ["", standing.note]
    return "\n".join(lines) + "\n"


def _running(current: Current, now: float, wall: float) -> list[str]:
    end = time.strftime("%H:%M:%S", time.localtime(wall + current.left_s(now)))
    written = time.strftime("%H:%M:%S", time.localtime(wall))
    return [
        f"## Now: {current.case} {current.distance}",
        f"- stage: {current.stage}",
        f"- expected end: {end} (in {current.left_s(now):.0f} s)",
        f"- messages: {current.sent} sent, {current.answered} answered, {current.failed} failed",
        f"- written at {written} by process {os.getpid()}; if that is gone, so is the run",
        "",
    ]


def _finished(case: Finished) -> str:
    why = f": {'; '.join(case.why)}" if case.why else ""
    return f"- {MARKS[case.result]} {case.case} {case.distance} ({case.took_s:.1f} s){why}"


def _blocks(case: Finished) -> bool:
    return case.result == "no verdict"
