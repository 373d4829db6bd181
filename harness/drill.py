"""Drill: prove that a backup can be lived from, and measure how long that takes.

In    a folder of backups, the name of one, the program that bots are
Out   seconds from nothing to a session that was read over HTTP; HarnessError if it does not come to that
Rule  a folder of its own, a port of its own: the live service and its database are not touched
Why   a restore that was never tried takes as long as learning how it is done, on the worst day of the year
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from harness.adapters import backup_ledger
from harness.adapters.backups import Backups
from harness.adapters.sqlite import FILE_NAME
from harness.core.settings import Settings
from harness.errors import BackupError, HarnessError
from harness.targets._api import Api
from harness.targets.reference import Reference

START_MAX_S: Final = 600.0
"""A drill measures how long a start takes; it gives up only on one that does not come."""
MESSAGES_MAX: Final = 500
"""So many of a session's newest messages are compared."""
Told = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """How a drill went; times in seconds since its beginning."""

    name: str
    unpacked_s: float
    """The backup was a database again, and checked."""
    ready_s: float
    """The service said that it was ready."""
    rto_s: float
    """A session was read, and it said what it had said."""
    session: str
    messages: int


def drill(backups: Backups, name: str, *, bot_command: Sequence[str] = ()) -> Drilled:
    """Restore a backup into a folder of its own, start the service on it and read what a user would read first."""
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="harness-drill-") as place:
            done = asyncio.run(_drill(backups, name, Path(place), tuple(bot_command), began))
    except HarnessError:
        backups.drilled(name, ok=False, rto_s=time.monotonic() - began)
        raise
    backups.drilled(name, ok=True, rto_s=done.rto_s)
    return done


async def _drill(backups: Backups, name: str, place: Path, bot_command: tuple[str, ...], began: float) -> Drilled:
    database = place / "state" / FILE_NAME
    database.parent.mkdir()
    backups.prove(name, backup_ledger.PROVED, database)
    unpacked_s = time.monotonic() - began
    session, wanted = _known(database)
    target = Reference(bot_command=bot_command, start_max_s=START_MAX_S)
    settings = Settings(backup_every_s=0.0)
    async with target.open(folder=place, bot_logs=place / "bot-logs", settings=settings) as service:
        api = Api(service.url)
        try:
            await api.call("GET", "/health/ready")
            ready_s = time.monotonic() - began
            await _compare(api, name, session, wanted)
            rto_s = time.monotonic() - began
        finally:
            api.close()
    return Drilled(
        name=name,
        unpacked_s=round(unpacked_s, 3),
        ready_s=round(ready_s, 3),
        rto_s=round(rto_s, 3),
        session=session,
        messages=len(wanted),
    )


def _known(database: Path) -> tuple[str, list[Told]]:
    """Read from the file what a user would look at first: the newest session and its newest messages."""
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro&immutable=1", uri=True)) as copied:
        row = copied.execute("SELECT id FROM session ORDER BY updated DESC, id LIMIT 1").fetchone()
        if row is None:
            return "", []
        messages = "SELECT mid, role, text FROM message WHERE session = ? ORDER BY rid DESC LIMIT ?"
        return str(row[0]), copied.execute(messages, (row[0], MESSAGES_MAX)).fetchall()


async def _compare(api: Api, name: str, session: str, wanted: list[Told]) -> None:
    """Read the same over HTTP. The service may have added that replies were cut short; it must not have lost one."""
    listed = await api.call("GET", "/api/sessions?limit=1")
    if [each["id"] for each in listed["sessions"]] != ([session] if session else []):
        raise BackupError(f"{name}: the service on it lists other sessions than the backup holds: {listed['sessions']}")
    if session:
        found = {(each["mid"], each["role"], each["text"]) for each in await api.transcript(session)}
        lost = [mid for mid, role, text in wanted if (mid, role, text) not in found]
        if lost:
            raise BackupError(f"{name}: the service on it lacks {len(lost)} messages of {session}, {lost[0]} first")
