"""What one client may cost the service."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextlib import closing
from pathlib import Path
from typing import Any

from harness.adapters.breaker_log import BreakerLog
from harness.adapters.sqlite import Store
from harness.core.settings import Settings
from harness.server.service import Service
from harness.server.websocket import Endpoint

Message = MutableMapping[str, Any]


class Caller:
    """A client of the endpoint, without a network between them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.say: asyncio.Queue[Message] = asyncio.Queue()
        self.say.put_nowait({"type": "websocket.connect"})
        self.call = asyncio.create_task(endpoint({"headers": []}, self.say.get, self.heard.put))

    async def hang_up(self) -> None:
        self.say.put_nowait({"type": "websocket.disconnect"})
        await self.call


def test_one_connection_too_many_is_told_so_and_may_come_back(tmp_path: Path) -> None:
    async def story() -> None:
        with closing(Store(tmp_path / "chat.sqlite3")) as store, closing(BreakerLog(tmp_path)) as breaker_log:
            service = Service(settings=Settings(), epoch="e", store=store, breaker_log=breaker_log, journal=None)
            endpoint = Endpoint(service, connections_max=2)
            first, second = Caller(endpoint), Caller(endpoint)
            for caller in (first, second):
                assert (await caller.heard.get())["type"] == "websocket.accept"
            third = Caller(endpoint)
            await third.call
            assert third.heard.get_nowait()["type"] == "websocket.accept"
            close = third.heard.get_nowait()
            assert (close["type"], close["code"]) == ("websocket.close", 1013)
            assert close["reason"] == "2 connections are open already: come back later"
            await first.hang_up()
            fourth = Caller(endpoint)
            fourth.say.put_nowait({"type": "websocket.receive", "text": '{"type":"hello","v":1,"session":null}'})
            assert (await fourth.heard.get())["type"] == "websocket.accept"
            assert '"welcome"' in (await fourth.heard.get())["text"]
            for caller in (second, fourth):
                await caller.hang_up()

    asyncio.run(asyncio.wait_for(story(), 30))
