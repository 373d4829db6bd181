"""Probe: a Unix socket on which a bot tells what its process holds in memory.

In    a socket path; the line "probe" from whoever connects
Out   one JSON line of counters for each; "tasks" is the number of turns that are open
Rule  lives in the bot's one loop: never blocks, a few connections at most; the socket file goes with the process
Why   a leak is found by asking the process itself, between two rounds of load; counting starts no thread and no loop
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from harness.adapters.counters import make_way, own_answer

CONNECTIONS_MAX: Final = 8
LINE_BYTES_MAX: Final = 1_024


class Probe:
    """A listening probe socket and its connections; the loop calls it when one of its files is readable."""

    def __init__(self, path: Path) -> None:
        """Listen on ``path``; what a killed predecessor left there is removed, what somebody answers on is not."""
        self._path = path
        # The first count imports psutil and fills its caches: done here, so that no probe ever sees that growth.
        own_answer()
        make_way(path)
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listener.bind(str(path))
        except OSError:
            self._listener.close()
            raise
        self._file = path.stat().st_ino
        self._listener.listen(CONNECTIONS_MAX)
        self._listener.setblocking(False)
        self._connections: dict[int, tuple[socket.socket, bytearray]] = {}

    def __enter__(self) -> Self:
        """Go on listening."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close everything and remove the socket's file, unless another process put its own there."""
        for number in list(self._connections):
            self._drop(number)
        self._listener.close()
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._file:
                self._path.unlink()

    def files(self) -> list[int]:
        """Give the file numbers to watch for input."""
        return [self._listener.fileno(), *self._connections]

    def readable(self, number: int, turns: int) -> None:
        """Accept, read and answer what ``number`` brings; ``turns`` are open in the bot now."""
        if number == self._listener.fileno():
            self._accept()
            return
        connection, buffer = self._connections[number]
        try:
            data = connection.recv(LINE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        buffer += data
        *lines, rest = bytes(buffer).split(b"\n")
        buffer[:] = rest
        if not data or len(rest) > LINE_BYTES_MAX or any(line != b"probe" for line in lines):
            self._drop(number)  # Whoever asked is gone, or never meant us.
            return
        for _ in lines:
            answer = json.dumps({**own_answer(), "tasks": turns}).encode() + b"\n"
            try:
                connection.sendall(answer)
            except OSError:  # Gone, or it asks without reading: a full buffer would block.
                self._drop(number)
                return

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            if len(self._connections) >= CONNECTIONS_MAX:
                connection.close()
                return
            connection.setblocking(False)
            self._connections[connection.fileno()] = (connection, bytearray())

    def _drop(self, number: int) -> None:
        connection, _ = self._connections.pop(number)
        connection.close()
