"""Profiled: run a program under memray, so that what it still holds at a given moment can be read from a file.

In    python -m harness.memory.profiled OUTDIR -- MODULE [ARGUMENT ...]
Out   OUTDIR/NAME.PID.bin: the allocations that were not freed until the end, or until SIGUSR1 came before it;
      OUTDIR/NAME.PID.done once that file is complete
Rule  the program behaves as under ``python -m MODULE``; SIGTERM and the end of its input still end it in order
Why   at its end a program lets go of everything, leaks included: they must be counted while it is alive

NAME is "service" for the module ``harness``, else what HARNESS_BOT_NAME says, else the module's name.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

from harness.adapters.counters import SERVICE, collect
from harness.errors import EXIT_USAGE

USAGE: Final = "usage: python -m harness.memory.profiled OUTDIR -- MODULE [ARGUMENT ...]"


def main() -> None:
    """Start tracking, become the program, stop tracking."""
    match sys.argv[1:]:
        case [folder, "--", module, *arguments]:
            pass
        case _:
            print(USAGE, file=sys.stderr)
            sys.exit(EXIT_USAGE)
    path = Path(folder).absolute() / f"{_name(module)}.{os.getpid()}.bin"
    sys.argv = [module, *arguments]
    with _tracked(path):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _tracked(path: Path) -> ExitStack:
    """Track until the stack is closed; SIGUSR1 closes it early."""
    from memray import FileDestination, FileFormat, Tracker  # noqa: PLC0415 - an extra that may be missing

    stack = ExitStack()

    def finish(_number: int, _frame: FrameType | None) -> None:
        collect()
        stack.close()

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    # Without this a program that leaves SIGTERM alone would die before its file is written.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, finish)
    # First in, last out: the mark says that the tracker has written everything.
    stack.callback(path.with_suffix(".done").touch)
    stack.enter_context(
        Tracker(
            destination=FileDestination(path, overwrite=True),
            # Small Python objects live in arenas: without this the first use of an arena is blamed for all of them.
            trace_python_allocators=True,
            file_format=FileFormat.AGGREGATED_ALLOCATIONS,
        )
    )
    return stack


def _name(module: str) -> str:
    return SERVICE if module == "harness" else os.environ.get("HARNESS_BOT_NAME", "") or module


if __name__ == "__main__":
    main()
