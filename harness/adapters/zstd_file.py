"""Zstd file: one file packed into another, and unpacked again, with every byte accounted for.

In    paths; when unpacking, how many bytes it must become
Out   sizes and SHA-256 of both sides; or DamagedBackupError
Rule  the frame's own checksum is on; a frame that ends early, late or twice is damaged; nothing unpacks without a limit
Why   without its checksum a flipped bit unpacks silently into other data, and some readers take half a file for a whole

Level 3 with a window of 128 MiB: of all settings that were measured, the best ratio that does not slow a backup down.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.adapters.durable import create_file, write_all
from harness.errors import DamagedBackupError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 3
WINDOW_LOG: Final = 27
CODEC: Final = f"zstd -{LEVEL} --long={WINDOW_LOG} --check"
CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a packing: bytes and their SHA-256."""

    size: int
    sha256: str


def pack(source: Path, target: Path) -> tuple[Side, Side]:
    """Pack ``source`` into the new file ``target``, down to the disk; the raw side and the packed one."""
    parameter = zstd.CompressionParameter
    packer = zstd.ZstdCompressor(
        options={
            parameter.compression_level: LEVEL,
            parameter.window_log: WINDOW_LOG,
            parameter.enable_long_distance_matching: 1,
            parameter.checksum_flag: 1,
        }
    )
    raw, stored = _Sum(), _Sum()
    number = create_file(target)
    try:
        with source.open("rb", buffering=0) as file:
            # Said beforehand, it is in the frame's head, and a small file needs no window of 128 MiB.
            packer.set_pledged_input_size(os.fstat(file.fileno()).st_size)
            for chunk in _chunks(file.read):
                write_all(number, stored.add(packer.compress(raw.add(chunk))))
        write_all(number, stored.add(packer.flush()))
        os.fsync(number)
        # Whoever reads it back shall read what the disk has, as far as the kernel lets go of its copy.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(number)
    return raw.side(), stored.side()


def digest(path: Path) -> Side:
    """Read a file and sum it up; DamagedBackupError if the disk does not give it."""
    total = _Sum()
    for chunk in _read(path):
        total.add(chunk)
    return total.side()


def unpack(source: Path, target: Path | None, raw_max: int) -> tuple[Side, Side]:
    """Unpack ``source`` into the new file ``target``, or into nothing; the raw side and the packed one.

    DamagedBackupError if it is no whole frame, or would become more than ``raw_max`` bytes. OSError only if the target
    cannot be written.
    """
    raw, stored = _Sum(), _Sum()
    number = None if target is None else create_file(target, 0o600)
    try:
        for piece in _unpacked(source, stored):
            raw.add(piece)
            if raw.size > raw_max:
                raise DamagedBackupError(f"{source.name}: becomes more than the {raw_max:,} bytes it was made from")
            if number is not None:
                write_all(number, piece)
        if number is not None:
            os.fsync(number)
    finally:
        if number is not None:
            os.close(number)
    return raw.side(), stored.side()


def _unpacked(source: Path, stored: _Sum) -> Iterator[bytes]:
    unpacker = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})
    try:
        for chunk in _read(source):
            late = unpacker.eof
            if late:
                raise DamagedBackupError(f"{source.name}: goes on after its end")
            yield unpacker.decompress(stored.add(chunk), max_length=CHUNK)
            while not (unpacker.eof or unpacker.needs_input):
                yield unpacker.decompress(b"", max_length=CHUNK)
    except zstd.ZstdError as error:
        raise DamagedBackupError(f"{source.name}: {error}") from None
    if not unpacker.eof:
        raise DamagedBackupError(f"{source.name}: ends too early")
    if unpacker.unused_data:
        raise DamagedBackupError(f"{source.name}: goes on after its end")


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            yield from _chunks(file.read)
    except OSError as error:
        raise DamagedBackupError(f"{path.name}: cannot be read ({error.strerror})") from None


def _chunks(read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    while chunk := read(CHUNK):
        yield chunk


class _Sum:
    """Counts and hashes what passes."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()

    def add(self, content: bytes) -> bytes:
        self.size += len(content)
        self._hash.update(content)
        return content

    def side(self) -> Side:
        return Side(self.size, self._hash.hexdigest())
