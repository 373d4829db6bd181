"""The chat page against the real service: what a person does, and what they must see."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Response, expect

from harness.drivers._page import ChatPage

Play = Callable[[Any], None]
Tab = Callable[..., Any]

MARKDOWN = (
    "# Title\n\n1. one\n2. **two**\n\n> quoted\n\n```python\nprint('hi')\n```\n\n"
    "| a | b |\n|---|--:|\n| 1 | 2 |\n\nend 😀"
)
PAGE_KB_MAX = 80


async def last_cid(chat: ChatPage, count: int = 1) -> str:
    await expect(chat.page.locator("article:not([data-turn])")).to_have_count(count)
    return (await chat.cids())[-1]


async def answered(chat: ChatPage, cid: str) -> None:
    await expect(chat.reply(cid)).to_have_attribute("data-state", "done")


def stored_reply(service: Any, session: str, cid: str) -> str:
    return next(str(m["text"]) for m in service.messages(session) if m["role"] == "bot" and m["cid"] == cid)


def test_launch_select_send_read_and_find_it_again_after_a_reload(service: Any, play: Play, tab: Tab) -> None:
    async def story() -> None:
        async with tab(service.url) as chat:
            await expect(chat.page.get_by_role("heading", name="No bot is running yet")).to_be_visible()
            await chat.launch("slow", name="snail", options={"token_s": 0.02, "first_token_s": 0.3}, seed=3)
            await chat.online("snail")
            await chat.select("snail")
            await chat.say(MARKDOWN)
            cid = await last_cid(chat)
            await expect(chat.sent(cid)).to_have_attribute("data-state", "accepted")
            reply = chat.reply(cid)
            await expect(reply).to_have_attribute("data-state", "streaming")
            await expect(reply).to_have_attribute("aria-busy", "true")
            await answered(chat, cid)
            await expect(reply.get_by_role("listitem").nth(1)).to_have_text("two")
            await expect(reply.get_by_role("cell", name="2")).to_have_attribute("data-align", "right")
            await expect(reply.locator("pre")).to_have_text("print('hi')\n")
            await expect(chat.page.locator("#polite")).to_contain_text("Reply complete")
            streamed = await chat.texts()
            await chat.page.locator("#message").fill("a draft that is not sent")
            await chat.reload()
            await answered(chat, cid)
            assert await chat.texts() == streamed
            assert await chat.cids() == [cid]
            await expect(chat.page.locator("#message")).to_have_value("a draft that is not sent")

    play(story)


def test_a_reload_in_the_middle_of_a_reply_loses_nothing(service: Any, play: Play, tab: Tab) -> None:
    service.launch("slow", "snail", token_s=0.02, first_token_s=0.1)

    async def story() -> None:
        async with tab(service.url) as chat:
            await chat.select("snail")
            await chat.say(" ".join(f"word{n} 😀" for n in range(60)))
            cid = await last_cid(chat)
            for _ in range(3):
                await expect(chat.reply(cid).locator(".prose")).to_contain_text("word2")
                await chat.reload()
            await answered(chat, cid)
            shown = (await chat.texts())[cid]
            assert shown == stored_reply(service, chat.session(), cid)
            await expect(chat.reply(cid)).to_have_attribute("data-intact", "true")

    play(story)


def test_two_tabs_show_the_same_conversation(service: Any, play: Play, tab: Tab) -> None:
    service.launch("slow", "snail", token_s=0.02, first_token_s=0.1)

    async def story() -> None:
        async with tab(service.url) as one:
            await one.select("snail")
            await one.say("the first of two")
            first = await last_cid(one)
            await answered(one, first)
            async with tab(one.page.url, beside=one) as other:
                await answered(other, first)
                await one.say("asked here, " + "seen there " * 10)
                second = await last_cid(other, 2)
                await expect(other.reply(second)).to_have_attribute("data-state", "streaming")
                await other.say("asked there")
                third = await last_cid(one, 3)
                for chat in (one, other):
                    await answered(chat, second)
                    await answered(chat, third)
                    assert await chat.cids() == [first, second, third]
                assert await one.texts() == await other.texts()

    play(story)


# Remembers the page's sockets, so that a test can cut them.
KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket { constructor(...words) { super(...words); window.sockets.push(this); } };
"""


