"""The dashboard's page: what it shows, how it is read without a mouse or eyes, and what it says when nobody answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

if TYPE_CHECKING:
    from tests.conftest import Served

Play = Callable[[Callable[[], Awaitable[None]]], None]
RULES = """
[[rules]]
id = "lonely"
summary = "There is only one bot."
runbook = "Launch another."
op = "<="
threshold = 1
coverage_min = 0.01
of = { metric = "chat_bots", match = { state = ["online"] }, window_s = 5 }
"""
BOARD = """
title = "Mine"
refresh_s = 1
range_s = 60
[[rows]]
title = "One"
[[rows.panels]]
id = "sockets"
title = "Sockets"
targets = [{ local = { metric = "chat_sockets" }, legend = "sockets" }]
[[rows.panels]]
id = "breakers"
title = "Breakers"
type = "state"
unit = "state"
states = ["closed", "half-open", "open"]
targets = [{ local = { metric = "chat_breaker_state" }, legend = "{{bot}}" }]
[[rows.panels]]
id = "none"
title = "None"
targets = [{ local = { metric = "chat_metrics_overflow_total", agg = "rate" } }]
"""
PLOT = """async () => {
  const { ticks, trace, stretches, nearest, level, said, worthDrawing } = await import("/static/core/plot.js");
  const same = (value) => value;
  const limits = [{ value: 9, level: "bad" }, { value: 1, level: "warn" }];
  return {
    ticks: [ticks(0), ticks(1), ticks(0.07), ticks(950)],
    gap: trace([0, 1, 2, 3, 4, 5], [1, 2, null, 3, null, 4], same, same),
    stretches: stretches([0, 5, 10, 15], [0, 0, null, 0], 5),
    nearest: [nearest([0, 10, 20], same, 14), nearest([], same, 1)],
    levels: [level(null, limits), level(5, limits), level(9, limits)],
    said: [said(null, "count"), said(0.25, "seconds"), said(2, "seconds"), said(0.123, "ratio"),
      said(1, "state", ["a", "b"]), said(1536000, "bytes"), said(12.3456, "per-second"), said(12345, "count")],
    drawn: worthDrawing(Array.from({ length: 10 }, (_, n) => ({ values: [n] }))).drawn.map((line) => line.values[0]),
  };
}"""


@pytest.fixture
def opened(chromium: Browser) -> Callable[..., Awaitable[Page]]:
    async def open_page(url: str, width: int = 1280) -> Page:
        context = await chromium.new_context(viewport=ViewportSize(width=width, height=900))
        page = await context.new_page()
        await page.goto(f"{url}/dashboard")
        return page

    return open_page


@pytest.fixture
def lively(chat: Served) -> Served:
    """A service with a bot, an alert that fires, and a column of values every second."""
    rules, board = chat.folder / "rules.toml", chat.folder / "dashboard.toml"
    rules.write_text(RULES, "utf-8")
    board.write_text(BOARD, "utf-8")
    chat.start("--alerts", str(rules), "--dashboard", str(board))
    chat.launch("echo")
    return chat


def test_the_pure_half_of_the_charts(steady: Served, play: Play, opened: Callable[..., Any]) -> None:
    async def story() -> None:
        page = await opened(steady.url)
        found = await page.evaluate(PLOT)
        await page.context.close()
        assert found["ticks"] == [[0, 1], [0, 0.5, 1], [0, 0.05, 0.1], [0, 500, 1000]]
        assert found["gap"] == {"path": "M0 1L1 2", "lonely": [{"x": 3, "y": 3}, {"x": 5, "y": 4}]}
        assert found["stretches"] == [{"from": 0, "until": 10, "value": 0}, {"from": 15, "until": 20, "value": 0}]
        assert found["nearest"] == [1, -1]
        assert found["levels"] == ["", "warn", "bad"]
        assert found["said"] == ["no data", "250 ms", "2 s", "12.3 %", "b", "1.54 MB", "12.3/s", "12,345"]
        assert found["drawn"] == [2, 3, 4, 5, 6, 7, 8, 9]

    play(story)


def test_it_shows_alerts_charts_and_what_is_missing(lively: Served, play: Play, opened: Callable[..., Any]) -> None:
    async def story() -> None:
        page = await opened(lively.url)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await expect(page.locator("#title")).to_have_text("Mine")
        alert = page.locator("#alerts [data-rule=lonely]")
        await expect(alert).to_contain_text("There is only one bot (state online)")
        await expect(alert).to_contain_text("is at or below 1")
        await expect(alert).to_contain_text("Launch another.")
        await expect(page.locator("#alerts-sum")).to_contain_text("1 firing.")
        await expect(page.locator("[data-panel=breakers] .legend")).to_contain_text("echo closed")
        nothing = page.locator("[data-panel=none] .nothing")
        await expect(nothing).to_have_text("Nothing to show: there is no such data yet.")
        chart, readout = page.locator("[data-panel=sockets] .chart"), page.locator("[data-panel=sockets] .readout")
        await expect(page.locator("[data-panel=sockets] path.trace")).to_have_count(1)
        assert "Now: sockets 0" in (await chart.get_attribute("aria-label") or "")
        await chart.focus()
        await page.keyboard.press("End")
        await expect(readout).to_contain_text("sockets 0")
        await page.keyboard.press("Escape")
        await expect(readout).to_have_text("")
        await page.locator("[data-panel=sockets] summary").press("Enter")
        await expect(page.locator("[data-panel=sockets] tbody tr").first).to_contain_text("0")
        await page.context.close()
        assert wrong == []

    play(story)


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_screen(steady: Served, play: Play, opened: Callable[..., Any], width: int) -> None:
    async def story() -> None:
        page = await opened(steady.url, width)
        await expect(page.locator(".panel").first).to_be_visible()
        await page.locator("#rules-part summary").click()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.context.close()

    play(story)


def test_a_service_that_is_gone_is_told_with_the_age_of_the_numbers(
    lively: Served, play: Play, opened: Callable[..., Any]
) -> None:
    async def story() -> None:
        page = await opened(lively.url)
        await expect(page.locator("#fresh")).to_contain_text("As of")
        lively.stop()
        await expect(page.locator("#trouble")).to_contain_text("The service cannot be reached. Is it running?")
        await expect(page.locator("#trouble")).to_contain_text("What is shown is from")
        await page.context.close()

    play(story)
