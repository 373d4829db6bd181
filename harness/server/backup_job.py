"""Backup job: one scheduled backup, in a process of its own: ``python -m harness.server.backup_job WORDS``.

In    one word, a JSON object: the folder of backups, the database, the rules
Out   one JSON object on stdout: how the backups stand now, and what went wrong; exit code 1 and words if not even that
Rule  whatever else runs goes first; a part that fails does not keep the next one from being tried
Why   packing 200 MB takes a CPU and 150 MB for two seconds: the process that carries the chat has neither to spare
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson
import psutil

from harness.adapters import backup_pruning
from harness.adapters.backup_pruning import Rules
from harness.adapters.backups import Backups
from harness.core.backups import BackupFigures
from harness.core.decode import decode
from harness.errors import EXIT_FAILED, EXIT_PASS, BackupError, HarnessError
from harness.services.backup_schedule import ScheduleConfig, next_reading

NICE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done."""

    root: str
    database: str
    rules: Mapping[str, object]


def main() -> int:
    """Do the job that the words say."""
    os.nice(NICE)
    with suppress(psutil.Error, AttributeError, OSError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    try:
        figures = run(decode(Job, orjson.loads(sys.argv[1])))
    except (HarnessError, OSError) as error:
        sys.stdout.write(str(error))
        return EXIT_FAILED
    sys.stdout.buffer.write(orjson.dumps(figures))
    return EXIT_PASS


def run(job: Job) -> BackupFigures:
    """Make a backup, read one again whose turn it is, remove what no rule keeps."""
    began = time.monotonic()
    backups, rules = Backups(Path(job.root)), decode(Rules, job.rules)
    steps: tuple[Callable[[], None], ...] = (
        lambda: backup_pruning.remember(backups.folder, rules),
        lambda: _create(backups, Path(job.database), rules),
        lambda: _read_again(backups),
        lambda: _prune(backups, rules),
    )
    problems = []
    for step in steps:
        try:
            step()
        except (HarnessError, OSError) as error:
            problems.append(str(error))
    figures = backups.figures()
    return replace(
        figures,
        took_s=round(time.monotonic() - began, 3),
        problem="; ".join(problems),
    )


def _create(backups: Backups, database: Path, rules: Rules) -> None:
    _, finding = backups.create(database, reason="scheduled", quota_bytes=rules.quota_bytes)
    if not finding.ok:
        raise BackupError(finding.why)


def _read_again(backups: Backups) -> None:
    reading = next_reading(backups.catalog().snapshots, backups.clock(), ScheduleConfig())
    for finding in backups.check([reading.name], reading.level) if reading is not None else ():
        if not finding.ok:
            raise BackupError(finding.why)


def _prune(backups: Backups, rules: Rules) -> None:
    done = backup_pruning.prune(backups, rules)
    if done.plan.refusal:
        raise BackupError(f"nothing was removed: {done.plan.refusal}")
    if done.plan.over_quota_bytes:
        raise BackupError(f"over the quota by {done.plan.over_quota_bytes:,} bytes, and what is left is guarded")


if __name__ == "__main__":
    sys.exit(main())
