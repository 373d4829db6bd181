"""Sealed: JSON that proves that it is what was written, to the last byte.

In    a mapping of texts, numbers, lists and mappings
Out   its bytes with their own SHA-256 inside; the mapping again, or DamagedBackupError
Rule  there is exactly one way to write a mapping down, and whatever is not written in it is refused
Why   a flipped bit in a number is valid JSON: only a checksum over the whole finds it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from harness.errors import DamagedBackupError

SEAL: Final = "sha256"
_PAGE: Final = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2
_LINE: Final = orjson.OPT_SORT_KEYS


def sealed_page(body: Mapping[str, object]) -> bytes:
    """Write a mapping as a file of its own, for people to read."""
    return orjson.dumps(_sealed(body), option=_PAGE) + b"\n"


def sealed_line(body: Mapping[str, object]) -> bytes:
    """Write a mapping as one line."""
    return orjson.dumps(_sealed(body), option=_LINE) + b"\n"


def unseal(content: bytes, where: str) -> dict[str, Any]:
    """Read what one of the two has written; ``where`` is for the message."""
    try:
        whole = orjson.loads(content)
    except ValueError:
        whole = None
    if not isinstance(whole, dict):
        raise DamagedBackupError(f"{where}: no longer readable")
    body = {name: value for name, value in whole.items() if name != SEAL}
    if content not in (sealed_page(body), sealed_line(body)):
        raise DamagedBackupError(f"{where}: not what was written: its checksum does not fit")
    return body


def _sealed(body: Mapping[str, object]) -> dict[str, object]:
    assert SEAL not in body, "the seal's own place"
    return {**body, SEAL: hashlib.sha256(orjson.dumps(body, option=_LINE)).hexdigest()}
