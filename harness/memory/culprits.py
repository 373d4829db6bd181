"""Culprits: which lines keep allocating, by two profiles of unequal length.

In    two passes under memray, one with twice the messages of the other
Out   AllocatorFound for each line whose unfreed allocations grew with the messages; a flame graph for each process
Rule  the shorter pass is subtracted: what start-up, caches and pools hold stands in both and cancels out
Why   one profile shows the big holders; only the difference shows the growing ones, however small (perf.md 5.3)
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import harness
from harness.core.events import AllocatorFound, Noted
from harness.errors import NoVerdictError

KEY_FRAMES: Final = 3
"""Stacks that agree in this many innermost frames are one line at fault."""
ALLOCATIONS_MIN: Final = 0.03
"""Allocations a message; below it stands what comes and goes in long waves and was caught at two heights."""
BYTES_MIN: Final = 64.0
"""Growth in place (a buffer that is reallocated) is one allocation for ever: its bytes give it away."""
LISTED_MAX: Final = 10
OWN: Final = ("harness/", "fake_bots/")

Frames = tuple[tuple[str, str, int], ...]  # function, file, line; innermost first


@dataclass(frozen=True, slots=True)
class Pass:
    """One run under memray: where its files are, and how many messages each process saw."""

    folder: Path
    messages: Mapping[str, int]


@dataclass(slots=True)
class Held:
    """What one line still holds."""

    allocations: int = 0
    size: int = 0


def problem() -> str:
    """Say why nothing can be profiled here; empty if it can."""
    if importlib.util.find_spec("memray") is None:
        return "memray is not installed, so no line can be named; pip install 'hive-harness[memory]'"
    return ""


def profiled_command(folder: Path, module: str) -> tuple[str, ...]:
    """Give the command that runs ``python -m module`` under memray; its arguments are to be added."""
    return (sys.executable, "-m", "harness.memory.profiled", str(folder), "--", module)


async def finish(folder: Path, subjects: Iterable[str], *, within_s: float = 60.0) -> None:
    """Make every profiled process write its file now, while it still holds what it holds."""
    for subject in subjects:
        path = _file(folder, subject)
        if path is None:
            continue  # ``compare`` says so in the report.
        done = path.with_suffix(".done")
        try:
            os.kill(int(path.suffixes[-2][1:]), signal.SIGUSR1)
            async with asyncio.timeout(within_s):
                while not done.exists():  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.02)
        except (ProcessLookupError, TimeoutError):
            raise NoVerdictError(f"{subject}: ended or hung before its profile was complete") from None


def compare(short: Pass, long: Pass, folder: Path) -> list[AllocatorFound | Noted]:
    """Subtract the shorter pass from the longer one; flame graphs of the processes at fault go to ``folder``."""
    facts: list[AllocatorFound | Noted] = []
    for subject, messages in long.messages.items():
        files = _file(short.folder, subject), _file(long.folder, subject)
        extra = messages - short.messages[subject]
        if files[0] is None or files[1] is None or extra <= 0:
            facts.append(Noted(f"--profile: {subject} left no profile, so no line of it can be named"))
            continue
        found = _growing(subject, _held(files[0]), _held(files[1]), extra)
        facts += found
        if found:
            facts.append(_drawn(subject, files[1], folder))
        else:
            facts.append(Noted(f"--profile: no line of {subject} allocates more with every message"))
    return facts


def _growing(
    subject: str, before: Mapping[Frames, Held], after: Mapping[Frames, Held], extra: int
) -> list[AllocatorFound]:
    by_line: dict[str, Held] = defaultdict(Held)
    for frames, held in after.items():
        earlier = before.get(frames, Held())
        line = by_line[_where(frames)]
        line.allocations += held.allocations - earlier.allocations
        line.size += held.size - earlier.size
    found = [
        AllocatorFound(subject, where, round(held.allocations / extra, 4), round(held.size / extra, 2))
        for where, held in by_line.items()
        if (held.allocations / extra > ALLOCATIONS_MIN and held.size > 0) or held.size / extra > BYTES_MIN
    ]
    return sorted(found, key=lambda fact: -fact.bytes_per_message)[:LISTED_MAX]


def _held(path: Path) -> dict[Frames, Held]:
    from memray import FileReader  # noqa: PLC0415 - an extra that may be missing

    held: dict[Frames, Held] = defaultdict(Held)
    with FileReader(path) as reader:
        for record in reader.get_leaked_allocation_records(merge_threads=True):
            line = held[tuple(record.stack_trace(max_stacks=KEY_FRAMES))]
            line.allocations += record.n_allocations
            line.size += record.size
    return held


def _where(frames: Frames) -> str:
    """Name the innermost line of our own; the library that it called allocates on its behalf."""
    if not frames:
        return "(outside of Python)"
    named = [(_relative(file), line, function) for function, file, line in frames]
    file, line, function = next((frame for frame in named if frame[0].startswith(OWN)), named[0])
    return f"{file}:{line} {function}"


def _relative(file: str) -> str:
    """Cut off where this machine keeps its files."""
    home = Path(harness.__file__).parent.parent
    roots = {str(home), *sysconfig.get_paths().values(), *filter(None, sys.path)}
    for root in sorted(roots, key=len, reverse=True):
        if file.startswith(root + os.sep):
            return file[len(root) + 1 :].replace(os.sep, "/")
    return Path(file).name


def _drawn(subject: str, source: Path, folder: Path) -> Noted:
    target = folder / f"leaks-{subject}.html"
    done = subprocess.run(
        [sys.executable, "-m", "memray", "flamegraph", "--leaks", "--no-web", "-f", "-o", str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return Noted(f"--profile: no flame graph of {subject} ({done.stderr.strip().splitlines()[-1:]})")
    return Noted(f"--profile: what {subject} holds stands in {target.name}")


def _file(folder: Path, subject: str) -> Path | None:
    """Find the profile of the newest process of that name."""
    files = [path for path in folder.glob(f"{subject}.*.bin") if path.name.rsplit(".", 2)[0] == subject]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
