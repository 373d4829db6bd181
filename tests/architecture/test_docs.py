"""The documentation names what there is, and leads where it says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fake_bots import behaviours
from harness import drivers, errors, injectors, plugins, reporters

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "reports").glob("*.md")])
MACHINE_PATHS = re.compile(r"(?<![\w.~])/(?:home|root|Users|work|tmp)/")


def called(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_pages_that_follow_from_the_code_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "ci/reference.py", "--check"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "names"),
    [
        pytest.param("fake-bots.md", plugins.names(behaviours), id="behaviours"),
        pytest.param("scenario.md", plugins.names(injectors), id="faults"),
        pytest.param("scenario.md", plugins.names(drivers), id="distances"),
    ],
)
def test_every_plugin_stands_on_its_page(page: str, names: tuple[str, ...]) -> None:
    text = (REFERENCE / page).read_text("utf-8")
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_every_report_is_named() -> None:
    text = (REFERENCE / "cli.md").read_text("utf-8")
    ends = {"console": "summary.txt", "html": "report.html", "json": "report.json", "junit": "junit.xml"}
    for name in plugins.names(reporters):
        assert ends.get(name, "report.md") in text


def test_every_exit_code_and_every_kind_of_error_is_explained() -> None:
    text = (REFERENCE / "exit-codes.md").read_text("utf-8")
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert [code for code in codes if f"| {code} |" not in text] == []
    kinds = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.HarnessError)]
    assert [cls.__name__ for cls in kinds if cls.exit_code > 1 and f"`{cls.__name__}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{called(page)} leads to {target}"


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_no_page_knows_somebodys_machine(page: Path) -> None:
    assert not MACHINE_PATHS.search(page.read_text("utf-8"))


def test_every_page_of_the_docs_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text("utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert [page for page in sorted(pages) if f"({page})" not in index] == []


def test_every_file_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"`((?:harness|fake_bots|scenarios|tests|docs|ci|reports)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name.rstrip("/")).exists() and "runs" not in name] == []
