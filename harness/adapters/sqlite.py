"""Store: sessions, messages and wanted bots in one SQLite file.

In    groups of rows to write (a group is written whole or not at all); questions
Out   for each group None or the StoreError that says why not, once it is on disk; rows as the HTTP API shows them
Rule  one writer thread; whatever waits goes into one transaction (group commit), synchronous=FULL, WAL
Why   one fsync serves every message that waits for it, and an acknowledged message survives kill -9 and power loss
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import orjson

from harness.adapters.retry import Retrying, make_recovery
from harness.chat.engine import QUESTION
from harness.core.backoff import Backoff
from harness.core.events import BotWanted, ForgetBot, Recalled, SaveMessage
from harness.errors import Kind, StoreBusyError, StoreError
from harness.services.recovery import Policy, Recovery, RecoveryConfig

FILE_NAME: Final = "chat.sqlite3"
INTERRUPTED: Final = "the service was restarted before the bot answered; send it again"
BUSY_MAX_S: Final = 5.0
"""How long a write waits for somebody else's lock (a backup, a person with a shell) before it fails."""
TRY_S: Final = 1.0
"""How long one try of it waits: SQLite itself asks every few milliseconds. Some locks it does not wait for at all."""
STORE: Final = "store"
"""The dependency's name in the figures of recovery."""
POLICY: Final = Policy(attempts_max=4, backoff=Backoff(base_s=0.05, cap_s=0.5))
"""Only a lock is waited for: a full disk is full until somebody makes room, and what waits behind must be told so."""
TITLE_CHARS: Final = 60
"""A session without a title is called by the first characters of its first message."""

