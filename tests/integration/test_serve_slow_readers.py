"""A client that does not read: what it may still order, and that nothing of it is lost."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conftest import Served, Talk

LONG = " ".join("a word of 20 letters".replace(" ", "-") for _ in range(1_400))
MESSAGES_MAX = 90
FRAMES_MAX = 6_000
"""Half of it is more than one reply, a quarter more than none: what waits stops between the marks and the bound."""
RECEIVED_MAX = 4_096
"""Bytes that the client's side of the connection holds: the rest waits in the service."""


def run(story: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(40):
            await story

    asyncio.run(bounded())


def metric(service: Served, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", service.call("GET", "/metrics")[1].decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


@asynccontextmanager
async def narrow(service: Served) -> AsyncIterator[Talk]:
    """A real socket with hardly any room on the side of the client."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_MAX)
        raw.connect(("127.0.0.1", service.port))
        raw.setblocking(False)
        async with service.socket(sock=raw, max_queue=1) as talk:
            yield talk


async def fill(service: Served, talk: Talk) -> int:
    """Order replies, one after the other, and read none of them, until the service listens no more; how many."""
    for number in range(MESSAGES_MAX):
        await talk.tell(type="say", cid=f"c{number}", text=LONG)
        # Both numbers come of one look: what was ordered has been said in full, or the service does not listen.
        while not await asyncio.to_thread(settled, service, number + 1):  # noqa: ASYNC110 - another process cannot set an event here
            await asyncio.sleep(0.01)
        if metric(service, "chat_sockets_paused") == 1:
            return number + 1
    raise AssertionError("the system itself has taken everything")


def settled(service: Served, messages: int) -> bool:
    return metric(service, 'chat_turns_total{bot="echo",outcome="done"}') == messages


def test_who_does_not_read_orders_nothing_more_until_it_has_read(chat: Served) -> None:
    chat.start("--set", f"outbound_frames_max={FRAMES_MAX}")
    session = chat.session(chat.launch("echo"))

    async def story() -> None:
        async with narrow(chat) as talk:
            await talk.hello(session)
            ordered = await fill(chat, talk)
            await talk.tell(type="ack", seq=1)  # Makes less work: heard.
            await talk.tell(type="say", cid="late", text="and another")
            await talk.tell(type="say", cid="later", text="and one more")
            # Another client is served meanwhile, and a round trip later nothing of the slow one has been taken.
            async with chat.joined(chat.session("echo")) as other:
                assert (await other.say("c1", "hi"))[-1]["type"] == "end"
            cids = [m["cid"] for m in chat.messages(session) if m["role"] == "user"]
            assert cids == [f"c{number}" for number in range(ordered)]
            assert metric(chat, "chat_sockets_paused") == 1
            heard: list[dict[str, Any]] = []
            while not heard or (heard[-1]["type"], heard[-1].get("cid")) != ("end", "later"):
                heard += [frame for frame in [await talk.hear()] if "seq" in frame]
            assert [frame["seq"] for frame in heard] == list(range(1, len(heard) + 1))
            assert [frame["cid"] for frame in heard if frame["type"] == "accepted"] == [*cids, "late", "later"]

    run(story())
    assert metric(chat, "chat_sockets_paused") == 0
    assert metric(chat, "chat_reader_pauses_total") == 1
    assert metric(chat, "chat_readers_dropped_total") == 0


def test_who_goes_away_while_it_is_not_listened_to_is_forgotten(chat: Served) -> None:
    chat.start("--set", f"outbound_frames_max={FRAMES_MAX}")
    session = chat.session(chat.launch("echo"))

    async def story() -> None:
        async with narrow(chat) as talk:
            await talk.hello(session)
            await fill(chat, talk)
            await talk.tell(type="say", cid="late", text="never heard")
            talk.link.transport.abort()
            while metric(chat, "chat_sockets") != 0:  # noqa: ASYNC110 - another process cannot set an event here
                await asyncio.sleep(0.02)

    run(story())
    assert metric(chat, "chat_sockets_paused") == 0
    assert "Traceback" not in chat.words()
