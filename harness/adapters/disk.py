"""Disk: what to tell when something could not be written.

In    the error, and the folder that was written to
Out   one line that names the place and the way out
Rule  a full disk, an exhausted quota and a file at its limit are one thing to whoever reads it: there is no space
Why   a disk fills up in the middle of a long run; a traceback then tells nobody what to do
"""

from __future__ import annotations

import os
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Final

FULL: Final = frozenset({ENOSPC, EDQUOT, EFBIG})


def no_space(error: BaseException) -> OSError | None:
    """The error that says that there is no space, also from inside a group of tasks."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(no_space, error.exceptions)), None)
    return error if isinstance(error, OSError) and error.errno in FULL else None


def try_folder(folder: Path) -> None:
    """Make a folder and write something into it; OSError if that cannot be."""
    trial = folder / f".write-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    trial.write_bytes(b"")
    trial.unlink()


def told(error: OSError, folder: Path, option: str = "--reports-dir") -> str:
    """Say in one line what to do about ``error``; ``folder`` is where it was, unless the error knows it better."""
    where = error.filename or folder
    if no_space(error) is not None:
        return f"{where}: no space left: free some or choose {option}"
    return f"{where}: cannot be written ({error.strerror or error}); choose another folder with {option}"