# MIGRATIONS[n] turns a store of version n into one of version n + 1; the file carries its version as user_version.
MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE bot (
        name TEXT PRIMARY KEY, behaviour TEXT NOT NULL, options TEXT NOT NULL, seed INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE session (
        id TEXT PRIMARY KEY, bot TEXT NOT NULL, title TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_updated ON session (updated);
    CREATE TABLE message (
        rid INTEGER PRIMARY KEY, mid TEXT NOT NULL UNIQUE, session TEXT NOT NULL, cid TEXT NOT NULL,
        role TEXT NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL, at REAL NOT NULL,
        UNIQUE (session, cid, role)
    ) STRICT;
    CREATE INDEX message_session ON message (session, rid);
    -- Everything up to settled_rid has its final state; at is the last sign of life.
    CREATE TABLE pulse (one INTEGER PRIMARY KEY CHECK (one = 1), at REAL NOT NULL, settled_rid INTEGER NOT NULL) STRICT;
    INSERT INTO pulse VALUES (1, 0.0, 0);
    """,
)

_SAVE: Final = """
    INSERT INTO message (mid, session, cid, role, text, state, error, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (mid) DO UPDATE SET text = excluded.text, state = excluded.state, error = excluded.error
"""
_SESSIONS: Final = """
    SELECT id, bot, title, created, updated, (SELECT count(*) FROM message WHERE session = session.id) FROM session
"""
_MESSAGES: Final = "SELECT mid, cid, role, text, state, error, at FROM message"
_CUT_SHORT: Final = """
    UPDATE message SET state = 'interrupted', error = ?
    WHERE role = 'bot' AND state = 'streaming' AND rid > (SELECT settled_rid FROM pulse)
"""
_UNANSWERED: Final = """
    FROM message AS asked
    WHERE role = 'user' AND rid > (SELECT settled_rid FROM pulse) AND NOT EXISTS (
        SELECT 1 FROM message WHERE session = asked.session AND cid = asked.cid AND role = 'bot')
"""
# The id of a question is the id of its turn with a mark behind it; the reply is called like the turn.
_NEVER_ANSWERED: Final = f"""
    INSERT INTO message (mid, session, cid, role, text, state, error, at)
    SELECT iif(substr(mid, ?) = ?, substr(mid, 1, length(mid) - ?), mid || '.lost'),
           session, cid, 'bot', '', 'interrupted', ?, at
    {_UNANSWERED} AND (at < ? OR substr(mid, ?) != ?)
    ORDER BY rid
"""
_SETTLED: Final = "UPDATE pulse SET settled_rid = coalesce(?, (SELECT coalesce(max(rid), 0) FROM message) + 1) - 1"
_STILL_WAITING: Final = f"""
    SELECT rid, mid, session, (SELECT bot FROM session WHERE id = asked.session), cid, text, at
    {_UNANSWERED}
    ORDER BY rid
"""  # noqa: S608 - put together from constants.


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation, as ``GET /api/sessions`` lists it; times are Unix seconds."""

    id: str
    bot: str
    title: str
    created: float
    updated: float
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message, as ``GET /api/sessions/{id}/messages`` lists it."""

    mid: str
    cid: str
    role: str
    text: str
    state: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """Nothing but a sign of life: proves that the store can be written."""


Row = SaveMessage | BotWanted | ForgetBot | Session | Pulse
Group = Sequence[Row]
Done = Callable[[list[StoreError | None]], None]


class Store:
    """The service's memory. Reads are answered at once, on the caller's thread; writes by the writer thread."""

    def __init__(self, path: Path, recovery: Recovery | None = None) -> None:
        """Open or create the file and bring it up to date; StoreError says why not."""
        self.path = path
        self._recovery = recovery or make_recovery(RecoveryConfig(policies={STORE: POLICY}))
        # A transaction is done whole or not at all: it may be tried again.
        self._retrying = Retrying(self._recovery, STORE, keyed=True, within_s=BUSY_MAX_S)
        try:
            self._writing, self._reading = self._retrying.run(_open, path)
        except (sqlite3.Error, OSError) as error:
            raise self._problem(error, "the store cannot be opened") from None
        # One cursor each: a connection keeps weak references to its last 200, which looks like memory that moves.
        self._write_cursor, self._read_cursor = self._writing.cursor(), self._reading.cursor()
        self._jobs: SimpleQueue[tuple[Sequence[Group], Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_on, name="store-writer", daemon=True)
        self._thread.start()

    # --- Writes -------------------------------------------------------------------------------------------------------
    def save(self, groups: Sequence[Group], done: Done) -> None:
        """Write groups in order; ``done`` is called on the writer thread with None or the reason for each."""
        self._jobs.put((groups, done))

    def close(self) -> None:
        """Finish what waits, then close the file."""
        self._jobs.put(None)
        self._thread.join()
        self._reading.close()
        self._writing.close()

    def _write_on(self) -> None:
        while (job := self._jobs.get()) is not None:
            groups, done = job
            done(self._commit(groups))

    def _commit(self, groups: Sequence[Group]) -> list[StoreError | None]:
        """All in one transaction; if that fails one by one, so that only the guilty group is lost."""
        problem = self._transact(groups)
        if problem is None:
            return [None] * len(groups)
        if len(groups) == 1:
            return [problem]
        return [self._transact((group,)) for group in groups]

    def _transact(self, groups: Sequence[Group]) -> StoreError | None:
        try:
            self._retrying.run(self._write, groups)
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            return self._problem(error)
        return None

    def _write(self, groups: Sequence[Group]) -> None:
        self._write_cursor.execute("BEGIN IMMEDIATE")
        try:
            now = time.time()
            for group in groups:
                for row in group:
                    self._put(row, now)
            self._write_cursor.execute("COMMIT")
        finally:
            # SQLite has rolled back by itself after some errors (disk full among them).
            if self._writing.in_transaction:
                self._write_cursor.execute("ROLLBACK")

    def _problem(self, error: Exception, what: str = "") -> StoreError:
        """Say it in our words, and whether it may be over soon."""
        text = f"{self.path}: {what} ({error})" if what else f"{self.path}: {error}"
        lasting = self._recovery.classifier.error(error).kind is not Kind.TRANSIENT
        return StoreError(text) if lasting else StoreBusyError(text)

    def _put(self, row: Row, now: float) -> None:
        run = self._write_cursor.execute
        match row:
            case SaveMessage(mid, session, role, cid, text, state, error):
                run(_SAVE, (mid, session, cid, role, text, state, error, now))
                if role == "user":
                    title = " ".join(text.split())[:TITLE_CHARS]
                    run(
                        "UPDATE session SET updated = ?, title = iif(title = '', ?, title) WHERE id = ?",
                        (now, title, session),
                    )
            case BotWanted(bot, behaviour, options, seed):
                run(
                    "INSERT OR REPLACE INTO bot VALUES (?, ?, ?, ?)",
                    (bot, behaviour, orjson.dumps(options).decode(), seed),
                )
            case ForgetBot(bot):
                run("DELETE FROM bot WHERE name = ?", (bot,))
            case Session(id_, bot, title, created, updated):
                run("INSERT INTO session VALUES (?, ?, ?, ?, ?)", (id_, bot, title, created, updated))
            case Pulse():
                run("UPDATE pulse SET at = ?", (now,))

    # --- Reads --------------------------------------------------------------------------------------------------------
    def bots(self) -> list[BotWanted]:
        """Every bot that is wanted, by name."""
        rows = self._read("SELECT name, behaviour, options, seed FROM bot ORDER BY name")
        return [BotWanted(name, behaviour, orjson.loads(options), seed) for name, behaviour, options, seed in rows]

    def oldest(self) -> float | None:
        """When the oldest session was made, in Unix seconds; None if there is none."""
        (row,) = self._read("SELECT min(created) FROM session")
        return None if row[0] is None else float(row[0])

    def session(self, session: str) -> Session | None:
        """One session, if it is there."""
        return next((Session(*row) for row in self._read(f"{_SESSIONS} WHERE id = ?", session)), None)

    def bot_of(self, session: str) -> str | None:
        """The bot of a session; None if there is no such session."""
        return next((str(bot) for (bot,) in self._read("SELECT bot FROM session WHERE id = ?", session)), None)

    def sessions(self, bot: str | None, limit: int) -> list[Session]:
        """The newest sessions (of one bot), the one with the newest message first."""
        newest = "ORDER BY updated DESC, id LIMIT ?"
        if bot is None:
            rows = self._read(f"{_SESSIONS} {newest}", limit)
        else:
            rows = self._read(f"{_SESSIONS} WHERE bot = ? {newest}", bot, limit)
        return [Session(*row) for row in rows]

    def messages(
        self, session: str, limit: int, before: str | None = None, *, chars_max: int | None = None
    ) -> tuple[list[Message], bool]:
        """The newest ``limit`` messages of a session (before ``before``), oldest first; whether older ones are left.

        With ``chars_max`` only as many as have so many characters in all, but one at least: rows are read one by one,
        and what is not wanted is not read.
        """
        newest = "ORDER BY rid DESC LIMIT ?"
        found: list[Message] = []
        chars = 0
        if before is None:
            rows = self._rows(f"{_MESSAGES} WHERE session = ? {newest}", session, limit + 1)
        else:
            older = "rid < (SELECT rid FROM message WHERE mid = ?)"
            rows = self._rows(f"{_MESSAGES} WHERE session = ? AND {older} {newest}", session, before, limit + 1)
        with closing(rows):
            for row in rows:
                message = Message(*row)
                chars += len(message.text)
                if len(found) == limit or (found and chars_max is not None and chars > chars_max):
                    return found[::-1], True
                found.append(message)
        return found[::-1], False

    def message(self, session: str, mid: str) -> Message | None:
        """One message of a session."""
        rows = self._read(f"{_MESSAGES} WHERE mid = ? AND session = ?", mid, session)
        return next((Message(*row) for row in rows), None)

    def known(self, session: str, cid: str) -> str | None:
        """The id of the user's message that was saved under ``cid``, if any."""
        rows = self._read("SELECT mid FROM message WHERE session = ? AND cid = ? AND role = 'user'", session, cid)
        return next((str(mid) for (mid,) in rows), None)

    def _read(self, sql: str, *values: str | int) -> list[Any]:
        try:
            return self._read_cursor.execute(sql, values).fetchall()
        except (sqlite3.Error, UnicodeError) as error:
            raise self._problem(error) from None

    def _rows(self, sql: str, *values: str | int) -> Generator[Any, None, None]:
        """Give rows one by one; no other question may be asked before the last row, or before ``close``."""
        try:
            try:
                for row in self._read_cursor.execute(sql, values):  # noqa: UP028 - "yield from" would close the cursor.
                    yield row
            finally:
                self._read_cursor.execute("SELECT 1 WHERE 0")  # What is not read to its end keeps its snapshot open.
        except (sqlite3.Error, UnicodeError) as error:
            raise self._problem(error) from None

    # --- Start --------------------------------------------------------------------------------------------------------
    def settle(self, wait_max_s: float) -> tuple[int, list[Recalled]]:
        """Settle what a dead service left: how many replies were cut short, and the messages that still wait.

        Called once, before anything else is written. A reply that was streaming keeps what arrived of it and is
        "interrupted". A message that was accepted and never answered waits on, in its order; one that has waited for
        longer than ``wait_max_s`` gets an empty reply that is "interrupted".
        """
        now, mark = time.time(), len(QUESTION)
        try:
            with closing(self._writing.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                cursor.execute(_CUT_SHORT, (INTERRUPTED,))
                cut = cursor.rowcount
                named = (-mark, QUESTION)
                cursor.execute(_NEVER_ANSWERED, (*named, mark, INTERRUPTED, now - wait_max_s, *named))
                cut += cursor.rowcount
                waiting = cursor.execute(_STILL_WAITING).fetchall()
                # Everything before the first that waits has its final state.
                oldest = min((rid for rid, *_ in waiting), default=None)
                cursor.execute(_SETTLED, (oldest,))
                cursor.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._problem(error) from None
        return cut, [
            # A clock that was set back must not make it wait for longer.
            Recalled(session, bot or "", cid, mid.removesuffix(QUESTION), text, max(0.0, now - at))
            for _, mid, session, bot, cid, text, at in waiting
        ]


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Open the file twice: to write and to read."""
    with ExitStack() as stack:
        writing = _connect(path)
        stack.callback(writing.close)
        _migrate(writing, path)
        reading = _connect(path)
        stack.pop_all()
    return writing, reading


def _connect(path: Path) -> sqlite3.Connection:
    with ExitStack() as stack:
        connection = sqlite3.connect(path, timeout=TRY_S, isolation_level=None, check_same_thread=False)
        stack.callback(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        stack.pop_all()
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path}: written by a newer harness (store version {version}, this one knows {len(MIGRATIONS)}); "
            "use that harness or another --state-dir"
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
    # A store that can be read but not written must be found out now, not by the first user.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE pulse SET at = at")
    connection.execute("COMMIT")
