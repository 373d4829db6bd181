"""journal.py: what a book does when the disk is full: the file may be torn, but it never has a hole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.adapters import journal
from harness.adapters.journal import Book
from harness.core.events import GotAccepted

# To the program that writes, a limit on the size of a file is a full disk; here it is one that gets room again.
FILLS_UP = """
import resource, signal, sys
from pathlib import Path
from harness.adapters.journal import Book
from harness.core.events import GotAccepted
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
book = Book(Path(sys.argv[1]))
failed = []
for number in range(100):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000 if number < 50 else hard, hard))
    try:
        book.write(number, "client", GotAccepted(f"m{number}"))
    except OSError as error:
        failed.append((number, error.filename))
assert failed == [(number, sys.argv[1]) for number in range(failed[0][0], 100)], failed
assert failed[0][0] < 50
assert book.failed is not None
book.close()
"""


def test_after_a_line_that_did_not_fit_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    done = subprocess.run(
        [sys.executable, "-B", "-c", FILLS_UP, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert path.stat().st_size == 1_000
    times = [entry.t for entry in journal.read(path)]
    assert times == list(range(len(times)))
    assert not path.read_bytes().endswith(b"\n")


def test_what_fits_is_all_there(tmp_path: Path) -> None:
    book = Book(tmp_path / "journal.jsonl")
    for number in range(1_000):
        book.write(number, "client", GotAccepted(f"m{number}"))
    book.close()
    assert book.failed is None
    assert len(list(journal.read(book.path))) == 1_000
