"""Api: the service's HTTP interface, as far as a run needs it.

In    the service's address
Out   bots launched, statuses read, transcripts read to the last page
Rule  one connection, used by one task at a time, in a thread; every answer that is no success is an error with its text
Why   the standard library is enough for a handful of calls, and the event loop stays free for faults on time
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import quote, urlsplit

from harness.adapters.retry import Retrying, make_recovery
from harness.core.backoff import Backoff
from harness.errors import TargetDownError
from harness.services.recovery import Policy, RecoveryConfig

_PAGE: Final = 500
_SESSIONS: Final = 10_000
"""The most that the service gives at once."""
POLICY: Final = Policy(attempts_max=2, backoff=Backoff(base_s=0.05, cap_s=0.1))


class Api:
    """Calls to one service."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        """Connect at the first call."""
        parts = urlsplit(url)
        self.url = url
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
        self._turn = asyncio.Lock()
        recovery = make_recovery(RecoveryConfig(policy=POLICY))
        # What only asks may ask again whenever no answer came; what changes something, only if it was never sent.
        self._asking, self._telling = Retrying(recovery, "service", keyed=True), Retrying(recovery, "service")

    async def bots(self) -> list[dict[str, Any]]:
        """Read the status of every bot."""
        answer = await self.call("GET", "/api/bots")
        return list(answer["bots"])

    async def launch(self, behaviour: str, name: str, options: Mapping[str, object], seed: int) -> None:
        """Start a bot."""
        body = {"behaviour": behaviour, "name": name, "options": dict(options), "seed": seed}
        await self.call("POST", "/api/bots", body)

    async def online(self, names: tuple[str, ...], *, limit_s: float) -> None:
        """Wait until all these bots take messages; TargetDownError names those that do not."""
        state: dict[str, dict[str, Any]] = {}
        waiting = list(names)
        try:
            async with asyncio.timeout(limit_s):
                while waiting:
                    state = {bot["bot"]: bot for bot in await self.bots()}
                    waiting = [name for name in names if state.get(name, {}).get("state") != "online"]
                    if waiting:
                        await asyncio.sleep(0.05)
        except TimeoutError:
            why = "; ".join(f"{name}: {state.get(name, {}).get('why') or 'no word from it'}" for name in waiting)
            raise TargetDownError(f"not online after {limit_s:g} s: {why}") from None

    async def sessions(self) -> list[str]:
        """List every session, oldest first."""
        answer = await self.call("GET", f"/api/sessions?limit={_SESSIONS}")
        return [str(session["id"]) for session in reversed(answer["sessions"])]

    async def transcript(self, session: str) -> list[dict[str, Any]]:
        """Read a session's messages, all pages, oldest first."""
        messages: list[dict[str, Any]] = []
        before = ""
        while True:
            path = f"/api/sessions/{quote(session, safe='')}/messages?limit={_PAGE}{before}"
            answer = await self.call("GET", path)
            page = answer["messages"]
            messages[:0] = page
            if not answer["more"]:
                return messages
            before = f"&before={quote(page[0]['mid'], safe='')}"

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Make one call; TargetDownError says what the service answered."""
        # A thread cannot be cancelled: whoever stops waiting must not leave the connection to two calls at once.
        running = asyncio.ensure_future(self._in_turn(method, path, body))
        running.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(running)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    async def _in_turn(self, method: str, path: str, body: object) -> Any:
        async with self._turn:
            return await asyncio.to_thread(self._call, method, path, body)

    def _call(self, method: str, path: str, body: object) -> Any:
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        retrying = self._asking if method == "GET" else self._telling
        try:
            response, text = retrying.run(self._exchange, method, path, data, headers)
        except (OSError, http.client.HTTPException) as error:
            raise TargetDownError(f"{method} {self.url}{path}: {str(error) or type(error).__name__}") from None
        if response.status >= http.client.BAD_REQUEST:
            raise TargetDownError(f"{method} {path}: {response.status} {text[:300].decode('utf-8', 'replace')}")
        return json.loads(text) if text else None

    def _exchange(
        self, method: str, path: str, data: str | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        # A service hangs up on a connection that was idle for a while: the next try connects anew.
        with ExitStack() as stack:
            stack.callback(self._connection.close)
            self._connection.request(method, path, data, headers)
            response = self._connection.getresponse()
            text = response.read()
            stack.pop_all()
        return response, text
