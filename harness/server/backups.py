"""Backups of a running service: when one is due, a process of its own makes it.

In    the settings, the database, the folder of backups; the wall clock
Out   figures for the metrics; one line on stderr when backups begin to fail, one when they work again
Rule  nothing here reads a database or packs a byte: the event loop only waits for a child with the lowest priority
Why   the chat must not be slower in the minute of a backup than in any other
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from harness.adapters.backup_pruning import Rules, offset_of
from harness.adapters.backups import Backups
from harness.adapters.processes import Guardian, reason, signal_group
from harness.core.backups import BackupFigures
from harness.core.decode import decode
from harness.core.settings import Settings
from harness.errors import EXIT_FAILED, BackupError, HarnessError
from harness.services.backup_schedule import ScheduleConfig, due_in_s
from harness.services.metrics import Metrics

START_PAUSE_S: Final = 5.0
"""A service that has just started has better things to do."""
LOOK_S: Final = 60.0
"""The longest sleep: a wall clock that is set must not let a backup wait for hours."""
JOB_MAX_S: Final = 3_600.0
"""A job that takes longer is ended; what it leaves is cleared away by the next one."""


def rules_of(settings: Settings) -> Rules:
    """Give the rules that the settings name; UsageError if they cannot be."""
    rules = Rules(
        last=settings.backup_keep_last,
        hourly=settings.backup_keep_hourly,
        daily=settings.backup_keep_daily,
        weekly=settings.backup_keep_weekly,
        monthly=settings.backup_keep_monthly,
        yearly=settings.backup_keep_yearly,
        within_s=settings.backup_keep_within_s,
        zone=settings.backup_zone,
        quota_bytes=settings.backup_quota_bytes,
        every_s=settings.backup_every_s,
    )
    rules.policy()
    rules.guards()
    offset_of(rules.zone)
    return rules


class BackupKeeper:
    """Makes the backups of one service."""

    def __init__(
        self, root: Path, database: Path, settings: Settings, guardian: Guardian, *, oldest_at: float | None
    ) -> None:
        """Keep backups of ``database`` in ``root``; ``oldest_at`` is when the oldest thing in it was made."""
        self._root, self._database, self._guardian = root.absolute(), database.absolute(), guardian
        self._rules = rules_of(settings)
        self._config = ScheduleConfig(every_s=settings.backup_every_s) if settings.backup_every_s else None
        self._since = time.time() if oldest_at is None else oldest_at
        self.figures = self._with_what_we_know(BackupFigures())
        self._failed_at: float | None = None
        self._in_a_row = 0
        self._task: asyncio.Task[None] | None = None

    def watch(self, metrics: Metrics) -> None:
        """Let the metrics show how the backups stand."""
        for name in self.figures.readings(0.0):
            metrics.watch(name, partial(self._reading, name))

    def start(self) -> None:
        """Make backups from now on."""
        self._task = asyncio.get_running_loop().create_task(self._keep_on(), name="backups")

    async def close(self) -> None:
        """Make no more; a job that runs is ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _reading(self, name: str) -> float:
        return self.figures.readings(time.time())[name]

    def _with_what_we_know(self, figures: BackupFigures) -> BackupFigures:
        oldest_at = None if self._config is None else self._since
        return replace(figures, quota_bytes=self._rules.quota_bytes, oldest_at=oldest_at)

    async def _keep_on(self) -> None:
        if self._root.exists():
            await self._look()
        if self._config is None:
            return
        await asyncio.sleep(min(START_PAUSE_S, self._config.every_s))
        while True:
            wait_s = due_in_s(
                time.time(),
                self.figures.newest_verified_at,
                self._since,
                self._failed_at,
                self._in_a_row,
                self._config,
            )
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, LOOK_S))
            else:
                await self._run()

    async def _look(self) -> None:
        """Find out what is there from earlier; a folder that cannot be read is found out by the next backup, too."""
        with contextlib.suppress(HarnessError, OSError):
            seen = await asyncio.to_thread(Backups(self._root).figures)
            self.figures = self._with_what_we_know(seen)

    async def _run(self) -> None:
        before = self.figures
        try:
            after = await self._job()
        except (HarnessError, OSError, TimeoutError, ValueError) as error:
            after = replace(before, problem=str(error) or f"the backup took longer than {JOB_MAX_S:g} s")
        # A problem beside a new backup, such as one that cannot be removed, is told; the next one is not late for it.
        made = after.newest_verified_at is not None and after.newest_verified_at != before.newest_verified_at
        failures = before.failures + (not made)
        self.figures = replace(self._with_what_we_know(after), runs=before.runs + 1, failures=failures)
        self._in_a_row = 0 if made else self._in_a_row + 1
        self._failed_at = None if made else time.time()
        if after.problem and after.problem != before.problem:
            _say(f"backups: {after.problem}")
        elif before.problem and not after.problem:
            _say("backups work again")

    async def _job(self) -> BackupFigures:
        job = {"root": str(self._root), "database": str(self._database), "rules": asdict(self._rules)}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "harness.server.backup_job",
            orjson.dumps(job).decode(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._guardian.env(),
            start_new_session=True,
        )
        self._guardian.watch(process.pid)
        try:
            async with asyncio.timeout(JOB_MAX_S):
                answer, _ = await process.communicate()
        finally:
            if process.returncode is None:
                signal_group(
                    process.pid, signal.SIGKILL
                )  # It has nothing to finish: what is half made is not a backup.
                await process.wait()
            self._guardian.forget(process.pid)
        if process.returncode == EXIT_FAILED and answer:
            raise BackupError(answer.decode("utf-8", "replace"))
        if process.returncode:
            raise BackupError(f"the backup job ended with {reason(process.returncode)}")
        return decode(BackupFigures, orjson.loads(answer))


def _say(words: str) -> None:
    with contextlib.suppress(OSError):
        print(f"chat: {words}", file=sys.stderr, flush=True)
