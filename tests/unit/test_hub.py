"""What one connection writes, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import orjson

from harness.core.events import BotStatus
from harness.core.settings import Settings
from harness.server.hub import Connection, encode


def status(state: str) -> BotStatus:
    return BotStatus("b", "echo", state, "closed", None, 1, 0, 0, 0, "")


def test_a_state_that_is_newer_than_a_welcome_does_not_overtake_it() -> None:
    """The welcome lists the bots: an older list behind a newer state would win."""
    sent: list[dict[str, Any]] = []

    async def story() -> None:
        all_three = asyncio.Event()

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(orjson.loads(message["text"]) if "text" in message else {"type": "close"})
            if len(sent) >= 3:
                all_three.set()

        connection = Connection(1, send, frames_max=10)
        connection.tell_status("b", encode(status("starting")))  # Older than the welcome: it is in there.
        connection.welcome(
            session=None,
            epoch="e",
            head_seq=0,
            recovered=False,
            messages=[],
            more=False,
            settings=Settings(),
            statuses=[status("starting")],
        )
        connection.tell_status("b", encode(status("online")))
        connection.tell_status("b", encode(status("restarting")))
        connection.tell(encode(status("stopped")))
        writing = asyncio.create_task(connection.write_on())
        await all_three.wait()
        connection.close(1000, "")
        await writing

    asyncio.run(asyncio.wait_for(story(), 10))
    assert [frame["type"] for frame in sent] == ["welcome", "bot-status", "bot-status", "close"]
    assert [frame.get("state") for frame in sent[1:3]] == ["restarting", "stopped"]