def test_forced_disconnects_lose_no_text_and_double_none(service: Any, play: Play, tab: Tab) -> None:
    service.launch("slow", "snail", token_s=0.02, first_token_s=0.1)

    async def story() -> None:
        async with tab(service.url, before=KEEP_SOCKETS) as chat:
            await chat.select("snail")
            await chat.say(" ".join(f"**w{n}**" for n in range(280)))
            first = await last_cid(chat)
            cuts = 0
            while await chat.reply(first).get_attribute("data-state") != "done":
                await chat.page.evaluate("() => window.sockets.at(-1).close()")
                cuts += 1
                if cuts == 2:
                    await chat.say("said while nobody listens")
                await chat.connected()
                await asyncio.sleep(0.1)
            second = await last_cid(chat, 2)
            await answered(chat, second)
            assert cuts >= 3
            texts = await chat.texts()
            assert texts[first] == stored_reply(service, chat.session(), first).replace("**", "")
            assert [m["cid"] for m in service.messages(chat.session()) if m["role"] == "user"] == [first, second]
            await expect(chat.reply(first)).to_have_attribute("data-intact", "true")

    play(story)


def test_a_killed_service_comes_back_and_gets_what_was_written_meanwhile(service: Any, play: Play, tab: Tab) -> None:
    service.launch("slow", "snail", token_s=0.05, first_token_s=0.1)

    async def story() -> None:
        async with tab(service.url, faults_allowed=("WebSocket connection", "Failed to load resource")) as chat:
            await chat.select("snail")
            await chat.say("long " * 100)
            first = await last_cid(chat)
            await expect(chat.reply(first).locator(".prose")).to_contain_text("long")
            service.kill()
            await expect(chat.page.locator("#strip")).to_contain_text("Reconnecting")
            await chat.say("written while the service was down")
            second = await last_cid(chat, 2)
            await expect(chat.sent(second)).to_contain_text("goes out when the connection is back")
            await asyncio.to_thread(service.start, port=service.port)
            await chat.connected()
            await expect(chat.page.locator("#strip")).to_be_hidden()
            await answered(chat, second)
            # Nothing of the first reply was on disk yet: it is asked again, and arrives whole under the same question.
            await answered(chat, first)
            assert (await chat.texts())[first].split() == stored_reply(service, chat.session(), first).split()
            await chat.reload()
            assert await last_cid(chat, 2) == second
            assert [m["cid"] for m in service.messages(chat.session()) if m["role"] == "user"] == [first, second]

    play(story)


def test_a_reply_can_be_stopped(service: Any, play: Play, tab: Tab) -> None:
    service.launch("slow", "snail", token_s=0.05, first_token_s=0.1)

    async def story() -> None:
        async with tab(service.url) as chat:
            await chat.select("snail")
            await chat.say("on and on " * 50)
            cid = await last_cid(chat)
            await expect(chat.reply(cid).locator(".prose")).to_contain_text("on and on")
            await chat.page.get_by_role("button", name="Stop the reply").click()
            await expect(chat.reply(cid)).to_have_attribute("data-state", "cancelled")
            await expect(chat.reply(cid)).to_contain_text("Stopped.")
            await expect(chat.page.get_by_role("button", name="Stop the reply")).to_be_hidden()

    play(story)


