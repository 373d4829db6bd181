"""Backup restore: put a backup in the place of a live database, in such an order that no crash leaves half of either.

In    a backup, the place of the database; nobody uses that place (whoever calls holds the service's lock)
Out   the database as it was when the backup was made, and a backup of what stood there before
Rule  unpack beside, prove, back up what is there, fold its WAL into it, only then put the new one in its place
Why   a database that is put beside the WAL file of another one is overwritten by it when it is opened

    beside, proved --> safety backup --> old WAL folded in and gone --> rename --> opened and counted
         a crash up to here leaves the old database whole  -->|<-- from here on the new one
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.adapters import backup_ledger, database_copy, disk, durable
from harness.adapters.backup_manifest import Manifest
from harness.adapters.backups import Backups
from harness.adapters.sqlite import MIGRATIONS
from harness.errors import BackupError, DamagedBackupError

BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done: the backup that stands there now, and where that is which stood there before."""

    manifest: Manifest
    before: str
    """The name of the safety backup; the path of a file that could not be backed up; empty: nothing stood there."""


def restore(backups: Backups, name: str, database: Path) -> Restored:
    """Put backup ``name`` in the place of ``database``.

    DamagedBackupError: the backup is not whole. BackupError: no room, a newer format, the disk refuses; what stood
    there is there still.
    """
    draft = database.with_name(f"{database.name}.restoring")
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with backups.folder.locked():
            draft.unlink(missing_ok=True)
            manifest = backups.prove(name, backup_ledger.PROVED, draft)
        if manifest.user_version > len(MIGRATIONS):
            raise BackupError(
                f"{name}: of store version {manifest.user_version}, this harness knows {len(MIGRATIONS)}: use a newer"
            )
        before = _put_aside(backups, database, draft)
        durable.put(draft, database)
    except OSError as error:
        raise BackupError(disk.told(error, database.parent, "--state-dir")) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    found = database_copy.inspect(database).tables
    if found != dict(manifest.tables):
        raise DamagedBackupError(f"{database}: has the rows {found} instead of {dict(manifest.tables)}")
    return Restored(manifest, before)


def _put_aside(backups: Backups, database: Path, draft: Path) -> str:
    """Keep what stands in the place, and leave one file there that needs nothing beside it, or none."""
    if not database.exists():
        _clear_beside(database)
        return ""
    was = database.stat()
    draft.chmod(stat.S_IMODE(was.st_mode))
    with suppress(PermissionError):  # Only root may give files away, and only then can it be needed.
        os.chown(draft, was.st_uid, was.st_gid)
    try:
        manifest, finding = backups.create(database, reason="pre-restore", pin="before a restore")
    except DamagedBackupError:
        # It cannot be copied whole: the files themselves are kept, for whoever wants to try more.
        return str(_rename_all(database))
    if not finding.ok:
        raise BackupError(f"the safety backup of {database} could not be read back: {finding.why}")
    _fold(database)
    _clear_beside(database)
    return manifest.name


def _fold(database: Path) -> None:
    """Take the WAL into the file, so that it is whole without it."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{database}: its WAL cannot be folded in ({error})") from None
    if busy:
        raise BackupError(f"{database}: somebody else has it open; end that program first")


def _clear_beside(database: Path) -> None:
    for path in _beside(database):
        path.unlink(missing_ok=True)
    durable.sync_folder(database.parent)


def _rename_all(database: Path) -> Path:
    aside = database.with_name(f"{database.name}.broken-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}")
    for path in (*_beside(database), database):
        if path.exists():
            path.rename(aside.with_name(path.name.replace(database.name, aside.name, 1)))
    durable.sync_folder(database.parent)
    return aside


def _beside(database: Path) -> list[Path]:
    return [database.with_name(f"{database.name}{end}") for end in BESIDE]
