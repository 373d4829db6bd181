"""How the page comes back: by what the service said, by who looks, and never in a storm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import WebSocketRoute, expect

from harness.drivers._page import ChatPage

Play = Callable[[Any], None]
Tab = Callable[..., Any]

LOST = ("WebSocket connection", "Failed to load resource")
DICE = "Math.random = () => window.dice ?? 0.5;"
"""Before the page: the waits are known."""


async def stand_between(chat: ChatPage, code: int) -> list[WebSocketRoute]:
    """Stand between the page and the service: welcome every connection, then close it; give those that came."""
    met: list[WebSocketRoute] = []
    welcome = {
        "type": "welcome", "v": 1, "session": None, "epoch": "e", "head_seq": 0, "recovered": False,
        "messages": [], "more": False, "limits": {"text_chars_max": 9, "frame_bytes_max": 99}, "bots": [],
    }  # fmt: skip
    closing: set[asyncio.Future[None]] = set()

    def meet(route: WebSocketRoute) -> None:
        met.append(route)

        def hear(message: str | bytes) -> None:
            if json.loads(message)["type"] == "hello":
                route.send(json.dumps(welcome))
                closing.add(asyncio.ensure_future(route.close(code=code)))

        route.on_message(hear)

    await chat.page.route_web_socket("**/ws", meet)
    return met


async def strip(chat: ChatPage, *words: str) -> None:
    for word in words:
        await expect(chat.page.locator("#strip-text")).to_contain_text(word)


@pytest.mark.parametrize(
    ("code", "words"),
    [(1012, "The service restarts"), (1013, "too much to do"), (1008, "refused the connection")],
)
def test_the_page_says_how_the_service_said_goodbye(service: Any, play: Play, tab: Tab, code: int, words: str) -> None:
    async def story() -> None:
        async with tab(service.url, before=DICE, faults_allowed=LOST) as chat:
            await chat.connected()
            met = await stand_between(chat, code)
            await chat.page.reload()
            await strip(chat, words, "Reconnecting in")
            await expect(chat.page.locator("#connection")).to_have_attribute("data-state", "waiting")
            assert len(met) == 1
            await chat.page.locator("#strip-now").click()
            await strip(chat, words)
            assert len(met) == 2

    play(story)


def test_a_service_that_welcomes_and_closes_at_once_is_not_stormed(service: Any, play: Play, tab: Tab) -> None:
    async def story() -> None:
        async with tab(service.url, before=DICE, faults_allowed=LOST) as chat:
            await chat.connected()
            met = await stand_between(chat, 1011)
            await chat.page.clock.install()
            await chat.page.reload()
            for _ in range(120):
                await chat.page.clock.run_for(500)
                await asyncio.sleep(0.01)
            # Half of 0.5, 1, 2, 4, 8, 15, 15 ... seconds: eleven in the first minute, with a reset each time 240.
            assert 5 <= len(met) <= 14, len(met)

    play(story)


def test_a_restart_of_the_service_is_told_and_resumed(service: Any, play: Play, tab: Tab) -> None:
    service.launch("slow", "snail", token_s=0.02, first_token_s=0.1)

    async def story() -> None:
        async with tab(service.url, before=DICE, faults_allowed=LOST) as chat:
            await chat.select("snail")
            await chat.say("before")
            await asyncio.to_thread(service.stop)
            await strip(chat, "Reconnecting")
            await expect(chat.page.locator("#connection")).to_have_attribute("data-state", "waiting")
            await chat.say("meanwhile")
            await asyncio.to_thread(service.start, port=service.port)
            await chat.connected()
            await expect(chat.page.locator("#strip")).to_be_hidden()
            cids = await chat.cids()
            for cid in cids:
                await expect(chat.reply(cid)).to_have_attribute("data-state", "done")
            assert [m["cid"] for m in service.messages(chat.session()) if m["role"] == "user"] == cids
            assert len(cids) == 2

    play(story)


def test_a_device_that_is_offline_says_so_and_comes_back_when_the_network_does(
    service: Any, play: Play, tab: Tab
) -> None:
    async def story() -> None:
        async with tab(service.url, before=DICE, faults_allowed=(*LOST, "ERR_INTERNET")) as chat:
            await chat.connected()
            await chat.page.evaluate("() => { window.dice = 0.999; }")
            service.kill()
            await strip(chat, "Reconnecting")
            await chat.page.context.set_offline(True)
            await strip(chat, "This device is offline")
            await asyncio.to_thread(service.start, port=service.port)
            await chat.page.evaluate("() => { window.dice = 0; }")
            await chat.page.context.set_offline(False)
            await chat.connected()

    play(story)