def test_the_banner_comes_and_goes_with_the_breaker(chat: Any, play: Play, tab: Tab) -> None:
    chat.start("--set", "breaker_failures_max=1", "--set", "breaker_cooldown_s=3")
    chat.launch("crash", "frail", after=2)

    async def story() -> None:
        async with tab(chat.url) as page:
            await page.select("frail")
            await page.say("one is fine")
            await answered(page, await last_cid(page))
            await expect(page.banner).to_be_hidden()
            await page.say("two kills it")
            second = await last_cid(page, 2)
            await expect(page.reply(second)).to_have_attribute("data-state", "failed")
            await expect(page.reply(second)).to_contain_text("died in the middle")
            await expect(page.banner).to_have_attribute("data-breaker", "open")
            await expect(page.banner).to_contain_text("Bot Unavailable (recovering)")
            await page.say("three is refused")
            third = await last_cid(page, 3)
            await expect(page.sent(third)).to_have_attribute("data-code", "circuit-open")
            await expect(page.sent(third)).to_contain_text("Not sent: Bot Unavailable (recovering)")
            await expect(page.banner).to_contain_text("The next message tests it.")
            await page.reload()  # What was refused is still here, with its reason.
            await expect(page.sent(third)).to_contain_text("Not sent: Bot Unavailable (recovering)")
            await page.sent(third).get_by_role("button", name="Try again").click()
            await answered(page, third)
            await expect(page.banner).to_be_hidden()
            assert [m["cid"] for m in chat.messages(page.session()) if m["role"] == "user"].count(third) == 1

    play(story)


def test_what_cannot_be_sent_stays_in_the_box_with_the_reason(chat: Any, play: Play, tab: Tab) -> None:
    chat.start("--set", "text_chars_max=20")
    chat.launch("echo")

    async def story() -> None:
        async with tab(chat.url) as page:
            await page.select("echo")
            await page.say("   ")
            await expect(page.fault).to_have_text("Write something first.")
            await page.say("x" * 25)
            await expect(page.fault).to_have_text("Too long by 5 characters.")
            await expect(page.page.locator("#message")).to_have_value("x" * 25)
            await expect(page.articles).to_have_count(0)

    play(story)


def test_enter_sends_but_not_in_the_middle_of_a_character(service: Any, play: Play, tab: Tab) -> None:
    service.launch("echo")

    async def story() -> None:
        async with tab(service.url) as chat:
            await chat.select("echo")
            box = chat.page.locator("#message")
            await box.fill("漢")
            for composing in ('{ isComposing: true, key: "Enter" }', '{ keyCode: 229, key: "Enter" }'):
                event = f"(box) => box.dispatchEvent(new KeyboardEvent('keydown', {composing}))"
                await box.evaluate(event)
            await box.press("Shift+Enter")
            await box.press_sequentially("字")
            await expect(box).to_have_value("漢\n字")
            await expect(chat.articles).to_have_count(0)
            await box.press("Enter")
            cid = await last_cid(chat)
            await answered(chat, cid)
            await expect(chat.sent(cid).locator(".typed")).to_have_text("漢\n字")

    play(story)


def test_the_launch_form_says_what_is_wrong_and_a_bot_can_be_removed(service: Any, play: Play, tab: Tab) -> None:
    service.launch("echo", "twin")

    async def story() -> None:
        async with tab(service.url, faults_allowed=("409", "422")) as chat:
            with pytest.raises(AssertionError, match="hidden"):
                await asyncio.wait_for(_short(chat.launch("echo", name="twin")), 30)
            form = chat.page.get_by_role("dialog", name="Launch a bot")
            await expect(form.get_by_role("alert")).to_contain_text("there is a bot 'twin' already")
            await form.get_by_label("Name").fill("Not A Name")
            await form.get_by_role("button", name="Launch", exact=True).click()
            await expect(form.get_by_role("alert")).to_contain_text("must be 1 to 40 of a-z")
            await form.get_by_role("button", name="Close").click()
            await chat.select("twin")
            await chat.page.get_by_role("button", name="Remove this bot").click()
            await chat.page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
            await expect(chat.bot("twin")).to_have_count(0)
            await expect(chat.page.get_by_role("heading", name="twin is not running")).to_be_visible()

    async def _short(launching: Any) -> None:
        expect.set_options(timeout=1_000)
        try:
            await launching
        finally:
            expect.set_options(timeout=20_000)

    play(story)


