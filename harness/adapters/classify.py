"""Classify: the failures of the libraries that act, added to what every part of the project knows.

In    nothing
Out   a Classifier, still open: add what your program knows, then it is closed by the Recovery that uses it
Rule  a library's errors are told apart by its own numbers where it has some, never by its texts
Why   the pure rooms know no sqlite3 and no sockets, and still have to decide about their failures
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import sqlite3
from typing import Final

from harness.core.classifier import Classifier
from harness.core.failures import standard
from harness.errors import Kind

# SQLite's extended results: the name's beginning says what it is, and there are more of them with every release.
SQLITE: Final[tuple[tuple[str, Kind, str], ...]] = (
    ("SQLITE_BUSY", Kind.TRANSIENT, "store-busy"),
    ("SQLITE_LOCKED", Kind.TRANSIENT, "store-busy"),
    ("SQLITE_NOMEM", Kind.TRANSIENT, "no-memory"),
    ("SQLITE_FULL", Kind.PERMANENT, "disk-full"),
    ("SQLITE_READONLY", Kind.PERMANENT, "read-only"),
    ("SQLITE_IOERR", Kind.PERMANENT, "disk-broken"),
    ("SQLITE_CANTOPEN", Kind.PERMANENT, "no-file"),
    ("SQLITE_CORRUPT", Kind.PERMANENT, "store-corrupt"),
    ("SQLITE_NOTADB", Kind.PERMANENT, "store-corrupt"),
    ("SQLITE_CONSTRAINT", Kind.PERMANENT, "store-constraint"),
    ("SQLITE_TOOBIG", Kind.PERMANENT, "too-big"),
)
LIBRARIES: Final[tuple[tuple[type[BaseException], Kind, str], ...]] = (
    (sqlite3.Error, Kind.PERMANENT, "store"),
    (concurrent.futures.CancelledError, Kind.CANCELLED, "cancelled"),
    (concurrent.futures.BrokenExecutor, Kind.PERMANENT, "executor-broken"),
    (asyncio.IncompleteReadError, Kind.AMBIGUOUS, "connection-lost"),
    (http.client.HTTPException, Kind.AMBIGUOUS, "http"),
)


def everything() -> Classifier:
    """Make a classifier of all that is known."""
    classifier = standard()
    numbers = {name: value for name, value in vars(sqlite3).items() if name.startswith("SQLITE_")}
    for start, kind, code in SQLITE:
        for number in sorted(
            {value for name, value in numbers.items() if name == start or name.startswith(f"{start}_")}
        ):
            classifier.add_value(sqlite3.Error, "sqlite_errorcode", number, kind, code)
    for cls, kind, code in LIBRARIES:
        classifier.add_type(cls, kind, code)
    return classifier
