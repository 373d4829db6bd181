"""Visit: one person's way through the page, step by step.

In    the case, its service, a browser
Out   facts (``entries``), pictures, and for a step that failed a trace, a picture and the console
Rule  a step that cannot be done ends the visit and is written down; only what cannot be started is an error
Why   the report shows what a person would have seen, in the order in which they would have seen it
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, ViewportSize, expect

from harness.core.events import ClientBroke, Entry, Noted, RunFact, Sent, Stepped
from harness.drivers import Case, Watch, _faults
from harness.drivers._banner import BannerWatch
from harness.drivers._gather import answering, read_transcripts
from harness.drivers._history import HISTORY, history
from harness.drivers._page import ChatPage
from harness.drivers._witness import SOURCE, Told, Witness
from harness.errors import HarnessError, NoVerdictError, PermanentError, TargetDownError
from harness.load.habits import Habits
from harness.targets._api import Api
from harness.targets.reference import RunningService

WIDE: Final = ViewportSize(width=1280, height=800)
NARROW: Final = ViewportSize(width=320, height=640)
STEP_MAX_MS: Final = 20_000
OPEN_MAX_S: Final = 30.0
OVERTIME_S: Final = 20.0
"""Seconds after the cooldown within which the bot must have been seen to be back."""
NEWS_MAX_S: Final = 2.0
LAST_PAUSE_MAX_S: Final = 1.0
TRIES_MAX: Final = 3
GREETING: Final = (
    "Hello! Please read this with care:\n\n"
    "1. a list keeps its **numbers**,\n"
    "2. and `code` stays as it is.\n\n"
    "```python\nprint('every token in its place')\n```\n\n"
    "That is all."
)


class StepError(PermanentError):
    """A step did not work; it stands in the entries already."""

    code = "step"


class Visit:
    """What one person does, and what they see."""

    def __init__(self, case: Case, service: RunningService, watch: Watch) -> None:
        """Nothing happens before ``pay``."""
        self.entries: list[Entry] = []
        """Times are CLOCK_MONOTONIC."""
        self._case, self._service, self._watch = case, service, watch
        self._witness = Witness(self.note)
        self._console: list[str] = []
        self._lost = asyncio.Event()
        """The browser, or the process of its page, is gone: nobody can look any more."""
        scenario = case.scenario
        self._bot = scenario.faults[0].bot if scenario.faults else scenario.bot_names()[0]
        self._habits = Habits(seed=case.seed, user=0, think_s_mean=scenario.load.say_every_s, words=scenario.load.words)
        # The service has failed every silent turn by itself by then.
        self._answer_max_s = scenario.service.reply_silence_max_s + scenario.service.bot_start_max_s + OVERTIME_S
        self._chat: ChatPage

    def note(self, t: float, source: str, fact: RunFact) -> None:
        """Keep a fact."""
        self.entries.append(Entry(t, source, fact))
        self._watch.counted(*self._witness.counts)

    async def pay(self, chromium: Browser) -> None:
        """Go the whole way; afterwards read what the store holds."""
        context = await chromium.new_context(
            viewport=WIDE, color_scheme="light", locale="en-GB", reduced_motion="reduce"
        )
        context.set_default_timeout(STEP_MAX_MS)
        expect.set_options(timeout=STEP_MAX_MS)
        chromium.on("disconnected", lambda _: self._lost.set())
        well = False
        try:
            await context.tracing.start(screenshots=True, snapshots=True)
            await self._go(context)
            well = True
        except StepError:
            pass  # It is in the entries, with its picture.
        except asyncio.CancelledError:
            well = True  # Whoever stopped it does not wait for a trace.
            raise
        finally:
            await self._put_away(context, well=well)
        await self._read_transcript(well=well)
        if self._lost.is_set():
            raise NoVerdictError("the browser died in the middle of the case: nobody saw the rest")

    # --- The way ----------------------------------------------------------------------------------------------------
    async def _go(self, context: BrowserContext) -> None:
        page = await context.new_page()
        page.on("console", self._heard_console)
        page.on("pageerror", lambda error: self.note(time.monotonic(), SOURCE, ClientBroke("", f"page error: {error}")))
        page.on("crash", lambda _: self._lost.set())
        self._chat = ChatPage(page)
        await self._chat.watch(self._witness.saw)
        self._watch.stage("opening the page")
        async with self._step("open the page"):
            await self._chat.open(self._service.url)
        await self._launch_all()
        async with self._step(f"select {self._bot}"):
            await self._chat.select(self._bot)
        await self._first_exchange()
        if self._case.scenario.faults:
            await self._look("look at the page", "chat-light.png")
        else:
            await self._look_around()
        await self._converse()
        await self._come_back()

    async def _launch_all(self) -> None:
        scenario = self._case.scenario
        for bot in scenario.bots:
            for name in bot.names():
                self._watch.stage(f"launching {name}")
                async with self._step(f"launch {name}"):
                    await self._chat.launch(bot.behaviour, name=name, options=bot.options, seed=self._case.seed)
                    await self._chat.online(name, timeout_ms=scenario.service.bot_start_max_s * 1000 + 5_000)

    async def _first_exchange(self) -> None:
        self._watch.stage(f"talking to {self._bot}")
        async with self._step("send a message") as step:
            told = await self._say(GREETING)
            await self._until(told.saved)
            step.detail = f"{len(GREETING)} characters, {told.outcome or 'accepted'}"
            if told.outcome == "refused":
                raise AssertionError(f"the message was refused: {told.code}")
        async with self._step("read the streamed reply") as step:
            await self._until(told.over)
            for _ in range(TRIES_MAX - 1):  # A bot may be made to fail now and then.
                if told.outcome == "done":
                    break
                told = await self._say(GREETING)
                await self._until(told.over)
            if told.outcome != "done":
                raise AssertionError(
                    f"after {TRIES_MAX} messages the reply still ended with {told.outcome} ({told.code})"
                )
            step.detail = f"{told.chars} characters in {told.pieces} piece{'' if told.pieces == 1 else 's'}"
            if told.chars:
                await expect(self._chat.reply(told.cid).locator(".prose")).not_to_be_empty()

    async def _think(self, ends: float) -> None:
        """Pause as a person does, but not beyond the end; after it only to see whether the bot is back."""
        left_s = ends - time.monotonic()
        await asyncio.sleep(min(self._habits.think_s(), left_s if left_s > 0 else LAST_PAUSE_MAX_S))

    async def _converse(self) -> None:
        """Send, read, think, until the time is over and the bot of the faults is back."""
        scenario = self._case.scenario
        began = time.monotonic()
        banner = BannerWatch(self._chat, self.note, self._case.folder, expected=bool(scenario.faults))
        watching = asyncio.create_task(banner.watch())
        faults = asyncio.create_task(_faults.carry_out(scenario.faults, self._service, began, self._note_fault))
        ends = began + scenario.duration_s
        latest = ends + scenario.service.breaker_cooldown_s + OVERTIME_S
        self._watch.stage(f"one person for {scenario.duration_s:g} s")
        try:
            while time.monotonic() < ends or (not banner.done and time.monotonic() < latest):
                await self._think(ends)
                if time.monotonic() >= ends and banner.done:
                    break
                _, text = self._habits.message()
                async with self._quiet_step("send and read"):
                    told = await self._say(text)
                    await self._until(told.over)
                    await banner.judge(told)
                if faults.done():
                    with answering():
                        faults.result()
            with answering():
                await faults
        finally:
            for task in (faults, watching):
                task.cancel()
            await asyncio.gather(faults, watching, return_exceptions=True)
            banner.close()

    async def _come_back(self) -> None:
        """Reload: the same session, with everything that was said."""
        self._watch.stage("reloading the page")
        session, before = self._chat.session(), dict[str, str]()
        async with self._step("reload"):
            shown = await self._chat.texts()
            before = {cid: text for cid, text in shown.items() if self._witness.answered(cid)}
            await self._chat.reload()
            if self._chat.session() != session:
                raise AssertionError(f"the page came back in session {self._chat.session()!r}, it was {session!r}")
        async with self._step("see the history", "history.png") as step:
            await expect(self._chat.replies.first).to_be_visible()
            step.detail = history(
                await self._stored(session), before, await self._chat.cids(), await self._chat.texts()
            )

    async def _stored(self, session: str) -> list[dict[str, Any]]:
        """What the page must show again; a service that does not give it has failed this step."""
        api = Api(self._service.url)
        try:
            return (await api.transcript(session))[-HISTORY:]
        except TargetDownError as error:
            raise AssertionError(str(error)) from error
        finally:
            api.close()

    # --- Looks ------------------------------------------------------------------------------------------------------
    async def _look_around(self) -> None:
        page = self._chat.page
        await self._look("look at the page", "chat-light.png")
        await page.emulate_media(color_scheme="dark")
        await self._look("look at it in the dark", "chat-dark.png")
        await page.emulate_media(color_scheme="light")
        await page.set_viewport_size(NARROW)
        async with self._step("fit into 320 pixels", "chat-narrow.png"):
            if wider := await self._chat.sideways():
                raise AssertionError(f"the page is {wider} pixels wider than the window")
        await page.set_viewport_size(WIDE)

    async def _look(self, name: str, picture: str) -> None:
        async with self._step(name, picture):
            await expect(self._chat.articles.first).to_be_visible()

    # --- Steps ------------------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def _step(self, name: str, picture: str = "") -> AsyncIterator[_Detail]:
        """Do something, and write down whether it worked; StepError if it did not."""
        begun, detail = time.monotonic(), _Detail()
        async with self._quiet_step(name, begun):
            yield detail
            took_ms = (time.monotonic() - begun) * 1000
            if picture:
                await self._chat.page.screenshot(path=self._case.folder / picture, animations="disabled")
        fact = Stepped(name, ok=True, took_ms=round(took_ms, 1), detail=detail.detail, picture=picture)
        self.note(time.monotonic(), SOURCE, fact)

    @asynccontextmanager
    async def _quiet_step(self, name: str, begun: float | None = None) -> AsyncIterator[None]:
        """Do something that is worth a line only if it does not work."""
        begun = time.monotonic() if begun is None else begun
        try:
            yield
        except (Error, AssertionError, TimeoutError) as error:
            took_ms = round((time.monotonic() - begun) * 1000, 1)
            if await self._gone(error):
                raise StepError(name) from error
            why = self._why(error)
            picture = "failed.png"
            try:
                await self._chat.page.screenshot(path=self._case.folder / picture, timeout=5_000)
            except Error:
                picture = ""  # The page is gone, which is what went wrong.
            self.note(time.monotonic(), SOURCE, Stepped(name, ok=False, took_ms=took_ms, detail=why, picture=picture))
            raise StepError(name) from error

    async def _gone(self, error: BaseException) -> bool:
        """Whether the browser is gone; the news of it may come after the first call that fails of it."""
        if isinstance(error, Error) and any(word in error.message for word in ("closed", "crashed", "Connection")):
            with suppress(TimeoutError):
                async with asyncio.timeout(NEWS_MAX_S):
                    await self._lost.wait()
        return self._lost.is_set()

    def _why(self, error: BaseException) -> str:
        if self._service.ended:
            return f"the service ended with {self._service.ended}"
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return "; ".join(lines[:4])[:400] or "it took too long"

    async def _say(self, text: str) -> Told:
        await self._chat.may_send()
        told = self._witness.press(self._bot, time.monotonic(), text)
        await self._chat.say(text)
        await self._until(told.known)
        return told

    async def _until(self, event: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(each.wait()) for each in (event, self._lost)]
        try:
            async with asyncio.timeout(self._answer_max_s):
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise TimeoutError

    # --- What is left -----------------------------------------------------------------------------------------------
    async def _put_away(self, context: BrowserContext, *, well: bool) -> None:
        """Keep the trace and the console if a step failed; close the tab."""
        folder = self._case.folder
        with suppress(Error, TimeoutError):
            async with asyncio.timeout(OPEN_MAX_S):
                await context.tracing.stop(path=None if well else folder / "trace.zip")
                await context.close()
        if well:
            return
        (folder / "console.txt").write_text("\n".join(self._console) + "\n", encoding="utf-8")
        kept = [name for name in ("trace.zip", "console.txt") if (folder / name).is_file()]
        note = f"kept in {folder.name}/: {', '.join(kept)} (`playwright show-trace trace.zip`)"
        self.note(time.monotonic(), SOURCE, Noted(note))

    async def _read_transcript(self, *, well: bool) -> None:
        sessions = sorted({e.fact.session for e in self.entries if isinstance(e.fact, Sent)} - {""})
        try:
            await read_transcripts(self._service.url, sessions, self.entries)
        except HarnessError as error:
            if well:
                raise
            self.note(time.monotonic(), SOURCE, Noted(str(error)))  # The failed step says the same, and more.

    def _heard_console(self, message: ConsoleMessage) -> None:
        self._console.append(f"{message.type}: {message.text}")
        if message.type == "error":
            self.note(time.monotonic(), SOURCE, ClientBroke("", f"console: {message.text}"))
        elif message.type == "warning":
            self.note(time.monotonic(), SOURCE, Noted(f"console warning: {message.text}"))

    def _note_fault(self, t: float, fact: RunFact) -> None:
        self.note(t, _faults.SOURCE, fact)


class _Detail:
    """What a step has to tell."""

    detail = ""
