"""Carrying out: one case through its driver into the journal, and what becomes of whatever ends it early.

In    a case, the journal, who watches, the wishes to stop
Out   the facts of the driver; the CaseEnded that says how it went
Rule  nothing but a wish to stop leaves here as an exception: a driver's bug, like a full disk, becomes words
Why   a broken case costs itself, not the queue behind it
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from harness import drivers, plugins
from harness.adapters import disk, journal
from harness.adapters.breaker_log import BreakerLog
from harness.adapters.interrupts import Interrupts
from harness.core.events import BreakerMoved, CaseEnded, Entry
from harness.core.scenario import Distance
from harness.drivers import Case, Driver, Watch
from harness.errors import EXIT_INTERRUPTED, EXIT_NO_VERDICT, HarnessError

BOT_LOGS: Final = "bot-logs"
"""In the state folder: logs of bots, and the transitions of their breakers."""


def virtual(distance: Distance) -> bool:
    """Whether the driver's time is its own; a driver that cannot be loaded tells so when it is asked to drive."""
    try:
        return bool(getattr(plugins.load(drivers, distance), "virtual", False))
    except (HarnessError, ImportError):
        return False


def carry_out(case: Case, book: journal.Book, watch: Watch, interrupts: Interrupts) -> CaseEnded:
    """Let the driver work; whatever ends it early becomes words for the journal."""
    try:
        driver: Driver = plugins.build(drivers, case.distance, {})
        interrupts.run(driver.drive(case, book, watch))
    except asyncio.CancelledError:
        return CaseEnded("interrupted", EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001  # a driver's bug costs its own case, not the queue behind it
        known, full = _meant(error), disk.no_space(error)
        if known is not None:
            return CaseEnded(str(known), known.exit_code)
        if full is not None:
            return CaseEnded(disk.told(full, case.folder), EXIT_NO_VERDICT)
        kept = case.folder / "traceback.txt"
        with suppress(OSError):
            kept.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return CaseEnded(
            f"the {case.distance} driver broke: {type(error).__name__}: {error} (cases/{case.folder.name}/{kept.name})",
            EXIT_NO_VERDICT,
        )
    return CaseEnded()


def _meant(error: BaseException) -> HarnessError | None:
    """The error that was raised on purpose, also from inside a group of tasks; None for a bug."""
    if isinstance(error, HarnessError):
        return error
    if isinstance(error, BaseExceptionGroup):
        inner = [_meant(each) for each in error.exceptions]
        return inner[0] if inner and all(inner) else None
    return None


def keep_transitions(entries: Sequence[Entry], state_dir: Path) -> CaseEnded:
    """Write simulated transitions where a real service would have written its own; say how that went."""
    folder = state_dir / BOT_LOGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(BreakerLog(folder)) as log:
            for entry in entries:
                if isinstance(entry.fact, BreakerMoved):
                    log.write(entry.t, entry.fact)
    except OSError as error:
        return CaseEnded(disk.told(error, folder, "--state-dir"), EXIT_NO_VERDICT)
    return CaseEnded()


class _StoppableBook(journal.Book):
    """Virtual time never waits, so there is no place to cancel it but where it writes."""

    def __init__(self, path: Path, interrupts: Interrupts) -> None:
        super().__init__(path)
        self._interrupts = interrupts

    def write_all(self, entries: Iterable[Entry]) -> None:
        """Write, unless somebody wishes to stop."""
        super().write_all(entries)
        self._interrupts.check()


@contextmanager
def opened(path: Path, *, t0: float = 0.0, stop: Interrupts | None = None) -> Iterator[journal.Book]:
    """Open the journal for as long as the context lasts; virtual time is stopped where it writes, by ``stop``."""
    book = journal.Book(path, t0=t0) if stop is None else _StoppableBook(path, stop)
    try:
        yield book
    finally:
        with suppress(OSError):
            book.close()
