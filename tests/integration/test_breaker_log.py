"""The circuit breakers' file, also when there is no room for a line."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from harness.adapters.breaker_log import BreakerLog
from harness.core.events import BreakerMoved

# A limit on the length of files is the nearest thing to a full disk that everybody may have: it cuts a write short.
FULL = """
import resource, signal, sys
from pathlib import Path
from harness.adapters.breaker_log import BreakerLog
from harness.core.events import BreakerMoved
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = BreakerLog(Path(sys.argv[1]))
refused = 0
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for seq in range(1, 7):
    limit = hard if seq in (1, 6) else 200
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        log.write(float(seq), BreakerMoved("b", seq, "closed", "open", "tripped", 5, 30.0))
    except OSError:
        refused += 1
log.close()
print(refused)
"""


def lines(folder: Path) -> tuple[list[int], int]:
    """The numbers of the whole lines, and how many are torn."""
    whole, torn = [], 0
    for line in (folder / "circuit-breaker.jsonl").read_text().splitlines():
        try:
            whole.append(json.loads(line)["seq"])
        except ValueError:
            torn += 1
    return whole, torn


def test_a_line_that_does_not_fit_is_an_error_and_glues_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) == 4
    assert lines(tmp_path) == ([1, 6], 1)


def test_what_a_crash_has_torn_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "circuit-breaker.jsonl").write_text('{"ts":"20')
    with closing(BreakerLog(tmp_path)) as log:
        log.write(1.0, BreakerMoved("b", 1, "closed", "open", "tripped", 5, 30.0))
    with closing(BreakerLog(tmp_path)) as log:
        log.write(2.0, BreakerMoved("b", 2, "open", "half-open", "cooled", 5, 30.0))
    assert lines(tmp_path) == ([1, 2], 1)
