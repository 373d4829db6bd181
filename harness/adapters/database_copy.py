"""Database copy: a snapshot of a SQLite file that others write to, and the proof that a copy is whole.

In    the file of a live database; the file of a copy that nobody uses
Out   a copy with every row that was committed when it began; its version and rows; or BackupError
Rule  one step: in WAL mode that blocks no writer, while a copy in pieces starts again at each commit and never ends
Why   ``cp`` of a live database opens cleanly, passes every check, and lacks committed rows
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from harness.errors import BackupError, DamagedBackupError

LOCKED_MAX_S: Final = 30.0
"""How long somebody else may hold a lock that excludes all readers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a copy holds."""

    user_version: int
    page_size: int
    pages: int
    tables: dict[str, int]
    """Rows of each table."""


def size_of(source: Path) -> int:
    """Bytes that a copy of a database may need."""
    wal = source.with_name(f"{source.name}-wal")
    return source.stat().st_size + (wal.stat().st_size if wal.exists() else 0)


def copy(source: Path, target: Path) -> None:
    """Copy a live database into the new file ``target``; DamagedBackupError if it is no whole database."""
    deadline = time.monotonic() + LOCKED_MAX_S

    def wait(status: int, remaining: int, total: int) -> None:
        del status, remaining, total
        if time.monotonic() > deadline:
            raise BackupError(f"{source}: locked by somebody else for {LOCKED_MAX_S:g} s; try again later")

    try:
        with closing(_open(source, "mode=ro")) as live, closing(sqlite3.connect(target, isolation_level=None)) as made:
            # It is thrown away if anything fails, and read once if nothing does: it needs no journal and no fsync.
            made.execute("PRAGMA journal_mode = OFF")
            made.execute("PRAGMA synchronous = OFF")
            live.backup(made, pages=-1, progress=wait)
    except sqlite3.Error as error:
        # The last eight bits are the kind, those before it the variety.
        damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        kind = DamagedBackupError if damaged else BackupError
        raise kind(f"{source}: cannot be copied ({error})") from None


def inspect(path: Path, *, thorough: bool = False) -> Content:
    """Check a copy that nobody uses, and count its rows; DamagedBackupError says what is wrong with it.

    Thorough: every index is compared with its table and every reference followed.
    """
    try:
        with closing(_open(path, "mode=ro&immutable=1")) as copied:
            check = "integrity_check" if thorough else "quick_check"
            found = [str(row[0]) for row in copied.execute(f"PRAGMA {check}(5)")]
            if found != ["ok"]:
                raise DamagedBackupError(f"{path.name}: {check} says: {'; '.join(found)}")
            if thorough and (broken := copied.execute("PRAGMA foreign_key_check").fetchone()):
                raise DamagedBackupError(f"{path.name}: a row of {broken[0]} refers to a row of {broken[2]} not there")
            return Content(
                user_version=_number(copied, "user_version"),
                page_size=_number(copied, "page_size"),
                pages=_number(copied, "page_count"),
                tables=_tables(copied),
            )
    except sqlite3.Error as error:
        raise DamagedBackupError(f"{path.name}: cannot be read as a database ({error})") from None


def _number(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _tables(connection: sqlite3.Connection) -> dict[str, int]:
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    ).fetchall()
    quoted = [(str(name), str(name).replace('"', '""')) for (name,) in names]
    return {
        name: int(connection.execute(f'SELECT count(*) FROM "{safe}"').fetchone()[0])  # noqa: S608 - quoted above
        for name, safe in quoted
    }


def _open(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True, isolation_level=None)
