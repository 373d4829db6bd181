"""Histogram blob: a histogram as a few bytes, for a store that keeps one a minute for a year.

In    a histogram; or the bytes that were made of one
Out   bytes; or the same histogram
Rule  a fixed head (little-endian), then for each used bucket in order: its distance to the one before, and its count,
      as variable-length integers of 7 bits a byte (LEB128). Bytes that say otherwise are refused
Why   a hundred latencies take about 200 bytes, a hundred thousand about 500; as JSON they take several times that
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import inf, isnan
from typing import Final

from harness.core.histogram import BUCKETS_MAX, SCALE, Histogram

_HEAD: Final = struct.Struct("<bQQddd")
_MORE: Final = 0x80


def pack(histogram: Histogram) -> bytes:
    """Write a histogram as bytes."""
    made = bytearray(
        _HEAD.pack(histogram.scale, histogram.n, histogram.zeros, histogram.total, histogram.low, histogram.high)
    )
    before = 0
    for key in sorted(histogram.counts):
        # The first distance may be negative: zigzag makes every sign a small number.
        step = key - before
        _write(made, step << 1 if step >= 0 else (-step << 1) - 1)
        _write(made, histogram.counts[key])
        before = key
    return bytes(made)


def unpack(blob: bytes) -> Histogram:
    """Read what ``pack`` wrote; ValueError if it is something else."""
    try:
        scale, n, zeros, total, low, high = _HEAD.unpack_from(blob)
    except struct.error as error:
        raise ValueError(f"no histogram: {error}") from None
    made = Histogram()
    made.scale, made.n, made.zeros, made.total, made.low, made.high = scale, n, zeros, total, low, high
    key = 0
    numbers = _read(blob[_HEAD.size :])
    for coded in numbers:
        key += coded >> 1 if not coded & 1 else -((coded + 1) >> 1)
        made.counts[key] = next(numbers, 0)
    sound = scale <= SCALE and len(made.counts) <= BUCKETS_MAX and 0 not in made.counts.values()
    if not sound or zeros + sum(made.counts.values()) != n or isnan(total) or (n > 0) != (low <= high < inf):
        raise ValueError("no histogram: its counts do not add up")
    return made


def _write(into: bytearray, number: int) -> None:
    while number >= _MORE:
        into.append(number & 0x7F | _MORE)
        number >>= 7
    into.append(number)


def _read(blob: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in blob:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & _MORE:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("no histogram: it ends in the middle of a number")