def test_long_histories_are_loaded_in_parts(service: Any, play: Play, tab: Tab) -> None:
    service.launch("echo")
    session = service.session("echo")

    async def story() -> None:
        async with service.joined(session) as talk:
            for number in range(60):
                await talk.say(f"c{number}", f"message {number}")
        async with tab(f"{service.url}/#/echo/{session}") as chat:
            await expect(chat.articles).to_have_count(50)
            assert (await chat.cids())[0] == "c35"
            top = chat.sent("c35")
            await top.scroll_into_view_if_needed()
            await chat.page.get_by_role("button", name="Load earlier messages").click()
            await expect(chat.articles).to_have_count(100)
            await expect(top).to_be_in_viewport()  # What was read has not moved away.
            await chat.page.get_by_role("button", name="Load earlier messages").click()
            await expect(chat.articles).to_have_count(120)
            await expect(chat.page.get_by_role("button", name="Load earlier messages")).to_be_hidden()
            assert await chat.cids() == [f"c{number}" for number in range(60)]
            await chat.page.get_by_role("button", name="Newest").click()
            await expect(chat.reply("c59")).to_be_in_viewport()

    play(story)


def test_what_is_read_does_not_move_while_a_reply_comes(service: Any, play: Play, tab: Tab) -> None:
    service.launch("slow", "snail", token_s=0.01, first_token_s=0.1)
    session = service.session("snail")

    async def story() -> None:
        async with service.joined(session) as talk:
            for number in range(8):
                await talk.say(f"c{number}", "some words " * 20)
        async with tab(f"{service.url}/#/snail/{session}") as chat:
            await answered(chat, "c7")
            await chat.say("one\n\n" * 60)
            cid = await last_cid(chat, 9)
            await expect(chat.reply(cid)).to_be_in_viewport()
            await expect(chat.reply(cid)).to_contain_text("one")
            await chat.reply("c2").scroll_into_view_if_needed()
            place = "(article) => article.getBoundingClientRect().top"
            before = await chat.reply("c2").evaluate(place)
            await answered(chat, cid)
            assert abs(await chat.reply("c2").evaluate(place) - before) <= 2
            await chat.page.get_by_role("button", name="New messages").click()
            await expect(chat.reply(cid).locator("p").last).to_be_in_viewport()

    play(story)


def test_the_page_is_small_and_asks_nobody_else(service: Any, play: Play, tab: Tab) -> None:
    async def story() -> None:
        async with tab(service.url) as chat:
            heard: list[Response] = []
            chat.page.on("response", lambda response: heard.append(response))  # noqa: PLW0108 - Playwright wants a function
            await chat.reload()
            names = {response.url.removeprefix(service.url) for response in heard}
            assert all(name.startswith("/") for name in names), names
            assert all(response.status < 400 for response in heard), [(r.status, r.url) for r in heard]
            files = Path(__file__).parents[2] / "harness" / "server" / "page"
            fetched = [name.removeprefix("/static/") for name in names if name.startswith("/static/")]
            wanted = [files / "index.html", *(files / name for name in fetched)]
            size = sum(len(gzip.compress(path.read_bytes(), mtime=0)) for path in wanted)
            assert size < PAGE_KB_MAX * 1000, f"{size:,} bytes in {len(wanted)} files"
            preloaded = await chat.page.locator("link[rel=modulepreload]").evaluate_all("(l) => l.map((x) => x.href)")
            scripts = {name for name in fetched if name.endswith(".js")} - {"app.js"}
            assert {str(url).removeprefix(f"{service.url}/static/") for url in preloaded} == scripts

    play(story)
