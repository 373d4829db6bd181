"""Browser: one person at the chat page, driven with Playwright.

In    a case
Out   the facts of two witnesses on one clock: the service, and what stood on the page; pictures of the steps
Rule  everything is done through the page, as a person would; what was seen is written down even after a bad end
Why   what holds on the wire must also be what people see: the streamed text, the banner, the clear error, the history
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from harness.adapters.journal import Book
from harness.drivers import Case, Watch, _faults
from harness.drivers._gather import write_down
from harness.errors import TargetDownError
from harness.targets.reference import Reference

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
            visit = Visit(case, service, watch)
            try:
                watch.stage("starting the browser")
                async with open_chromium(service.guardian) as chromium:
                    await visit.pay(chromium)
            finally:
                write_down(book, visit.entries, service.journals)
