"""The breaker's page shows the machine that runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_diagram_and_tables_are_drawn_from_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "ci/breaker_page.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
