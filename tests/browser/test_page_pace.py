"""What the page does when the service asks it to wait: real refusals of a real service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import ViewportSize, expect

from harness.drivers._page import ChatPage

Play = Callable[[Any], None]
Tab = Callable[..., Any]

HEAR = """
window.heard = [];
addEventListener("DOMContentLoaded", () => new MutationObserver((all) => {
  for (const { target } of all) if (target.matches?.("#polite, #assertive")) window.heard.push(target.textContent);
}).observe(document.body, { subtree: true, childList: true, characterData: true }));
"""


async def announced(chat: ChatPage, words: str) -> int:
    """How often the live regions said something that holds these words."""
    heard: list[str] = await chat.page.evaluate("() => window.heard")
    return sum(words in said for said in heard)


async def texts_of(chat: ChatPage) -> list[str]:
    found: list[str] = await chat.page.locator("article:not([data-turn]) .typed").all_inner_texts()
    return found


def test_who_sends_too_fast_is_slowed_down_and_everything_arrives_in_order(chat: Any, play: Play, tab: Tab) -> None:
    chat.start("--set", "session_rate_per_s=0.5", "--set", "session_burst=1")
    chat.launch("echo")

    async def story() -> None:
        async with tab(chat.url) as page:
            await page.select("echo")
            await page.say("one")
            await expect(page.replies.first).to_have_attribute("data-state", "done")
            await page.say("two")
            waits = page.page.locator("article[data-again]")
            await expect(waits).to_contain_text("Not sent yet: You are sending faster than the service takes it.")
            await expect(waits).to_contain_text("It goes out by itself in")
            await expect(waits).to_have_attribute("data-code", "rate-limited")
            await expect(page.page.locator("#send")).to_have_attribute("aria-disabled", "true")
            await expect(page.page.locator("#composer-keys")).to_contain_text("You can send again in")
            await page.say("three")  # Enter does not send; the text stays where it was written.
            await expect(page.page.locator("#message")).to_have_value("three")
            await expect(page.page.locator("#assertive")).to_contain_text("You can send again in")
            await expect(page.page.locator("article:not([data-turn])")).to_have_count(2)
            await expect(page.replies).to_have_count(2)
            await page.may_send()
            await page.page.locator("#send").click()
            await expect(page.replies).to_have_count(3)
            assert await texts_of(page) == ["one", "two", "three"]
        stored = [m["text"] for m in chat.messages(page.session()) if m["role"] == "user"]
        assert stored == ["one", "two", "three"]

    play(story)


def test_what_waits_can_be_taken_back(chat: Any, play: Play, tab: Tab) -> None:
    chat.start("--set", "session_rate_per_s=0.5", "--set", "session_burst=1")
    chat.launch("echo")

    async def story() -> None:
        async with tab(chat.url) as page:
            await page.select("echo")
            await page.say("one")
            await expect(page.replies.first).to_have_attribute("data-state", "done")
            await page.say("two")
            await page.page.locator("article[data-again]").get_by_role("button", name="Remove").click()
            await page.may_send()
            await expect(page.articles).to_have_count(2)
            await page.say("three")
            await expect(page.replies).to_have_count(2)
            assert [m["text"] for m in chat.messages(page.session()) if m["role"] == "user"] == ["one", "three"]

    play(story)


@pytest.mark.parametrize("width", [320, 1280])
def test_a_mode_is_shown_calmly_announced_once_and_gone_when_it_is_over(
    service: Any, play: Play, tab: Tab, width: int
) -> None:
    service.launch("echo")

    def order(mode: str, reason: str = "") -> Any:
        body = {"mode": mode, "author": "ada", "reason": reason, "ttl_s": 600}
        return asyncio.to_thread(service.call, "PUT", "/api/mode", body)

    async def story() -> None:
        async with tab(service.url, viewport=ViewportSize(width=width, height=640), before=HEAR) as chat:
            await chat.select("echo")
            banner = chat.page.locator("#mode")
            await expect(banner).to_be_hidden()
            await order("degraded", "the disk is slow")
            await expect(banner).to_have_attribute("data-mode", "degraded")
            await expect(banner).to_contain_text("Reduced service: no bots are launched")
            await expect(banner).to_contain_text("Why: the disk is slow.")
            calm = await banner.evaluate("(e) => getComputedStyle(e).backgroundColor")
            await chat.say("this still works")
            await expect(chat.replies.first).to_have_attribute("data-state", "done")
            await order("maintenance", "new disks")
            await expect(banner).to_contain_text("Maintenance: no messages are taken. Why: new disks. Over in 10 min.")
            assert await banner.evaluate("(e) => getComputedStyle(e).backgroundColor") != calm
            assert await chat.sideways() == 0
            await expect(chat.page.locator("#composer-keys")).to_contain_text("People are working on the service.")
            await chat.say("a text that is kept")
            await expect(chat.page.locator("#message")).to_have_value("a text that is kept")
            await chat.page.reload()
            await expect(banner).to_have_attribute("data-mode", "maintenance")
            await expect(chat.page.locator("#message")).to_have_value("a text that is kept")
            await asyncio.sleep(2.5)  # Seconds pass on the screen, not in a screen reader.
            await expect(chat.page.locator("#polite")).to_contain_text("Maintenance:")
            assert await announced(chat, "Maintenance: no messages are taken") == 1
            await order("auto")
            await expect(banner).to_be_hidden()
            await expect(chat.page.locator("#polite")).to_contain_text("You can send again.")
            await chat.page.locator("#message").press("Enter")
            await expect(chat.replies).to_have_count(2)

    play(story)


def test_a_breaker_by_hand_is_told_in_words(service: Any, play: Play, tab: Tab) -> None:
    service.launch("echo")

    def force(state: str, ttl_s: float = 600.0) -> Any:
        body = {"state": state, "author": "ada", "ttl_s": ttl_s}
        return asyncio.to_thread(service.call, "PUT", "/api/bots/echo/breaker", body)

    async def story() -> None:
        async with tab(service.url) as chat:
            await chat.select("echo")
            row = chat.bot("echo")
            for state, words in (("metrics-only", "breaker only counts"), ("disabled", "breaker switched off")):
                await force(state)
                await expect(row).to_have_attribute("data-breaker", state)
                await expect(row).to_contain_text(words)
                await expect(chat.banner).to_be_hidden()
            await force("forced-open")
            await expect(row).to_contain_text("switched off")
            await expect(chat.banner).to_have_attribute("data-breaker", "forced-open")
            await expect(chat.banner).to_contain_text("Bot Unavailable: It was switched off (forced-open by ada).")
            await chat.say("is anybody there")
            sent = chat.page.locator("article:not([data-turn])")
            await expect(sent).to_contain_text("Not sent: Bot Unavailable")
            await expect(chat.page.locator("#send")).to_have_attribute("aria-disabled", "true")
            await sent.get_by_role("button", name="Try again").click()  # Not now: as soon as it may.
            await expect(sent).to_have_attribute("data-again", "true")
            await force("closed")
            await expect(chat.replies.first).to_have_attribute("data-state", "done")
            await expect(chat.banner).to_be_hidden()

    play(story)


def test_a_bot_with_several_processes_says_so(chat: Any, play: Play, tab: Tab) -> None:
    chat.start("--set", "instances_max=2", "--set", "turns_max=1")
    chat.launch("slow", "snail", first_token_s=1.0, token_s=0.2)

    async def story() -> None:
        async with tab(chat.url) as page:
            await page.select("snail")
            for number in range(4):
                await page.say(f"{number} and some words to keep it busy")
            await expect(page.bot("snail")).to_contain_text("2 processes")

    play(story)
