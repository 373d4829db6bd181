"""Page: what a person can do with the chat page, and what can be seen on it.

In    a Playwright page
Out   actions (launch, select, say ...) and places (banner, message, reply ...)
Rule  found by roles, labels and the data- attributes that docs/reference/page.md promises, never by classes
Why   one place to change when the page changes; the browser distance and the tests share it
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from playwright.async_api import Locator, Page, expect

Option = str | int | float | bool
Seen = Mapping[str, Any]

_REPORTER: Final = "harnessSaw"
# Runs in the page before its own scripts: tells of every message that appears, changes its state or gets its first
# text.
_OBSERVER: Final = """
(() => {
  const known = new Map();
  const look = (article) => {
    const { cid, turn, state, chars, intact, code, retryAfter } = article.dataset;
    if (!cid || !state) return;
    const key = (turn ? "r:" : "u:") + (turn ?? cid);
    const before = known.get(key) ?? { state: "", chars: 0, pieces: 0 };
    const count = Number(chars ?? 0);
    const pieces = before.pieces + (count > before.chars ? 1 : 0);
    known.set(key, { state, chars: count, pieces });
    if (state === before.state && (before.chars > 0) === (count > 0)) return;
    const session = location.hash.split("/")[2] ?? "";
    window.REPORTER({ cid, turn: turn ?? "", state, chars: count, pieces, intact: intact !== "false",
      code: code ?? "", retry_after_s: retryAfter === undefined ? null : Number(retryAfter), session });
  };
  new MutationObserver((records) => {
    for (const { type, target, addedNodes } of records) {
      if (type === "attributes" && target.localName === "article") look(target);
      for (const node of addedNodes) if (node.localName === "article") look(node);
    }
  }).observe(document, {
    subtree: true, childList: true, attributes: true, attributeFilter: ["data-state", "data-chars"],
  });
})();
""".replace("REPORTER", _REPORTER)


class ChatPage:
    """The chat page in one tab."""

    def __init__(self, page: Page) -> None:
        """Take a tab."""
        self.page = page
        self.banner = page.locator("#banner")
        self.connection = page.locator("#connection")
        self.articles = page.get_by_role("article")
        self.fault = page.locator("#composer-fault")

    async def watch(self, saw: Callable[[Seen], None]) -> None:
        """Report every change of a message from the next load of the page on."""

        def heard(_source: object, seen: Seen) -> None:
            saw(seen)

        await self.page.expose_binding(_REPORTER, heard)
        await self.page.add_init_script(_OBSERVER)

    async def open(self, url: str) -> None:
        """Load the page and wait for its connection."""
        await self.page.goto(url)
        await self.connected()

    async def reload(self) -> None:
        """Load it again and wait for its connection."""
        await self.page.reload()
        await self.connected()

    async def connected(self) -> None:
        """Wait until the service has welcomed it."""
        await expect(self.connection).to_have_attribute("data-state", "online", timeout=15_000)

    async def launch(
        self, behaviour: str, *, name: str = "", options: Mapping[str, Option] | None = None, seed: int | None = None
    ) -> None:
        """Fill the launch form in and send it."""
        await self._show_list()
        await self.page.get_by_role("button", name="Launch a bot").first.click()
        form = self.page.get_by_role("dialog", name="Launch a bot")
        # The real thing is the radio button, which lies unseen below its label.
        await form.get_by_role("radio", name=behaviour, exact=True).check()
        await form.get_by_label("Name").fill(name)
        if options or seed is not None:
            await form.get_by_text("Options", exact=True).click()
        for option, value in (options or {}).items():
            field = form.locator(f"[name={option}]")
            if isinstance(value, bool):
                await field.select_option(str(value).lower())
            else:
                await field.fill(str(value))
        if seed is not None:
            await form.locator("[name=seed]").fill(str(seed))
        await form.get_by_role("button", name="Launch", exact=True).click()
        await expect(form).to_be_hidden()

    def bot(self, name: str) -> Locator:
        """The bot in the list, with data-state and data-breaker."""
        return self.page.locator(f'button[data-bot="{name}"]')

    async def online(self, name: str, *, timeout_ms: float = 15_000) -> None:
        """Wait until the list says that the bot takes messages."""
        await expect(self.bot(name)).to_have_attribute("data-state", "online", timeout=timeout_ms)

    async def select(self, name: str) -> None:
        """Choose a bot from the list."""
        await self._show_list()
        await self.bot(name).click()
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(name)

    async def may_send(self, *, timeout_ms: float = 330_000) -> None:
        """Wait until the page does not hold back what is to be sent: the service may have asked it to."""
        await expect(self.page.locator("#send:not([aria-disabled])")).to_have_count(1, timeout=timeout_ms)

    async def say(self, text: str) -> None:
        """Write a message and press Enter."""
        box = self.page.locator("#message")
        await box.fill(text)
        await box.press("Enter")

    def sent(self, cid: str) -> Locator:
        """A message of the person at the page."""
        return self.page.locator(f'article[data-cid="{cid}"]:not([data-turn])')

    def reply(self, cid: str) -> Locator:
        """The bot's reply to it."""
        return self.page.locator(f'article[data-cid="{cid}"][data-turn]')

    @property
    def replies(self) -> Locator:
        """All replies."""
        return self.page.locator("article[data-turn]")

    async def cids(self) -> list[str]:
        """The ids of the person's messages, from top to bottom."""
        found: list[str] = await self.page.locator("article:not([data-turn])").evaluate_all(
            "(all) => all.map((one) => one.dataset.cid)"
        )
        return found

    async def texts(self) -> dict[str, str]:
        """Every reply's text, by the id of the message that it answers."""
        found: dict[str, str] = await self.replies.evaluate_all(
            "(all) => Object.fromEntries(all.map((one) => [one.dataset.cid, one.querySelector('.prose').textContent]))"
        )
        return found

    def session(self) -> str:
        """The selected session, as the address says."""
        match = re.search(r"#/[^/]*/([^/]+)$", self.page.url)
        return unquote(match[1]) if match else ""

    async def sideways(self) -> int:
        """How many pixels the page is wider than its window."""
        wider: int = await self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider

    async def _show_list(self) -> None:
        drawer = self.page.get_by_role("button", name="Bots and sessions")
        if await drawer.is_visible() and await drawer.get_attribute("aria-expanded") == "false":
            await drawer.click()
