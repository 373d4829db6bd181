"""The circuit breakers' file, also when there is no room for a line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.adapters.breaker_log import FILE_NAME, BreakerLog
from harness.core.breaker_replay import Replay, replay
from harness.core.events import BreakerMoved

# A limit on the length of files is the nearest thing to a full disk that everybody may have: it cuts a write short.
FULL = """
import resource, signal, sys
from pathlib import Path
from harness.adapters.breaker_log import BreakerLog
from harness.core.events import BreakerMoved
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = BreakerLog(Path(sys.argv[1]))
room = int(sys.argv[2])
refused = 0
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for seq in range(1, 7):
    if seq == 2:
        room += log.path.stat().st_size
    limit = hard if seq in (1, 6) else room
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        log.write(float(seq), BreakerMoved("b", seq, "closed", "open", "consecutive", 5, 30.0, generation=seq))
    except OSError:
        refused += 1
log.close()
print(refused)
"""


def moved(seq: int, bot: str = "b") -> BreakerMoved:
    return BreakerMoved(bot, seq, "closed", "open", "consecutive", 5, 30.0, generation=seq)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of both files, the earlier first."""
    return list(_whole(folder))


def _whole(folder: Path) -> Iterator[dict[str, Any]]:
    for text in texts(folder):
        try:
            yield json.loads(text)
        except ValueError:
            continue


def texts(folder: Path) -> list[str]:
    files = [folder / f"{FILE_NAME}.1", folder / FILE_NAME]
    return [line for file in files if file.exists() for line in file.read_text().splitlines()]


def numbers(folder: Path) -> list[int]:
    return [line["line"] for line in lines(folder)]


@pytest.mark.parametrize("room", [0, 10, 200, 700])
def test_a_line_that_does_not_fit_is_an_error_glues_nothing_and_is_owned_up_to(tmp_path: Path, room: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(room)], capture_output=True, text=True, timeout=60, check=True
    )
    lost = int(done.stdout)
    found = lines(tmp_path)
    told = [line["seq"] for line in found if "seq" in line]
    assert lost >= 2
    assert told[0] == 1
    assert told[-1] == 6
    assert len(told) == 6 - lost
    assert numbers(tmp_path) == list(range(1, len(found) + 1))
    assert [line["why"] for line in found if "record" in line][:2] == ["start", "gap"]
    read = replay(texts(tmp_path))
    assert (read.lost, read.missing) == (lost, 0)
    assert read.torn <= 1
    last = next(line for line in reversed(found) if "record" in line)
    assert last["breakers"]["b"]["seq"] == 5  # What was lost has happened all the same.
    assert read.breakers["b"].seq == 6


def test_what_a_crash_has_torn_stands_alone(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"ts":"20')
    with closing(BreakerLog(tmp_path)) as log:
        log.write(1.0, moved(1))
    with closing(BreakerLog(tmp_path)) as log:
        log.write(2.0, moved(2))
    assert [line.get("seq", "anchor") for line in lines(tmp_path)] == ["anchor", 1, "anchor", 2]
    assert replay(texts(tmp_path)).torn == 1


def test_lines_are_numbered_without_gaps_across_restarts(tmp_path: Path) -> None:
    for life in range(3):
        with closing(BreakerLog(tmp_path)) as log:
            log.begin(float(life))
            log.write(float(life), moved(1))
    assert numbers(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert [line["why"] for line in lines(tmp_path) if "record" in line] == ["start", "start", "start"]


def test_a_new_life_knows_of_no_breaker(tmp_path: Path) -> None:
    with closing(BreakerLog(tmp_path)) as log:
        log.write(1.0, moved(1))
    assert replay(texts(tmp_path)).breakers["b"].state == "open"
    with closing(BreakerLog(tmp_path)) as log:
        log.begin(0.0)
    assert replay(texts(tmp_path)).breakers == {}


def test_a_file_that_is_full_is_turned_over_and_the_next_one_can_be_read_alone(tmp_path: Path) -> None:
    with closing(BreakerLog(tmp_path, bytes_max=4_000)) as log:
        for seq in range(1, 41):
            log.write(float(seq), moved(seq, f"b{seq % 2}"))
        sizes = [log.path.stat().st_size, log.path.with_name(f"{FILE_NAME}.1").stat().st_size]
    assert max(sizes) <= 4_000
    found = numbers(tmp_path)
    assert found == list(range(found[0], found[-1] + 1))
    assert found[0] > 1
    newest = (tmp_path / FILE_NAME).read_text().splitlines()
    assert json.loads(newest[0])["why"] == "turn-over"
    alone = replay(newest)
    assert {bot: standing.seq for bot, standing in alone.breakers.items()} == {"b0": 40, "b1": 39}
    assert (alone.lost, alone.missing, alone.torn) == (0, 0, 0)
    with closing(BreakerLog(tmp_path)) as log:
        log.write(99.0, moved(1))
    assert numbers(tmp_path)[-2:] == [found[-1] + 1, found[-1] + 2]


def test_numbers_go_on_when_the_newest_file_is_gone(tmp_path: Path) -> None:
    with closing(BreakerLog(tmp_path)) as log:
        log.write(1.0, moved(1))
    (tmp_path / FILE_NAME).rename(tmp_path / f"{FILE_NAME}.1")
    with closing(BreakerLog(tmp_path)) as log:
        log.write(2.0, moved(1))
    assert numbers(tmp_path) == [1, 2, 3, 4]


def test_lines_of_before_the_numbering_are_read(tmp_path: Path) -> None:
    old = '{"mono":7.5,"seq":1,"bot":"b","from":"closed","to":"open","cause":"tripped","failures":5,"cooldown_s":30.0}'
    (tmp_path / FILE_NAME).write_text(f"{old}\n")
    read = replay(texts(tmp_path))
    assert (read.breakers["b"].state, read.breakers["b"].until) == ("open", 37.5)
    with closing(BreakerLog(tmp_path)) as log:
        log.write(1.0, moved(1))
    assert [line.get("line") for line in lines(tmp_path)] == [None, 1, 2]


def test_a_missing_line_shows() -> None:
    read = Replay()
    for line, lost in ((1, 0), (4, 2)):
        read.read(f'{{"line":{line},"record":"anchor","lost":{lost},"breakers":{{}}}}')
    assert (read.missing, read.lost) == (2, 2)
