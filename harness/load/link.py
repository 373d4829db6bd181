"""Link: one WebSocket connection on an ordinary blocking socket.

In    the service's address; bytes of frames to send
Out   the frames that arrived within a given time; LinkLostError when there will be no more
Rule  no compression, no Nagle, every wait has an end
Why   the protocol is computed by ``websockets`` without any I/O, so the one thing that waits is ``recv``, and that is
      what gevent makes cooperative: thousands of links share one thread without a helper greenlet each
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN, Event
from websockets.uri import parse_uri

from harness.errors import ConnectionLostError

_CHUNK_BYTES: Final = 65_536
_MESSAGE_BYTES_MAX: Final = 16 * 1_048_576


class LinkLostError(ConnectionLostError):
    """The connection could not be made or is gone; the text says why."""


class Link:
    """One open connection."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Connect and shake hands; ``url`` is http(s) or ws(s) with the path."""
        uri = parse_uri(url.replace("http", "ws", 1) if url.startswith("http") else url)
        # Extensions are left out on purpose: deflate would measure the compressor of both sides.
        self._protocol = ClientProtocol(uri, extensions=None, max_size=_MESSAGE_BYTES_MAX)
        self._early: list[Event] = []
        self._parts: list[bytes] = []
        self._eof = False
        try:
            raw = socket.create_connection((uri.host, uri.port), timeout=timeout_s)
        except OSError as error:
            raise LinkLostError(f"cannot connect: {error}") from None
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secure = ssl.create_default_context() if uri.secure else None
            self._socket = secure.wrap_socket(raw, server_hostname=uri.host) if secure else raw
            self._protocol.send_request(self._protocol.connect())
            self._flush()
            self._shake(timeout_s)
        except (OSError, LinkLostError) as error:
            raw.close()
            raise LinkLostError(str(error) or type(error).__name__) from None

    def send(self, text: bytes) -> None:
        """Send one text frame."""
        try:
            self._protocol.send_text(text)
            self._flush()
        except (OSError, WebSocketException) as error:
            raise LinkLostError(f"{self._why()}: {error}") from None

    def receive(self, timeout_s: float) -> list[bytes]:
        """Wait for the next frames; an empty list when the time is over (or nothing but a ping came)."""
        if not self._early:
            self._fill(timeout_s)
        events, self._early = self._early + self._protocol.events_received(), []
        frames: list[bytes] = []
        for event in events:
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                if event.fin and not self._parts:
                    frames.append(bytes(event.data))
                else:
                    self._parts.append(bytes(event.data))
                    if event.fin:
                        frames.append(b"".join(self._parts))
                        self._parts.clear()
        if not frames and (self._eof or self._protocol.state is not OPEN):
            raise LinkLostError(self._why())
        return frames

    def close(self) -> None:
        """Say goodbye and hang up, without waiting for an answer."""
        with contextlib.suppress(OSError, WebSocketException):
            if self._protocol.state is OPEN:
                self._protocol.send_close(1000)
                self._flush()
        self._socket.close()

    def _shake(self, timeout_s: float) -> None:
        while self._protocol.state is not OPEN:
            if not self._fill(timeout_s):
                raise LinkLostError(f"no answer to the handshake after {timeout_s:g} s")
            if self._protocol.handshake_exc is not None:
                raise LinkLostError(f"handshake refused: {self._protocol.handshake_exc}")
            if self._eof:
                raise LinkLostError("closed during the handshake")
        # Frames may have come in the same packet as the response: they stay with the protocol for ``receive``.
        self._early = [event for event in self._protocol.events_received() if not isinstance(event, Response)]

    def _fill(self, timeout_s: float) -> bool:
        """Read once; False if nothing came in time."""
        self._socket.settimeout(max(timeout_s, 0.0001))  # Zero would mean: do not wait and call it an error.
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except TimeoutError:
            return False
        except OSError as error:
            raise LinkLostError(str(error)) from None
        if data:
            self._protocol.receive_data(data)
        else:
            self._eof = True
            self._protocol.receive_eof()
        self._flush()  # Pongs, and the answer to a close.
        return True

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)

    def _why(self) -> str:
        close = self._protocol.close_rcvd or self._protocol.close_sent
        return f"closed with {close}" if close else "closed without a goodbye"
