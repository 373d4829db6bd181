"""Series store: minutes and hours of every series in one SQLite file, beside the chat's own.

In    rows of closed steps; questions for a span of time
Out   rows; StoreError with one line when the disk will not
Rule  a row is written whole or not at all, in one transaction with its minute; written twice it is there once. A broken
      file is renamed aside and a new one begun. Over the quota the oldest minutes go first, then the oldest hours
Why   history is worth a file, and not worth a chat: whatever happens to it, no message may wait

About 41 bytes a point: a series at full retention (14 days of minutes, a year of hours) takes 1.2 MB.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from harness.core.histogram_blob import pack, unpack
from harness.core.point import HOURS, MINUTES, Point, Row
from harness.core.series import Family, Labels
from harness.errors import StoreError

FILE_NAME: Final = "series.sqlite3"
BROKEN: Final = ".broken"
BUSY_MAX_S: Final = 5.0
DAY_S: Final = 86_400
VERSION: Final = 1
_SCHEMA: Final = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('counter', 'gauge', 'histogram')), unit TEXT NOT NULL, UNIQUE (name, labels)
    ) STRICT;
    CREATE TABLE point (
        tier INTEGER NOT NULL, series INTEGER NOT NULL, ts INTEGER NOT NULL,
        n INTEGER NOT NULL, total REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL, last REAL NOT NULL,
        PRIMARY KEY (tier, series, ts)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE histogram (
        tier INTEGER NOT NULL, series INTEGER NOT NULL, ts INTEGER NOT NULL, counts BLOB NOT NULL,
        PRIMARY KEY (tier, series, ts)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = {VERSION};
    COMMIT;
"""
_POINTS: Final = """
    SELECT series.name, series.kind, series.labels, point.tier, point.ts, n, total, low, high, last, counts
    FROM series
    JOIN point ON point.tier = ? AND point.series = series.id AND point.ts BETWEEN ? AND ?
    LEFT JOIN histogram USING (tier, series, ts)
    WHERE series.name = coalesce(?, series.name)
    ORDER BY series.id, point.ts
"""
_BAD_FILE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesLimits:
    """How long and how much is kept."""

    minutes_days: int = 14
    hours_days: int = 366
    bytes_max: int = 256 * 1024 * 1024
    """Bytes in use in the file; beyond, the oldest minutes are dropped, a day at a time."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.minutes_days < 1 or self.hours_days < self.minutes_days:
            raise ValueError("minutes_days must be 1 or more, and hours_days no less than that")
        if self.bytes_max < 1_048_576:  # noqa: PLR2004 - an empty file has a few pages
            raise ValueError(f"bytes_max must be 1 MiB or more, got {self.bytes_max}")


class SeriesStore:
    """The file. Calls come from any thread, one at a time; each is a transaction."""

    def __init__(self, path: Path, families: Mapping[str, Family], limits: SeriesLimits | None = None) -> None:
        """Open or create the file; a broken one is put aside first, and ``told`` says so. StoreError if neither."""
        self.path, self.told = path, ""
        self._families, self._limits = families, limits or SeriesLimits()
        self._lock = threading.Lock()
        self._ids: dict[tuple[str, Labels], int] = {}
        with suppress(_PutAsideError), self._saying():
            self._connection = self._opened()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows in one transaction; what stands there for the same step is replaced."""
        with self._transaction() as cursor:
            for row in rows:
                place = (row.tier, self._id(cursor, row), row.ts)
                point = row.point
                values = (point.n, point.total, point.low, point.high, point.last)
                cursor.execute("INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*place, *values))
                if point.histogram is not None:
                    cursor.execute(
                        "INSERT OR REPLACE INTO histogram VALUES (?, ?, ?, ?)", (*place, pack(point.histogram))
                    )

    def read(self, tier: int, first: int, last: int, name: str | None = None, rows_max: int = 2_000_000) -> list[Row]:
        """Give a tier's rows from second ``first`` to ``last``, of one metric or of all, by series and time.

        Series of families that this version does not know are left where they are. Not more than ``rows_max``.
        """
        with self._lock, self._saying(), closing(self._connection.cursor()) as cursor:
            found = cursor.execute(_POINTS, (tier, first, last, name)).fetchmany(rows_max)
        rows = []
        for family_name, kind, labels, tier_, ts, n, total, low, high, last_value, counts in found:
            family = self._families.get(family_name)
            if family is None or family.kind != kind:
                continue
            try:
                histogram = None if counts is None else unpack(counts)
            except ValueError as error:
                self.told = f"{self.path}: {family_name} at {ts} is left out: {error}"
                continue
            pairs = tuple((str(key), str(value)) for key, value in orjson.loads(labels))
            rows.append(Row(family, pairs, tier_, ts, Point(n, total, low, high, last_value, histogram)))
        return rows

    def series(self, name: str) -> int:
        """How many series of a metric the file knows."""
        with self._lock, self._saying(), closing(self._connection.cursor()) as cursor:
            (count,) = cursor.execute("SELECT count(*) FROM series WHERE name = ?", (name,)).fetchone()
        return int(count)

    def prune(self, now: float) -> None:
        """Drop what is older than its tier is kept, then what the quota has no room for; keep ``told`` up to date."""
        limits = self._limits
        oldest = {MINUTES: int(now) - limits.minutes_days * DAY_S, HOURS: int(now) - limits.hours_days * DAY_S}
        with self._transaction() as cursor:
            for tier, ts in oldest.items():
                self._drop(cursor, tier, ts)
        for tier in (MINUTES, HOURS):
            while self.bytes_used() > limits.bytes_max and (first := self._oldest(tier)) is not None:
                with self._transaction() as cursor:
                    self._drop(cursor, tier, first + DAY_S)
                self.told = f"{self.path}: over {limits.bytes_max:,} bytes: the oldest history was dropped"
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM point)")
            self._ids.clear()

    def bytes_used(self) -> int:
        """Bytes of the file that hold something."""
        with self._lock, self._saying(), closing(self._connection.cursor()) as cursor:
            pages, free, size = (
                cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * size)

    def _drop(self, cursor: sqlite3.Cursor, tier: int, before: int) -> None:
        # Series by series: so the primary key finds the rows, and nothing else is read.
        for (series,) in cursor.execute("SELECT id FROM series").fetchall():
            for table in ("point", "histogram"):
                cursor.execute(
                    f"DELETE FROM {table} WHERE tier = ? AND series = ? AND ts < ?",  # noqa: S608 - two names of ours
                    (tier, series, before),
                )

    def _oldest(self, tier: int) -> int | None:
        with self._lock, self._saying(), closing(self._connection.cursor()) as cursor:
            oldest = "SELECT min((SELECT min(ts) FROM point WHERE tier = ? AND series = series.id)) FROM series"
            (ts,) = cursor.execute(oldest, (tier,)).fetchone()
        return None if ts is None else int(ts)

    def _id(self, cursor: sqlite3.Cursor, row: Row) -> int:
        key = (row.family.name, row.labels)
        found = self._ids.get(key)
        if found is None:
            labels = orjson.dumps(row.labels).decode()
            family = row.family
            cursor.execute(
                "INSERT INTO series (name, labels, kind, unit) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name, labels) DO UPDATE SET kind = excluded.kind, unit = excluded.unit",
                (family.name, labels, family.kind, family.unit),
            )
            (found,) = cursor.execute(
                "SELECT id FROM series WHERE name = ? AND labels = ?", (family.name, labels)
            ).fetchone()
            self._ids[key] = int(found)
        return int(found)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock, self._saying(), closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            whole = False
            try:
                yield cursor
                cursor.execute("COMMIT")
                whole = True
            finally:
                if not whole:
                    self._ids.clear()  # Those of this transaction are not there.
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")

    @contextmanager
    def _saying(self) -> Iterator[None]:
        """Turn what SQLite says into one line; begin anew if it says that the file is broken."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and (_code(error) & 0xFF) in _BAD_FILE:
                self._begin_anew(error)
            raise StoreError(f"{self.path}: no history: {error}") from None

    def _begin_anew(self, error: sqlite3.Error) -> None:
        """Put the broken file aside and open a new one; StoreError says so."""
        aside = self.path.with_name(self.path.name + BROKEN)
        try:
            with suppress(AttributeError):  # There is none if it was found while opening.
                self._connection.close()
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._ids.clear()
            self._connection = self._opened()
        except (sqlite3.Error, OSError) as second:
            raise StoreError(f"{self.path}: no history: {error}; and no new file: {second}") from None
        self.told = f"{self.path}: broken ({error}); it is now {aside.name}, and history begins anew"
        raise _PutAsideError(self.told)

    def _check(self, version: int) -> None:
        if version > VERSION:
            newer = f"written by a newer harness (version {version}, this one knows {VERSION})"
            raise StoreError(f"{self.path}: no history: {newer}")

    def _opened(self) -> sqlite3.Connection:
        with ExitStack() as stack:
            connection = sqlite3.connect(self.path, timeout=BUSY_MAX_S, isolation_level=None, check_same_thread=False)
            stack.callback(connection.close)
            connection.execute("PRAGMA journal_mode = WAL")
            # A power cut may cost the last minutes, never the file; an fsync a minute more would buy nothing else.
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            self._check(version)
            if version == 0:
                connection.executescript(_SCHEMA)
            connection.execute("SELECT count(*) FROM series").fetchone()  # Damage here is to be found now.
            stack.pop_all()
        return connection


class _PutAsideError(StoreError):
    """The file was broken and is replaced: the next call works."""


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
