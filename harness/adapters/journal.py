"""Journal: facts to JSON lines, and back.

In    facts with their time; a path
Out   one line a fact: {"t": 1.25, "source": "client", "fact": "got-reply", "cid": "u1-3", ...}
Rule  append only, one writer a file; a torn last line (after kill -9) is left out, any other bad line is an error;
      after a line that did not fit on the disk nothing is written any more: a journal may be torn, never holed
Why   the run is this file: verdict, report and comparison read nothing else
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import orjson

from harness.core.events import KINDS, NAME_OF, Entry, RunFact
from harness.errors import NoVerdictError


def line_of(t: float, source: str, fact: RunFact) -> bytes:
    """Write one entry as its line; orjson takes the dataclass as it is, so only the head is put together here."""
    return b'{"t":%s%s%s\n' % (orjson.dumps(round(t, 6)), _middle(source, NAME_OF[type(fact)]), orjson.dumps(fact)[1:])


@lru_cache(maxsize=1024)
def _middle(source: str, name: str) -> bytes:
    """Give what stands between the time and the fact's own fields: few different ones, on the path of every message."""
    return b',"source":%s,"fact":"%s",' % (orjson.dumps(source), name.encode())


class Book:
    """A journal that is being written."""

    def __init__(self, path: Path, *, t0: float = 0.0) -> None:
        """Append to ``path``; ``t0`` is subtracted from every time."""
        self.path, self.t0 = path, t0
        path.parent.mkdir(parents=True, exist_ok=True)
        # No buffer: what failed once would wait in it and be written later, behind a gap or twice.
        self._file = path.open("ab", buffering=0)
        self._failed: OSError | None = None

    @property
    def failed(self) -> OSError | None:
        """Why nothing is written any more; None as long as everything was."""
        return self._failed

    def write(self, t: float, source: str, fact: RunFact) -> None:
        """Write one fact; it is with the operating system when this returns, so kill -9 loses nothing.

        OSError if it could not be written, and again for every fact after it.
        """
        self._append(line_of(t - self.t0, source, fact))

    def write_all(self, entries: Iterable[Entry]) -> None:
        """Write many facts at once, with the times that they carry."""
        self._append(b"".join(line_of(entry.t, entry.source, entry.fact) for entry in entries))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, lines: bytes) -> None:
        if self._failed is not None:
            raise self._failed
        left = memoryview(lines)
        try:
            while left:
                # A file system with little room takes what fits; only the next attempt says why that was all.
                left = left[self._file.write(left) :]
        except OSError as error:
            self._failed = OSError(error.errno, error.strerror, str(self.path))
            raise self._failed from None


def read(path: Path, *, start: int = 0) -> Iterator[Entry]:
    """Read a journal line by line, from byte ``start`` on; NoVerdictError names a line that is broken."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            raw = file.read()
    except OSError as error:
        raise NoVerdictError(f"{path}: cannot be read ({error.strerror}); a run holds a journal.jsonl") from None
    lines = raw.split(b"\n")
    torn = lines.pop()  # Empty if the last line is complete; else the writer died in the middle of it.
    del torn
    for number, line in enumerate(lines, start=1):
        try:
            data = orjson.loads(line)
            t, source, kind = data.pop("t"), data.pop("source"), data.pop("fact")
            yield Entry(float(t), source, KINDS[kind](**data))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise NoVerdictError(f"{path}:{number}: not a fact of this version ({error})") from None
