"""Fixtures: one Chromium for all browser tests, a fresh context for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from playwright.async_api import Browser, BrowserContext, ViewportSize, expect

from harness.adapters.processes import Guardian
from harness.drivers._chromium import open_chromium
from harness.drivers._page import ChatPage
from harness.errors import TargetDownError

LIMIT_MS = 20_000

Story = Callable[[], Awaitable[None]]
Tab = Callable[..., AbstractAsyncContextManager[ChatPage]]


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop: Playwright's objects belong to the loop that made them."""
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture(scope="session")
def chromium(runner: asyncio.Runner) -> Iterator[Browser]:
    guardian = Guardian.start()
    opening = open_chromium(guardian)
    try:
        browser = runner.run(opening.__aenter__())
    except TargetDownError as error:
        guardian.close()
        pytest.skip(str(error))
    expect.set_options(timeout=LIMIT_MS)
    yield browser
    runner.run(opening.__aexit__(None, None, None))
    guardian.close()


@pytest.fixture
def play(runner: asyncio.Runner) -> Callable[[Story], None]:
    """Run a test's story."""
    return lambda story: runner.run(_await(story))


@pytest.fixture
def tab(chromium: Browser) -> Tab:
    """``async with tab(url) as chat``: the chat page in a context of its own, or of another tab."""

    @asynccontextmanager
    async def open_tab(
        url: str,
        *,
        beside: ChatPage | None = None,
        viewport: ViewportSize | None = None,
        before: str = "",
        faults_allowed: tuple[str, ...] = (),
    ) -> AsyncIterator[ChatPage]:
        context = beside.page.context if beside else await _context(chromium, viewport)
        page = await context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        if before:
            await page.add_init_script(before)
        chat = ChatPage(page)
        try:
            await chat.open(url)
            yield chat
        finally:
            await (page.close() if beside else context.close())
        wrong = [text for text in wrong if not any(allowed in text for allowed in faults_allowed)]
        assert not wrong, wrong

    return open_tab


async def _context(chromium: Browser, viewport: ViewportSize | None) -> BrowserContext:
    context = await chromium.new_context(viewport=viewport or ViewportSize(width=1100, height=700), locale="en-GB")
    context.set_default_timeout(LIMIT_MS)
    return context


async def _await(story: Story) -> None:
    await story()
