"""Programs that no one here wrote, to which ours is compared: where they are, or a skip that says what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / ".venv" / "oracles"


def oracle(name: str) -> str:
    """The path of a program, from PATH or from where ``ci/oracles`` unpacks it."""
    places = [str(FOLDER / "usr" / "bin"), str(FOLDER / "bin")]
    found = shutil.which(name) or shutil.which(name, path=":".join(places))
    if found is None:
        pytest.skip(f"{name} is not on this machine: run ./ci/oracles")
    return found
