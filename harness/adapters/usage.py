"""Usage: what the own process takes of the machine, and what is left of it.

In    nothing, or a folder
Out   memory, its limit, handles, threads; the space of a file system
Rule  the limit of memory is the smallest that anybody has set: the control group's, or the machine's own
Why   a container is killed at its own limit, while the machine around it has plenty

Everything but ``space`` answers at once; a file system may hang (a network drive), so ask for it in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container sees its own limit (control groups, version 2 and 1)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the own process takes now."""

    memory_bytes: int
    memory_bytes_max: int
    handles: int
    threads: int


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system has for this user."""

    free_bytes: int
    total_bytes: int


class OwnUsage:
    """The own process; the limit is looked up once."""

    def __init__(self) -> None:
        """Find out the limit."""
        self._process = psutil.Process()
        self._limit = memory_bytes_max()

    def read(self) -> Usage:
        """Look; takes about a tenth of a millisecond."""
        process = self._process
        with process.oneshot():
            return Usage(process.memory_info().rss, self._limit, process.num_fds(), process.num_threads())

    def cpu_share(self) -> float:
        """Give how much of one core it has used since the last call; 0.0 the first time."""
        return float(self._process.cpu_percent(None)) / 100.0


def resident_bytes(pids: Iterable[int]) -> int:
    """Add up the resident memory of processes; what they share with each other counts for each, the dead not at all."""
    total = 0
    for pid in pids:
        try:
            total += int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            continue
    return total


def memory_bytes_max() -> int:
    """Give what this process may take before somebody ends it."""
    limits = [psutil.virtual_memory().total]
    for path in _LIMITS:
        try:
            limits.append(int(path.read_text("ascii")))
        except (OSError, ValueError):
            continue  # Not there, or "max".
    return min(limits)


def space(folder: Path) -> Space:
    """Ask the file system of a folder; OSError if it is gone."""
    said = os.statvfs(folder)
    return Space(said.f_bavail * said.f_frsize, said.f_blocks * said.f_frsize)
