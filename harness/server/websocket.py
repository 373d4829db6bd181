"""WebSocket: frames of a client, checked and turned into facts.

In    text frames as docs/reference/websocket.md describes them
Out   facts for the pump; an ``error`` frame that says what was wrong with a frame, and the connection stays
Rule  nothing of a client is believed: types, lengths, sessions and the origin are checked here
Why   behind this line every value is what its type says

The endpoint speaks ASGI itself: a third of the cost of a small frame would be the framework's WebSocket object.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any, Final

import orjson

from harness.core.events import ClientAcked, ClientJoined, ClientLeft, Rejected, UserCancelled, UserSaid
from harness.errors import StoreError
from harness.server.hub import Connection, encode
from harness.server.origin import same_origin
from harness.server.refusals import FrameError, frame
from harness.server.service import Service
from harness.services.water_marks import WaterMarksConfig

VERSION: Final = 1
HELLO_MAX_S: Final = 5.0
CLOSE_POLICY: Final = 1008
CLOSE_LATER: Final = 1013
CONNECTIONS_MAX: Final = 5_000
"""Sockets open at once; each may hold buffers and a file descriptor of this process."""
CID_CHARS_MAX: Final = 64
ID_CHARS_MAX: Final = 200
"""Sessions, epochs and turns are ours and shorter; anything longer is not worth a look into the store."""
FRAMES_A_TURN: Final = 32
EASING: Final = ("ack", "cancel")
SEQ_MAX: Final = 2**53

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Body = dict[str, Any]


class Endpoint:
    """``/ws``."""

    def __init__(self, service: Service, *, connections_max: int = CONNECTIONS_MAX) -> None:
        """Turn frames into facts of this service."""
        self._service, self._connections_max = service, connections_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection from its handshake to its end."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        if not same_origin(scope["headers"]):
            await send({"type": "websocket.close", "code": CLOSE_POLICY, "reason": "a foreign Origin"})
            return
        service = self._service
        hub = service.hub
        if len(hub.connections) >= self._connections_max:
            said = f"{self._connections_max} connections are open already: come back later"
            await send({"type": "websocket.close", "code": CLOSE_LATER, "reason": said})
            return
        settings = service.settings
        connection = Connection(
            hub.number(),
            send,
            frames_max=settings.outbound_frames_max,
            marks=WaterMarksConfig(high=settings.outbound_high_share, low=settings.outbound_low_share),
            tally=hub.tally,
        )
        hub.add(connection)
        writing = asyncio.get_running_loop().create_task(connection.write_on(), name=f"socket {connection.number}")
        try:
            await self._converse(connection, receive)
        finally:
            hub.drop(connection)
            if connection.session is not None:
                service.handle(ClientLeft(connection.number, connection.session))
            await _finish(writing)

    async def _converse(self, connection: Connection, receive: Receive) -> None:
        try:
            async with asyncio.timeout(HELLO_MAX_S):
                while not connection.greeted:
                    if not await self._next(connection, receive):
                        return
        except TimeoutError:
            connection.close(CLOSE_POLICY, f"no hello within {HELLO_MAX_S:g} s")
        heard = 0
        while await self._next(connection, receive):
            heard += 1
            if heard % FRAMES_A_TURN == 0:
                await asyncio.sleep(0)  # Frames that have arrived are handed over without a pause: let others in.

    async def _next(self, connection: Connection, receive: Receive) -> bool:
        """Hear one frame; False when the connection is gone."""
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return False
        await self._service.room()
        if connection.paused and not self._eases(message):
            # It waits here, and so does all that comes after it: the socket is not read meanwhile.
            await connection.calm()
        if connection.closing:
            return True  # What is read is thrown away; it was not accepted, so it is still the client's.
        try:
            self._hear(connection, message)
        except FrameError as error:
            self._service.recovery.note(error, monotonic())
            connection.tell(frame(error))
        return True

    def _eases(self, message: MutableMapping[str, Any]) -> bool:
        """Whether a frame makes less work, not more: what a slow reader may always say."""
        try:
            return self._parse(message).get("type") in EASING
        except FrameError:
            return False

    def _hear(self, connection: Connection, message: MutableMapping[str, Any]) -> None:
        body = self._parse(message)
        kind = body.get("type")
        rule = _RULES.get(kind) if isinstance(kind, str) else None
        if rule is None:
            raise FrameError(
                "unknown-type", f"a frame of unknown type {_said(kind)}; this service knows {', '.join(_RULES)}"
            )
        if not connection.greeted and kind != "hello":
            raise FrameError("hello-first", f"{kind!r} came before hello: say hello first")
        rule(self._service, connection, body)

    def _parse(self, message: MutableMapping[str, Any]) -> Body:
        text = message.get("text")
        limit = self._service.settings.frame_bytes_max
        if text is None:
            raise FrameError("not-json", "a binary frame: send JSON as a text frame")
        # A character has at most four bytes: most frames need no counting.
        if len(text) * 4 > limit and (size := len(text.encode())) > limit:
            raise FrameError("too-big", f"a frame of {size:,} bytes; the limit is {limit:,} bytes: send less at once")
        try:
            body = orjson.loads(text)
        except ValueError as error:
            raise FrameError("not-json", f"a frame that is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise FrameError("not-json", f"a frame that is no JSON object, but {_said(body)}")
        return body


def _hello(service: Service, connection: Connection, body: Body) -> None:
    if (version := body.get("v")) != VERSION or isinstance(version, bool):
        raise FrameError("wrong-version", f"hello says version {_said(version)}; this service speaks v {VERSION}")
    if "session" not in body:
        raise FrameError("bad-field", "hello needs 'session': a session's id, or null to hear of bots only")
    session = None if body["session"] is None else _text(body, "session", ID_CHARS_MAX)
    epoch = None if body.get("epoch") is None else _text(body, "epoch", ID_CHARS_MAX)
    last_seq = _whole(body, "last_seq", 0)
    merges = body.get("merge", False)
    if not isinstance(merges, bool):
        raise FrameError("bad-field", f"'merge' of hello must be true or false, got {_said(merges)}")
    bot = ""
    if session is not None:
        found = _ask_store(lambda: service.store.bot_of(session))
        if found is None:
            raise FrameError(
                "unknown-session", f"there is no session {session!r}: make one with POST /api/sessions first"
            )
        bot = found
    if connection.session is not None:
        service.hub.leave(connection)
        service.handle(ClientLeft(connection.number, connection.session))
    connection.session, connection.bot, connection.merges = session, bot, merges
    connection.greeted = True
    if session is None:
        connection.welcome(
            session=None,
            epoch=service.epoch,
            head_seq=0,
            recovered=False,
            messages=[],
            more=False,
            settings=service.settings,
            statuses=service.statuses(),
            mode=service.mode(),
        )
    else:
        service.handle(ClientJoined(connection.number, session, epoch, last_seq))


def _say(service: Service, connection: Connection, body: Body) -> None:
    session = _session(connection, "say")
    cid = _text(body, "cid", CID_CHARS_MAX)
    text = body.get("text")
    if not isinstance(text, str):
        raise FrameError("bad-field", f"'text' of say must be a string, got {_said(text)}")
    try:
        known = service.store.known(session, cid)
    except StoreError as error:
        connection.tell(encode(Rejected(cid, "not-saved", f"the store cannot be read ({error})")))
        return
    service.handle(UserSaid(connection.number, session, connection.bot, cid, text, known))


def _cancel(service: Service, connection: Connection, body: Body) -> None:
    session = _session(connection, "cancel")
    service.handle(UserCancelled(session, _text(body, "turn", ID_CHARS_MAX)))


def _ack(service: Service, connection: Connection, body: Body) -> None:
    session = _session(connection, "ack")
    if "seq" not in body:
        raise FrameError("bad-field", "ack needs 'seq': the number of the last frame that has arrived")
    service.handle(ClientAcked(session, _whole(body, "seq", 0)))


def _ping(service: Service, connection: Connection, body: Body) -> None:
    del service
    t = body.get("t")
    if not isinstance(t, int | float) or isinstance(t, bool):
        raise FrameError("bad-field", f"'t' of ping must be a number, got {_said(t)}")
    connection.tell(orjson.dumps({"type": "pong", "t": t}).decode())


_RULES: Final[dict[str, Callable[[Service, Connection, Body], None]]] = {
    "hello": _hello,
    "say": _say,
    "cancel": _cancel,
    "ack": _ack,
    "ping": _ping,
}


def _session(connection: Connection, kind: str) -> str:
    if connection.session is None:
        raise FrameError("unknown-session", f"{kind} without a session: say hello with one first")
    return connection.session


def _text(body: Body, name: str, chars_max: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= chars_max:
        raise FrameError(
            "bad-field",
            f"{name!r} of {body['type']} must be a string of 1 to {chars_max} characters, got {_said(value)}",
        )
    return value


def _whole(body: Body, name: str, default: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= SEQ_MAX:
        raise FrameError("bad-field", f"{name!r} of {body['type']} must be a whole number from 0, got {_said(value)}")
    return value


def _said(value: object) -> str:
    """Quote what a client sent, at a length that fits a line."""
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "something that is nested too deeply"  # Deeper than can be written, but not than can be read.
    return text if len(text) <= 60 else f"{text[:57]}... ({len(text):,} characters)"  # noqa: PLR2004 - see docstring


def _ask_store(question: Callable[[], str | None]) -> str | None:
    try:
        return question()
    except StoreError as error:
        raise FrameError("unknown-session", f"the store cannot be read ({error}): try again later") from None


async def _finish(writing: asyncio.Task[None]) -> None:
    """End a writer that may be in the middle of a frame to somebody who is gone."""
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await writing
