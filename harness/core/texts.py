"""Texts: the checksum by which a text is known without being kept.

In    a text, in one piece or in many; or the checksum of a message and what an echo puts before it
Out   CRC-32 of its UTF-8, as it stands in the journal
Rule  the same text gives the same number, however it was cut
Why   a journal with every text in it would be as large as the chat; a number is enough to see that two are not the same
"""

from __future__ import annotations

import zlib


def crc_of(text: str, before: int = 0) -> int:
    """Give the checksum of a text; ``before`` is that of the pieces which came before it."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"), before)


def crc_after(prefix: str, crc: int, size: int) -> int:
    """Give the checksum of ``prefix`` and a text of ``size`` bytes, of which only the checksum is known.

    CRC-32 is linear: the two texts are laid over each other, each filled up with zeros where the other one stands.
    """
    zeros = bytes(size)
    return zlib.crc32(zeros, crc_of(prefix)) ^ zlib.crc32(zeros) ^ crc
