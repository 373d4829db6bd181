"""Runs: the folders in reports/runs/, one for each run, and ``latest``.

In    the folder of reports; what was run, or which run is meant
Out   a folder that nobody else has; or the folder of an earlier run
Rule  a run's name is the time and what was run; nothing of it stands inside its journal
Why   runs sort by time, never overwrite one another, and two simulated ones can be compared byte for byte
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.core.decode import suggest
from harness.errors import UsageError

JOURNAL: Final = "journal.jsonl"
"""The run itself, in its folder."""
LATEST: Final = "latest"
SAME_SECOND_MAX: Final = 100


def new(reports: Path, what: str) -> Path:
    """Make a folder that no other run has; UsageError if there is no place for it."""
    slug = re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")[-40:]
    stem = f"{datetime.now(UTC).astimezone():%Y-%m-%dT%H-%M-%S}-{slug or 'run'}"
    try:
        (reports / "runs").mkdir(parents=True, exist_ok=True)
        for name in (stem, *(f"{stem}-{number}" for number in range(2, SAME_SECOND_MAX))):
            with suppress(FileExistsError):
                (reports / "runs" / name).mkdir()
                return reports / "runs" / name
    except OSError as error:
        raise UsageError(
            f"the reports folder {reports} cannot be written ({error.strerror}); choose another with --reports-dir"
        ) from None
    raise UsageError(f"{reports / 'runs'} holds {stem} {SAME_SECOND_MAX} times")


def find(reports: Path, run: str) -> Path:
    """Find the folder of a run by its id, its path or ``latest``; UsageError with a suggestion."""
    for folder in (reports / "runs" / run, Path(run)):
        if run and (folder / JOURNAL).is_file():
            return folder.resolve()
    known = [path.parent.name for path in (reports / "runs").glob(f"*/{JOURNAL}")] if reports.is_dir() else []
    raise UsageError(f"no run {run!r} in {reports / 'runs'}{suggest(run, known)}")


def point_latest(folder: Path) -> None:
    """Let ``latest`` lead to this run; where links cannot be made, there is none."""
    link = folder.with_name(f".{LATEST}-{folder.name}")
    with suppress(OSError):
        link.symlink_to(folder.name)
        link.replace(folder.with_name(LATEST))
    with suppress(OSError):
        link.unlink(missing_ok=True)
