"""Browser: one person at the chat page, driven with Playwright.

In    a case
Out   the facts of two witnesses on one clock: the service, and what stood on the page; pictures of the steps
Rule  everything is done through the page, as a person would; what was seen is written down even after a bad end
Why   what holds on the wire must also be what people see: the streamed text, the banner, the clear error, the history
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from harness.adapters import journal
from harness.adapters.journal import Book
from harness.core.events import Entry
from harness.drivers import Case, Watch, _faults
from harness.errors import TargetDownError
from harness.targets.reference import Reference, RunningService

__all__ = ["Browser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """The distance of a person at the page."""

    async def drive(self, case: Case, book: Book, watch: Watch) -> None:
        """Carry the case out and write down what was seen."""
        if importlib.util.find_spec("playwright") is None:
            raise TargetDownError("the browser distance needs Playwright: pip install 'hive-harness[browser]'")
        # Only now, so that listing the drivers does not need Playwright.
        from harness.drivers._chromium import open_chromium  # noqa: PLC0415
        from harness.drivers._visit import Visit  # noqa: PLC0415

        await _faults.prove(case.scenario.faults)
        watch.stage("starting the service")
        target = Reference()
        bot_logs = case.state_dir / "bot-logs"
        async with target.open(folder=case.folder, bot_logs=bot_logs, settings=case.scenario.service) as service:
            visit = Visit(case, service, watch, t0=book.t0)
            try:
                watch.stage("starting the browser")
                async with open_chromium(service.guardian) as chromium:
                    await visit.pay(chromium)
            finally:
                _write(book, service, visit.entries)


def _write(book: Book, service: RunningService, seen: list[Entry]) -> None:
    """Put everything that was seen into the case's journal, in the order of time."""
    entries = list(seen)
    for path in service.journals:
        if path.exists():
            entries += journal.read(path)
            path.unlink()
    entries.sort(key=lambda entry: entry.t)  # Stable: what one witness saw at one instant keeps its order.
    book.write_all(Entry(entry.t - book.t0, entry.source, entry.fact) for entry in entries)
