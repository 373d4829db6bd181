"""Backup manifest: the file that makes a backup one, written last.

In    what was packed, and what was in it
Out   a sealed page of JSON; the manifest again, or DamagedBackupError
Rule  a manifest is never changed; each names the one before it with its checksum: a hole or an edit shows
Why   data without a manifest was never finished; a manifest without its data is a loss that somebody must hear of
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from harness.adapters.sealed import sealed_page, unseal
from harness.core.decode import decode
from harness.errors import DamagedBackupError, ScenarioError

FORMAT: Final = 1
Reason = Literal["manual", "scheduled", "pre-restore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One backup; ``at`` is Unix seconds, sizes are bytes."""

    format: int
    name: str
    at: float
    reason: Reason
    harness: str
    """The release that made it."""
    codec: str
    raw_bytes: int
    raw_sha256: str
    stored_bytes: int
    stored_sha256: str
    user_version: int
    page_size: int
    pages: int
    tables: Mapping[str, int]
    """Rows of each table."""
    previous: str = ""
    """The newest backup when this one was made."""
    previous_sha256: str = ""
    """The SHA-256 of that one's manifest file."""

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(self.tables.values())


def new_name(at: float) -> str:
    """Name a backup after its time and some dice."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z-{secrets.token_hex(4)}"


def time_of(name: str) -> float:
    """Read the time that stands in a name, in Unix seconds."""
    return datetime.strptime(f"{name[:19]}+0000", "%Y%m%dT%H%M%S.%f%z").timestamp()


def written(manifest: Manifest) -> bytes:
    """Give the bytes of its file."""
    return sealed_page(asdict(manifest))


def read(path: Path) -> tuple[Manifest, str]:
    """Read the manifest of a file, and the SHA-256 of the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedBackupError(f"{path.name}: cannot be read ({error.strerror})") from None
    body = unseal(content, path.name)
    if body.get("format") != FORMAT:
        raise DamagedBackupError(f"{path.name}: of format {body.get('format')}; this harness knows {FORMAT}")
    try:
        manifest = decode(Manifest, body)
    except ScenarioError as error:
        raise DamagedBackupError(f"{path.name}: {error}") from None
    if manifest.name != path.stem:
        raise DamagedBackupError(f"{path.name}: it is the manifest of {manifest.name}")
    return manifest, hashlib.sha256(content).hexdigest()
