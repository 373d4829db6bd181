"""Chromium: a browser under Playwright that leaves nothing behind.

In    the guardian of the case
Out   ``async with open_chromium(guardian) as chromium``: a browser, Playwright's own download or an installed one
Rule  everything that Playwright and Chromium write lies in one folder that goes with them; every process carries the
      guardian's mark, so that also after kill -9 of the harness both end and the folder is removed
Why   a browser is a dozen processes and a profile in /tmp; those of a thousand runs fill a disk
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Error, Playwright, async_playwright

from harness.adapters.processes import Guardian
from harness.errors import TargetDownError

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CLOSE_MAX_S: Final = 10.0
PATH_CHARS_MAX: Final = 40
START_MAX_MS: Final = 30_000
ARGUMENTS: Final = (
    "--disable-dev-shm-usage",  # Containers give 64 MB to /dev/shm; a page needs more.
    "--disable-background-networking",
    "--disable-component-update",
    "--no-default-browser-check",
    "--font-render-hinting=none",  # The same picture of the same page, byte for byte.
    "--disable-lcd-text",
)


@asynccontextmanager
async def open_chromium(guardian: Guardian) -> AsyncIterator[Browser]:
    """Start a browser; TargetDownError says what to install."""
    folder = Path(tempfile.mkdtemp(prefix="harness-", dir=_roomy_tmp()))
    guardian.watch_folder(folder)
    try:
        with _environment(guardian.env() | {"TMPDIR": str(folder)}):
            starting = async_playwright()
            playwright = await starting.start()
        try:
            browser = await _launch(playwright, _browser_env(guardian, folder))
            try:
                yield browser
            finally:
                await close_in_time(browser)
        finally:
            await close_in_time(playwright)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # What a dying process still writes there is the guardian's.


async def close_in_time(what: Browser | Playwright) -> None:
    """Close something that may be gone already; what does not close in time is the guardian's."""
    with suppress(Error, TimeoutError, ConnectionError):
        async with asyncio.timeout(CLOSE_MAX_S):
            await (what.stop() if isinstance(what, Playwright) else what.close())


async def _launch(playwright: Playwright, env: dict[str, str | float | bool]) -> Browser:
    """Take Playwright's own download, which fits it best, else what is installed."""
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    problem = "none is installed"
    for program in (None, found):
        try:
            return await playwright.chromium.launch(
                executable_path=program,
                args=arguments,
                env=env,
                timeout=START_MAX_MS,
                handle_sigint=False,  # Ctrl-C is for the harness, which closes the browser when the journal is written.
                handle_sigterm=False,
                handle_sighup=False,
            )
        except Error as error:
            problem = f"{program} does not start: {_cause(error.message)}" if program else problem
        if found is None:
            break
    cure = "run `python -m playwright install chromium`, or install your distribution's package chromium"
    raise TargetDownError(f"no Chromium to drive ({problem}): {cure}")


def _cause(message: str) -> str:
    """Find the browser's own last word in Playwright's message: "[pid=1][err] [...:FATAL:file.cc:3] words"."""
    lines = message.strip().splitlines()
    fatal = next((line for line in lines if ":FATAL:" in line), lines[0] if lines else "no reason given")
    return fatal.rpartition("] ")[2][:200]


def _roomy_tmp() -> str | None:
    """Give a folder for temporary files whose path is short: Chromium puts a socket below it, whose path has 107 bytes.

    None is the usual one.
    """
    usual = tempfile.gettempdir()
    return "/tmp" if len(usual) > PATH_CHARS_MAX and os.access("/tmp", os.W_OK) else None  # noqa: S108 - mkdtemp is safe


def _browser_env(guardian: Guardian, folder: Path) -> dict[str, str | float | bool]:
    """Everything a browser would keep in the home folder goes into ``folder``."""
    return {
        **guardian.env(),
        "TMPDIR": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    """Start something that takes its environment from ours and offers no other way."""
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        for name in env:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
