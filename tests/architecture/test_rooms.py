"""The rules of the house that lint-imports cannot see."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = ("core", "services", "chat", "reporters", "exporters")
# What a pure room never reaches for: the clock, the disk, the network, processes, threads and logs.
ACTING = {
    *("asyncio", "concurrent", "contextvars", "datetime", "glob", "http", "io", "logging", "multiprocessing", "os"),
    *("pathlib", "sched", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile"),
    *("threading", "time", "urllib", "uuid", "warnings"),
}
BANNED_NAMES = {"utils", "helpers", "common", "lib", "misc", "util", "helper"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def called(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


PURE_FILES = [*python_files(*(f"harness/{room}" for room in PURE), "fake_bots/behaviours"), ROOT / "harness/errors.py"]
ALL_FILES = python_files("harness", "fake_bots", "tests", "scenarios")
OWN_FILES = python_files("harness", "fake_bots")


@pytest.mark.parametrize("path", PURE_FILES, ids=called)
def test_pure_rooms_know_only_pure_parts_of_the_standard_library(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}
    own = {"harness", "fake_bots"}
    assert not roots & ACTING, "a pure room decides; what acts is the job of another"
    assert roots - own <= sys.stdlib_module_names, "a pure room imports no third party"


@pytest.mark.parametrize("path", PURE_FILES, ids=called)
def test_pure_rooms_catch_only_what_they_can_name(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            names = {name.id for name in ast.walk(node.type or ast.Name("")) if isinstance(name, ast.Name)}
            assert node.type is not None, f"line {node.lineno}: a bare except"
            assert not names & {"Exception", "BaseException"}, f"line {node.lineno}: except {names}"


@pytest.mark.parametrize("path", ALL_FILES, ids=called)
def test_nothing_pretends(path: Path) -> None:
    names = set(imports(path))
    assert not {name for name in names if name.startswith(("unittest.mock", "mock", "pytest_mock"))}


def test_only_the_load_room_and_the_locustfile_import_locust() -> None:
    users = {
        called(path) for path in ALL_FILES if {name.partition(".")[0] for name in imports(path)} & {"locust", "gevent"}
    }
    assert {path for path in users if not path.startswith(("harness/load/", "tests/"))} <= {"scenarios/locustfile.py"}


@pytest.mark.parametrize("path", OWN_FILES, ids=called)
def test_every_module_begins_with_its_head(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    if tree.body:
        assert ast.get_docstring(tree), "the first lines of a file say what it is"


def test_no_room_without_a_clear_job() -> None:
    rooms = {part for path in ALL_FILES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not rooms & BANNED_NAMES


def test_every_folder_of_tests_is_known() -> None:
    known = {"unit", "contract", "architecture", "simulation", "integration", "memory", "browser", "perf"}
    assert {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"} <= known


@pytest.mark.parametrize("package", ["harness", "fake_bots", "harness.cli", "harness.core.events", "harness.plugins"])
def test_importing_is_cheap_and_does_nothing(package: str) -> None:
    heavy = ("rich", "starlette", "uvicorn", "locust", "playwright", "psutil", "asyncio")
    code = f"import sys, {package}; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")
