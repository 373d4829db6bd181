"""Banner watch: what the page says while the selected bot's breaker is not closed.

In    the page; each message and what became of it
Out   steps: the banner was shown, a message was refused at once, the banner went, a message was answered again
Rule  looks, and never waits for anything else: the person goes on talking meanwhile
Why   a breaker is worth nothing to people who are not told
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from playwright.async_api import Error

from harness.core.events import RunFact, Stepped
from harness.drivers._page import ChatPage
from harness.drivers._witness import SOURCE, Told

WORDS: Final = "Bot Unavailable (recovering)"
PICTURE: Final = "banner.png"
REFUSAL_PICTURE: Final = "refusal.png"
# Asked once a frame: a locator's own waiting looks only once a second after a while.
_HIDDEN_IS: Final = '(wanted) => document.getElementById("banner").hidden === wanted'
SHOWN, REFUSED, GONE, BACK = (
    "see the banner",
    "be refused at once, and told why",
    "see the banner go",
    "be answered again",
)


class BannerWatch:
    """Looks at the banner while somebody talks to the bot."""

    def __init__(
        self, chat: ChatPage, note: Callable[[float, str, RunFact], None], folder: Path, *, expected: bool
    ) -> None:
        """``expected``: a fault is planned, so all of this must be seen."""
        self._chat, self._note, self._folder, self._expected = chat, note, folder, expected
        self._begun = time.monotonic()
        self._shown_at = self._gone_at = 0.0
        self._steps: set[str] = set()

    @property
    def done(self) -> bool:
        """Whether everything that is expected was seen."""
        return not self._expected or {SHOWN, REFUSED, GONE, BACK} <= self._steps

    async def watch(self) -> None:
        """Wait for the banner, take its picture, wait until it is gone. Cancel it when the talk is over."""
        if not self._expected:
            return
        try:
            await self._chat.page.wait_for_function(_HIDDEN_IS, arg=False, timeout=0)
            self._shown_at = time.monotonic()
            words = " ".join((await self._chat.banner.inner_text()).split())
            await self._chat.page.screenshot(path=self._folder / PICTURE, animations="disabled")
            self._step(SHOWN, ok=WORDS in words, took_s=self._shown_at - self._begun, detail=words, picture=PICTURE)
            await self._chat.page.wait_for_function(_HIDDEN_IS, arg=True, timeout=0)
            self._gone_at = time.monotonic()
            self._step(GONE, ok=True, took_s=self._gone_at - self._shown_at, detail="since it was shown")
        except Error as error:
            self._step(GONE if self._shown_at else SHOWN, ok=False, took_s=0.0, detail=str(error).splitlines()[0])

    async def judge(self, told: Told) -> None:
        """Look at a message that is over."""
        if not self._expected:
            return
        if told.outcome == "refused" and REFUSED not in self._steps:
            lines = (await self._chat.sent(told.cid).inner_text()).splitlines()
            note = next((line for line in lines if line.startswith("Not sent")), "")
            ok = told.code == "circuit-open" and WORDS in note
            picture = ""
            if ok:
                picture = REFUSAL_PICTURE
                await self._chat.page.screenshot(path=self._folder / picture, animations="disabled")
            self._step(REFUSED, ok=ok, took_s=told.ended - told.pressed, detail=note, picture=picture)
        if told.outcome == "done" and self._gone_at and BACK not in self._steps:
            self._step(BACK, ok=True, took_s=told.ended - told.pressed)

    def close(self) -> None:
        """Write down what was never seen."""
        for step in (SHOWN, REFUSED, GONE, BACK):
            if self._expected and step not in self._steps:
                self._step(
                    step, ok=False, took_s=time.monotonic() - self._begun, detail="not until the end of the case"
                )

    def _step(self, step: str, *, ok: bool, took_s: float, detail: str = "", picture: str = "") -> None:
        self._steps.add(step)
        self._note(time.monotonic(), SOURCE, Stepped(step, ok, round(took_s * 1000, 1), detail, picture))
