"""The import rules in pyproject.toml hold, and each of them bites."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("harness", "fake_bots"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "page"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        pytest.param("harness/core/wire.py", "import harness.runner", "A room imports only", id="core looks up"),
        pytest.param("harness/new_room/__init__.py", "", "A room imports only", id="a folder without a place"),
        pytest.param("harness/chat/roster.py", "import time", "Pure rooms reach", id="a clock in a pure room"),
        pytest.param(
            "harness/reporters/new.py", "import orjson", "Pure rooms reach", id="a third party in a pure room"
        ),
        pytest.param(
            "harness/services/metrics.py",
            "import harness.services.circuit_breaker",
            "The services are",
            id="neighbours",
        ),
        pytest.param(
            "fake_bots/__init__.py", "import harness.chat", "Fake bots are programs", id="bots know the wire only"
        ),
        pytest.param("harness/server/new.py", "import fake_bots", "Only the simulation", id="bots inside the server"),
        pytest.param("harness/targets/new.py", "import locust", "Only the load room", id="locust outside its room"),
    ],
)
def test_a_rule_bites(copy: Path, file: str, line: str, rule: str) -> None:
    path = copy / file
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text("utf-8") if path.exists() else "") + f"\n{line}\n", "utf-8")
    done = lint(copy)
    assert done.returncode == 1, done.stdout
    # Long names are wrapped; what follows a rule's name first is its own result.
    after = " ".join(done.stdout.split()).partition(rule)[2]
    assert re.search("KEPT|BROKEN", after)[0] == "BROKEN", done.stdout  # type: ignore[index]  # every rule has a result


def test_the_rules_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
