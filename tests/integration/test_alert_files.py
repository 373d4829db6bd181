"""What is kept of alerts: the log that is only added to, and the state that a restart goes on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.adapters import alert_state
from harness.adapters.line_file import LineFile
from harness.services.alerts import Alert, State

FULL = Path("/dev/full")
ALERT = Alert("lag", (("bot", "a"),), State.FIRING, 12.5, 0.3, frozen=False)
SILENT = Alert("lag-no-data", (), State.PENDING, 1.0, None, frozen=True, silence_s=3.0)


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_lines_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    for number in range(2):
        file = LineFile(path)
        file.write({"n": number})
        file.close()
    assert lines(path) == [{"n": 0}, {"n": 1}]


def test_what_was_torn_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b'{"n":0}\n{"n"')
    file = LineFile(path)
    file.write({"n": 1})
    file.close()
    assert path.read_bytes() == b'{"n":0}\n{"n"\n{"n":1}\n'


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told() -> None:
    file = LineFile(FULL)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            file.write({"n": 1})
    file.close()


def test_it_is_turned_over_once(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    file = LineFile(path, bytes_max=20)
    for number in range(8):
        file.write({"number": number})
    file.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["alerts.jsonl", "alerts.jsonl.1"]
    assert lines(path) == [{"number": 6}, {"number": 7}]
    assert lines(tmp_path / "alerts.jsonl.1") == [{"number": 4}, {"number": 5}]


def test_the_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    assert alert_state.load(path) == ()
    alert_state.save(path, [ALERT, SILENT])
    assert alert_state.load(path) == (ALERT, SILENT)
    assert [one.name for one in tmp_path.iterdir()] == ["alerts.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be understood"),
        ("[]", "cannot be understood"),
        ('{"version": 1}', "cannot be understood"),
        ('{"version": 9, "alerts": []}', "of version 9, not 1"),
        ('{"version": 1, "alerts": [{"rule": "x"}]}', "cannot be understood"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "alerts.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=words):
        alert_state.load(path)


def test_a_state_that_cannot_be_kept_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    alert_state.save(path, [ALERT])
    with pytest.raises(OSError, match="No such file"):
        alert_state.save(tmp_path / "none" / "alerts.json", [SILENT])
    assert alert_state.load(path) == (ALERT,)
