"""The wheel: built offline, used outside the checkout, with everything that it needs inside."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*words: str | Path, cwd: Path, **env: str) -> str:
    """Run a program far from the checkout; its output on failure."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | env
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; its dependencies are the ones of the tests, seen through a .pth."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        "--target",
        site,
        wheel,
        cwd=folder,
    )
    # The paths come after the wheel's own; pip's link to the checkout in there is not followed from a .pth.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return folder


def test_it_holds_what_is_not_python(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    scenarios = {path.relative_to(ROOT / "scenarios").as_posix() for path in (ROOT / "scenarios").rglob("*.toml")}
    page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "harness/server/page").rglob("*") if path.is_file()}
    assert {f"harness/_shipped/scenarios/{name}" for name in scenarios} <= inside
    assert "harness/_shipped/scenarios/locustfile.py" in inside
    assert page, "the page of the chat service is somewhere else"
    assert page <= inside
    assert {"harness/py.typed", "fake_bots/py.typed"} <= inside
    assert not {name for name in inside if name.startswith(("tests/", "reports/", "docs/")) or "__pycache__" in name}


def test_it_knows_its_own_scenarios(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "bin/python", "-m", "harness", "where", cwd=tmp_path)
    assert f"scenarios  {installed}" in said
    assert "shipped with the package" in said
    assert str(ROOT) not in said


def test_it_runs_the_smoke_suite_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "bin/python", "-m", "harness", "run", "smoke", "--distance", "simulated", cwd=tmp_path)
    assert "passed" in said
    last = said.splitlines()[-1]
    assert (tmp_path / last.removeprefix("report: ")).read_text("utf-8").startswith("<!doctype html>")
    assert {path.name for path in tmp_path.iterdir()} == {"reports", ".deia"}


def test_its_bots_are_programs(installed: Path, tmp_path: Path) -> None:
    assert '"echo"' in run(installed / "bin/python", "-m", "fake_bots", "--list", cwd=tmp_path)
