"""Hub: every open WebSocket, what waits to be written to it, and who listens to which session.

In    frames to publish, from the pump, never awaiting
Out   text frames, in order, written by one task a connection
Rule  what waits is bounded in number and length; who has half of that waiting is not listened to until it has read most
      of it; a reader that is slower still is sent away with 1013 and can resume
Why   one page on a bad line must not cost the others a millisecond, nor the service its memory; and who does not read
      answers must not order more of them
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from harness.adapters.sqlite import Message
from harness.core.events import NAME_OF, BotStatus, Delta, Frame, LoggedFrame, ServiceMode
from harness.core.settings import Settings
from harness.services.water_marks import Flow, WaterMarks, WaterMarksConfig

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CLOSE_TOO_SLOW: Final = 1013
CLOSE_WAIT_S: Final = 10.0
"""How long to wait until a slow reader's socket takes the close frame; then the connection is just dropped."""
CHARS_MAX: Final = 8 * 1024 * 1024
"""Characters that may wait for one reader, beside the newest welcome and what it replays."""
DELTA_CHARS: Final = 100
"""About what a delta takes beside its text."""
MERGED_CHARS_MAX: Final = 16_384
"""Waiting pieces of a reply are merged up to about this length."""

MARKS: Final = WaterMarksConfig(high=0.5, low=0.25)
"""Shares of what may wait."""

_HEADS: Final = {cls: f'{{"type":"{name}"'.encode() for cls, name in NAME_OF.items()}


def encode(frame: Frame) -> str:
    """Write a frame that stands beside the log."""
    return (_HEADS[type(frame)] + b"," + orjson.dumps(frame)[1:]).decode()


def encode_logged(seq: int, frame: LoggedFrame) -> str:
    """Write a frame of a session's log."""
    return (b'%b,"seq":%d,%b' % (_HEADS[type(frame)], seq, orjson.dumps(frame)[1:])).decode()


def _chars(item: str | tuple[int, Delta]) -> int:
    return len(item) if isinstance(item, str) else len(item[1].text) + DELTA_CHARS


def _encode_merged(first: int, last: int, turn: str, at: int, text: str) -> str:
    body = {"type": "delta", "first": first, "seq": last, "turn": turn, "at": at, "text": text}
    return orjson.dumps(body).decode()


@dataclass(slots=True)
class Tally:
    """What slow readers have cost so far, all connections together."""

    pauses: int = 0
    """How often one of them was not listened to for a while."""
    dropped: int = 0
    """How many were sent away."""


