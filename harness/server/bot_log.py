"""Bot log: what a bot writes to stderr, in a file of bounded size.

In    bytes as they come
Out   ``BOT.log``, and ``BOT.log.1`` with what stood there before the last turn-over
Rule  at most two files of ``bytes_max``; a log that cannot be written is given up, the bot is not
Why   the last words of a bot that dies are on stderr, and a bot that talks too much must not fill the disk
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 1_048_576


class BotLog:
    """One bot's file, opened when there is something to write."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX) -> None:
        """Append to ``path``."""
        self.path, self._bytes_max = path, bytes_max
        self._size = 0
        self._fd: int | None = None
        self._broken = False

    def write(self, data: bytes) -> None:
        """Append ``data``; turn the file over when it is full."""
        if self._broken:
            return
        try:
            self._write(data[-self._bytes_max :])
        except OSError:
            self._broken = True
            self.close()

    def close(self) -> None:
        """Close the file, if it was ever opened."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, data: bytes) -> None:
        if self._fd is None:
            self._open()
        if self._size + len(data) > self._bytes_max:
            self.close()
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            self._open()
        assert self._fd is not None
        self._size += os.write(self._fd, data)

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._fd).st_size
