"""Reports: every reporter's files into the folder of a run.

In    a verdict and the entries that it was made from; the run's folder with the attachments of its cases
Out   the files of every plug-in in harness/reporters
Rule  a reporter with a field ``pictures`` gets the pictures of the run; half a file is no file
Why   reporters are pure: what they need from the disk is handed to them, and what they give is written here
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness import plugins, reporters
from harness.core.events import Entry
from harness.core.verdict import Verdict

PICTURES: Final = "pictures"


def write(folder: Path, verdict: Verdict, entries: Sequence[Entry]) -> None:
    """Write every report; OSError if one cannot be written."""
    pictures = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("cases/*/*.png")}
    for name in plugins.names(reporters):
        wanted: Mapping[str, object] = {}
        if pictures and PICTURES in plugins.options(reporters, name):
            wanted = {PICTURES: pictures}
        for file, content in plugins.build(reporters, name, wanted).render(verdict, entries).items():
            _write(folder / file, content)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        # Writing, unlike opening, does not tell which file it was.
        raise OSError(error.errno, error.strerror, str(path)) from None