class Connection:
    """One WebSocket: what it listens to and what waits for it."""

    def __init__(
        self,
        number: int,
        send: Send,
        *,
        frames_max: int,
        marks: WaterMarksConfig = MARKS,
        tally: Tally | None = None,
    ) -> None:
        """Take the ASGI ``send`` of the connection; ``frames_max`` may wait, ``marks`` are shares of what may."""
        self.number = number
        self.session: str | None = None
        self.bot = ""
        self.merges = False
        """Whether the client asked for waiting deltas to be merged."""
        self.greeted = False
        """Whether it has said hello."""
        self.welcomed = False
        self._send = send
        self._frames_max = self._allowed = frames_max
        self._chars, self._chars_allowed = 0, CHARS_MAX
        self._waiting: deque[str | tuple[int, Delta]] = deque()
        self._statuses: dict[str, str] = {}
        self._welcome = ""
        """The newest welcome as long as it waits: statuses that come after it must not overtake it."""
        self._closing: tuple[int, str] | None = None
        self._wake = asyncio.Event()
        self._marks = WaterMarks(marks)
        self._tally = tally if tally is not None else Tally()
        self._calm = asyncio.Event()
        self._calm.set()

    @property
    def waiting(self) -> int:
        """Frames that wait for it."""
        return len(self._waiting)

    @property
    def paused(self) -> bool:
        """Whether it has so much to read that it must not order more."""
        return self._marks.paused and self._closing is None

    @property
    def closing(self) -> bool:
        """Whether nothing but the close frame will be written."""
        return self._closing is not None

    async def calm(self) -> None:
        """Wait until it has read enough, or is going."""
        await self._calm.wait()

    def welcome(
        self,
        *,
        session: str | None,
        epoch: str,
        head_seq: int,
        recovered: bool,
        messages: Sequence[Message] | None,
        more: bool,
        settings: Settings,
        statuses: Sequence[BotStatus],
        mode: ServiceMode,
    ) -> None:
        """Queue the answer to a hello; statuses that wait are older than those in it."""
        if self._closing is not None:
            return
        self._statuses.clear()
        self.welcomed = True
        if self._welcome:
            self._waiting.remove(self._welcome)  # It answers a hello that was overtaken.
            self._chars -= len(self._welcome)
        body = {
            "type": "welcome",
            "v": 1,
            "session": session,
            "epoch": epoch,
            "head_seq": head_seq,
            "recovered": recovered,
            "messages": messages,
            "more": more,
            "limits": {"text_chars_max": settings.text_chars_max, "frame_bytes_max": settings.frame_bytes_max},
            "bots": statuses,
            "mode": mode,
        }
        self._welcome = orjson.dumps(body).decode()
        self._chars_allowed = CHARS_MAX + len(self._welcome)
        self.tell(self._welcome)

    def tell(self, text: str) -> None:
        """Queue a frame that is encoded already."""
        self._append(text)
        self._noticed()

    def publish(self, seq: int, frame: LoggedFrame, text: str | None) -> None:
        """Queue a frame of the log; a delta may be merged with its neighbours as long as it waits."""
        if self.merges and type(frame) is Delta:
            self._append((seq, frame))
        else:
            self._append(text if text is not None else encode_logged(seq, frame))
        self._noticed()

    def replay(self, missed: Iterable[tuple[int, LoggedFrame]]) -> None:
        """Queue everything that a client has missed; it does not count against what may wait."""
        before, chars = len(self._waiting), self._chars
        for seq, frame in missed:
            self._append((seq, frame) if self.merges and type(frame) is Delta else encode_logged(seq, frame))
        self._allowed = self._frames_max + len(self._waiting) - before
        self._chars_allowed = CHARS_MAX + len(self._welcome) + self._chars - chars
        self._noticed()

    def tell_status(self, bot: str, text: str) -> None:
        """Queue the newest state of a bot; it takes the place of an older one that still waits."""
        self._statuses[bot] = text
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Write nothing more but the close frame."""
        if self._closing is None:
            self._closing = (code, reason)
        self._calm.set()
        self._wake.set()

    async def write_on(self) -> None:
        """Write what waits until the connection is closed; run as a task."""
        try:
            await self._write_until_closed()
        finally:
            self._calm.set()  # Nobody will read any more: who waits for that waits in vain.

    async def _write_until_closed(self) -> None:
        # The peer is gone (OSError), or the server has closed the connection under us (RuntimeError, says ASGI):
        # whoever reads from the connection learns the same.
        with contextlib.suppress(OSError, RuntimeError):
            while self._closing is None:
                await self._wake.wait()
                self._wake.clear()
                await self._write_waiting()
            code, reason = self._closing
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WAIT_S):
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _write_waiting(self) -> None:
        while (self._waiting or self._statuses) and self._closing is None:
            if self._statuses and not self._welcome:
                statuses, self._statuses = self._statuses, {}
                for text in statuses.values():
                    await self._send({"type": "websocket.send", "text": text})
            if self._waiting:
                await self._send({"type": "websocket.send", "text": self._next()})
                self._weigh()  # After the socket has taken it: what is on its way there has not been read.
        self._allowed, self._chars_allowed = self._frames_max, CHARS_MAX

    def _append(self, item: str | tuple[int, Delta]) -> None:
        if self._closing is None:
            self._waiting.append(item)
            self._chars += _chars(item)

    def _noticed(self) -> None:
        if (len(self._waiting) > self._allowed or self._chars > self._chars_allowed) and self._closing is None:
            self._waiting.clear()
            self._chars, self._welcome = 0, ""
            self._tally.dropped += 1
            self.close(CLOSE_TOO_SLOW, "you read too slowly: come back and resume")
        self._weigh()
        self._wake.set()

    def _weigh(self) -> None:
        """Compare what waits with the marks: the fuller of the two bounds counts."""
        flow = self._marks.update(max(len(self._waiting) / self._allowed, self._chars / self._chars_allowed))
        if flow is Flow.PAUSE:
            self._tally.pauses += 1
            self._calm.clear()
        elif flow is Flow.RESUME:
            self._calm.set()
        if self._closing is not None:
            self._calm.set()

    def _pop(self) -> str | tuple[int, Delta]:
        item = self._waiting.popleft()
        self._chars -= _chars(item)
        return item

    def _next(self) -> str:
        item = self._pop()
        if isinstance(item, str):
            if item is self._welcome:
                self._welcome = ""
            return item
        first, delta = item
        pieces, last, chars = [delta.text], first, len(delta.text)
        while self._waiting and chars < MERGED_CHARS_MAX:
            following = self._waiting[0]
            if isinstance(following, str) or following[1].turn != delta.turn:
                break
            self._pop()
            last = following[0]
            pieces.append(following[1].text)
            chars += len(following[1].text)
        if last == first:
            return encode_logged(first, delta)
        return _encode_merged(first, last, delta.turn, delta.at, "".join(pieces))


class Hub:
    """All connections."""

    def __init__(self) -> None:
        """Start with none."""
        self.connections: dict[int, Connection] = {}
        self.tally = Tally()
        self._listeners: dict[str, set[Connection]] = {}
        self._numbers = 0

    def number(self) -> int:
        """Give the next connection's number."""
        self._numbers += 1
        return self._numbers

    @property
    def paused(self) -> int:
        """Connections that are not listened to until they have read more."""
        return sum(connection.paused for connection in self.connections.values())

    def add(self, connection: Connection) -> None:
        """Know a connection from now on."""
        self.connections[connection.number] = connection

    def drop(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.pop(connection.number, None)
        self.leave(connection)

    def listen(self, connection: Connection, session: str) -> None:
        """Hand the session's frames to this connection from now on."""
        self._listeners.setdefault(session, set()).add(connection)

    def leave(self, connection: Connection) -> None:
        """Hand it no session's frames any more."""
        if connection.session is None:
            return
        listeners = self._listeners.get(connection.session)
        if listeners is not None:
            listeners.discard(connection)
            if not listeners:
                del self._listeners[connection.session]

    def publish(self, session: str, seq: int, frame: LoggedFrame) -> None:
        """Hand a frame of the log to everybody who listens."""
        listeners = self._listeners.get(session)
        if not listeners:
            return
        text = None if type(frame) is Delta and len(listeners) == 1 else encode_logged(seq, frame)
        for connection in listeners:
            connection.publish(seq, frame, text)

    def reply(self, number: int, frame: Frame) -> None:
        """Hand a frame to one connection, if it is still there."""
        connection = self.connections.get(number)
        if connection is not None:
            connection.tell(encode(frame))

    def tell_all(self, status: BotStatus | ServiceMode) -> None:
        """Hand the newest state of a bot, or of the whole, to everybody who has said hello."""
        text = encode(status)
        about = status.bot if isinstance(status, BotStatus) else ""
        for connection in self.connections.values():
            if connection.welcomed:
                connection.tell_status(about, text)
