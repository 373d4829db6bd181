"""Durable: files that are there whole or not at all, also after a power cut.

In    bytes, or a draft that was written beside; the place where it shall stand
Out   the file in its place, on the disk with its name; or OSError, and then there is no file
Rule  write, fsync, close, rename, fsync the folder; a failed fsync is final: the draft goes, it is not tried again
Why   after a failed fsync the kernel may call the same pages clean: a second try succeeds and proves nothing
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from harness.errors import BusyError

SECRET: Final = 0o600
KEPT: Final = 0o400
"""What is written once is not meant to be changed. Courtesy, not protection: its owner can lift it."""
LOCK_RETRY_S: Final = 5.0


def sync_folder(folder: Path) -> None:
    """Put the names of a folder on the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def create_file(path: Path, mode: int = KEPT) -> int:
    """Open a file that must not exist yet; its number."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)


def write_all(number: int, content: bytes) -> None:
    """Write all of it: a file system with little room takes what fits and calls that a success."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(number, rest) :]


def put(draft: Path, target: Path) -> None:
    """Give a finished draft its name; what stood there is replaced."""
    draft.replace(target)
    sync_folder(target.parent)


def write(target: Path, content: bytes, drafts: Path) -> None:
    """Write a whole file by way of ``drafts``, a folder of the same file system."""
    draft = drafts / f"{target.name}.{os.getpid()}"
    try:
        number = create_file(draft)
        try:
            write_all(number, content)
            os.fsync(number)
        finally:
            os.close(number)
        put(draft, target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def move(path: Path, folder: Path) -> None:
    """Move a file into another folder; first it is there, then it is gone here."""
    path.rename(folder / path.name)
    sync_folder(folder)
    sync_folder(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock; BusyError if somebody else does. The kernel lets it go with its process, kill -9 included."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(str(path.parent), retry_after_s=LOCK_RETRY_S) from None
        try:
            yield
        finally:
            # Said, not left to close: a child that another thread has just forked still holds the same file.
            fcntl.flock(number, fcntl.LOCK_UN)
    finally:
        os.close(number)
