"""Line file: a file of JSON lines that is only ever added to.

In    mappings
Out   one line each
Rule  a line is with the operating system when ``write`` returns, or OSError says that it is not; what was torn by a
      full disk or a crash stands on a line of its own. Over the limit the file is turned over once: NAME and NAME.1
Why   after an incident somebody reads it line by line, and it must not be what filled the disk
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from errno import ENOSPC
from pathlib import Path
from typing import Final

import orjson

BYTES_MAX: Final = 8 * 1024 * 1024


class LineFile:
    """One such file."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX) -> None:
        """Open it for appending; OSError if that cannot be."""
        self.path, self._bytes_max = path, bytes_max
        self._file = path.open("ab", buffering=0)
        self._torn = _torn(path)

    def write(self, line: Mapping[str, object]) -> None:
        """Add one line."""
        if self._file.tell() >= self._bytes_max:
            self._turn_over()
        whole = (b"\n" if self._torn else b"") + orjson.dumps(line) + b"\n"
        written = self._file.write(whole) or 0
        if written < len(whole):
            # A file system with little room takes what fits and calls that a success.
            self._torn = written != 1 if self._torn else written > 0
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(self.path))
        self._torn = False

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def _turn_over(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        self._file, self._torn = self.path.open("ab", buffering=0), False


def _torn(path: Path) -> bool:
    """Whether the file ends in the middle of a line."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
