"""The shipped scenario of a burst against real processes, as a person would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
def test_half_more_than_it_can_carry_costs_nobody_an_answer_in_time(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", "load/burst", "--distance", "wired"]
    done = subprocess.run(
        [*command, "--scenarios", str(ROOT / "scenarios"), "--reports-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = tmp_path.rglob("report.json")
    (case,) = json.loads(report.read_text("utf-8"))["cases"]
    figures = {name: figure["value"] for name, figure in case["figures"].items()}
    print({name: figures[name] for name in sorted(figures) if name.startswith("burst") or name == "replies_late"})
    assert figures["burst_offered_share"] >= 1.5
    assert figures["burst_goodput_share"] >= 0.95
    assert (figures["replies_late"], figures["messages_lost"]) == (0, 0)
