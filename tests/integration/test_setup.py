"""ci/setup: what it lacks it says in one line, and what is done it leaves alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "dirname", "cat", "date", "env", "grep", "id", "rm", "tail", "timeout")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a fresh clone as set-up looks at before it installs the project."""
    shutil.copytree(ROOT / "ci", tmp_path / "clone/ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "clone")
    return tmp_path / "clone"


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A machine with the usual tools, but without a package manager."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    return str(folder)


def setup(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(folder / "ci/setup"), "--no-browser"]
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def test_no_python(clone: Path, bare_path: str) -> None:
    done = setup(clone, PATH=bare_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("setup: no Python 3.11 or newer (tried python3 to python3.11): on Debian or Ubuntu")
    assert done.stderr.count("\n") == 1


def test_a_python_that_cannot_make_environments(clone: Path, bare_path: str) -> None:
    shim = Path(bare_path) / "python3"
    shim.write_text(f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    done = setup(clone, PATH=bare_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot make a virtual environment: as root: apt-get install python3." in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_network(clone: Path) -> None:
    done = setup(clone, PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("setup: pip could not install what ci/requirements.lock names")
    assert last.endswith("it needs the network or a mirror")
    again = setup(clone, PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert again.returncode == 1, "what failed is tried again, not taken for done"


def test_what_is_done_is_left_alone() -> None:
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("these tests do not run in the .venv that ci/setup makes")
    assert setup(ROOT).returncode == 0
    done = setup(ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
