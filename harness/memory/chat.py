"""Chat: a small client that talks to the service for a leak check, and leaves nothing behind in it.

In    the service's address, a bot; then batches of texts
Out   how many were answered, how many failed, and the first failure's words
Rule  every frame is acknowledged at the end of a batch, and a ping comes back before the batch counts as over:
      what the service still holds then, it holds for reasons of its own
Why   a session's log that grows because nobody acknowledged would look like a leak
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from harness.errors import NoVerdictError, TargetDownError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

ACK_EVERY: Final = 32
"""Frames between two acknowledgements, as docs/reference/websocket.md asks."""
SILENCE_MAX_S: Final = 90.0
"""The service fails a silent turn by itself after 30 s; beyond this it is the service that is silent."""
CLOSE_MAX_S: Final = 2.0

Frame = dict[str, object]


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of one batch."""

    answered: int = 0
    failed: int = 0
    first_failure: str = ""

    def __add__(self, other: Heard) -> Heard:
        """Join two batches."""
        return Heard(
            self.answered + other.answered,
            self.failed + other.failed,
            self.first_failure or other.first_failure,
        )


class Talk:
    """One WebSocket in one session, for as long as the check lasts."""

    def __init__(self, socket: ClientConnection) -> None:
        """Speak over ``socket``, which has said hello."""
        self._socket = socket
        self._said = 0
        self._seq = 0
        self._acked = 0

    async def converse(self, texts: Sequence[str], *, ahead: int) -> Heard:
        """Send every text, at most ``ahead`` without an answer at a time; return when all are answered and acked."""
        waiting: set[str] = set()
        left: Iterator[str] = iter(texts)
        heard = Heard()
        for text in (text for _, text in zip(range(ahead), left, strict=False)):
            waiting.add(await self._say(text))
        while waiting:
            frame = await self._next()
            outcome = _outcome(frame)
            if outcome is None or frame.get("cid") not in waiting:
                continue
            waiting.remove(str(frame["cid"]))
            heard += outcome
            text = next(left, "")
            if text:
                waiting.add(await self._say(text))
        await self.settle()
        return heard

    async def settle(self) -> None:
        """Acknowledge everything, and wait until the service has worked through what this socket sent."""
        await self._ack()
        await self._send({"type": "ping", "t": self._said})
        while (await self._next()).get("type") != "pong":
            pass

    async def _say(self, text: str) -> str:
        self._said += 1
        cid = f"m{self._said}"
        await self._send({"type": "say", "cid": cid, "text": text})
        return cid

    async def _ack(self) -> None:
        if self._seq > self._acked:
            self._acked = self._seq
            await self._send({"type": "ack", "seq": self._seq})

    async def _send(self, frame: Frame) -> None:
        try:
            await self._socket.send(json.dumps(frame))
        except WebSocketException as error:
            raise _lost(error) from None

    async def _next(self) -> Frame:
        frame = await _read(self._socket)
        if frame.get("type") == "error":
            raise NoVerdictError(f"the service did not understand the leak check: {frame.get('message')}")
        seq = frame.get("seq")
        if isinstance(seq, int):
            self._seq = seq
            if self._seq - self._acked >= ACK_EVERY:
                await self._ack()
        return frame


@asynccontextmanager
async def talk(service: str, session: str) -> AsyncIterator[Talk]:
    """Join ``session`` and stay; the socket is closed on leaving."""
    address = f"ws{service.removeprefix('http').rstrip('/')}/ws"
    try:
        # No compression: its dictionaries belong to the socket, not to the messages. No proxy: it is this machine.
        # No limit to what waits to be read: what is on its way is bounded, and a full queue would hold up the close.
        socket = await connect(
            address, compression=None, proxy=None, max_size=None, max_queue=None, close_timeout=CLOSE_MAX_S
        )
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise TargetDownError(f"{address}: {error}") from None
    try:
        await socket.send(json.dumps({"type": "hello", "v": 1, "session": session, "epoch": None, "last_seq": 0}))
        welcome = await _read(socket)
        while welcome.get("type") == "bot-status":
            welcome = await _read(socket)
        if welcome.get("type") != "welcome":
            raise NoVerdictError(f"{address}: no welcome, but {str(welcome)[:200]}")
        joined = Talk(socket)
        head = welcome.get("head_seq")
        joined._seq = joined._acked = head if isinstance(head, int) else 0  # noqa: SLF001 - this module's own
        yield joined
    finally:
        with suppress(WebSocketException, OSError):
            await socket.close()


async def open_session(service: str, bot: str) -> str:
    """Make a session with ``bot`` and return its id."""
    answer = await asyncio.to_thread(_call, service, "POST", "/api/sessions", {"bot": bot, "title": "leak check"})
    return str(answer["id"])


async def idle(service: str, *, within_s: float = 60.0) -> None:
    """Wait until no bot has anything in flight or queued; NoVerdictError names the one that does not finish."""
    try:
        async with asyncio.timeout(within_s):
            while busy := await asyncio.to_thread(_busy, service):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise NoVerdictError(f"still busy {within_s:g} s after the last reply: {busy}") from None


def _busy(service: str) -> str:
    bots = _call(service, "GET", "/api/bots").get("bots")
    assert isinstance(bots, list)
    return ", ".join(str(bot["bot"]) for bot in bots if bot["in_flight"] or bot["queued"])


def _call(service: str, method: str, path: str, body: Frame | None = None) -> Frame:
    # http.client, unlike urllib, never asks the environment for a proxy.
    parts = urlsplit(service)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"})
        response = connection.getresponse()
        raw = response.read()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise NoVerdictError(f"{method} {path}: {response.status} {raw[:200].decode(errors='replace')}")
        answer: Frame = json.loads(raw)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TargetDownError(f"{method} {service}{path}: {error}") from None
    finally:
        connection.close()
    return answer


async def _read(socket: ClientConnection) -> Frame:
    try:
        async with asyncio.timeout(SILENCE_MAX_S):
            frame: Frame = json.loads(await socket.recv())
    except TimeoutError:
        raise NoVerdictError(f"the service said nothing for {SILENCE_MAX_S:g} s; the leak check waits for it") from None
    except WebSocketException as error:
        raise _lost(error) from None
    return frame


def _lost(error: Exception) -> NoVerdictError:
    return NoVerdictError(f"the service closed a connection of the leak check: {error}")


def _outcome(frame: Frame) -> Heard | None:
    match frame.get("type"):
        case "end":
            return Heard(answered=1)
        case "failed" | "rejected":
            return Heard(failed=1, first_failure=f"{frame.get('code')}: {frame.get('message')}")
        case _:
            return None
