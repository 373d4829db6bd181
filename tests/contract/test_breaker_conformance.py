"""Ours holds every scenario; the suite finds what it is there to find; the docs show what there is."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.adapters.guard import Guard
from harness.conformance import SCENARIOS, Kind, Plan, Scenario, Status, load, play, plays
from harness.conformance.reference import Reference
from harness.errors import UsageError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/breaker-conformance.md"
CASES = list(plays())
BY_NAME: Mapping[str, Scenario] = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize(("scenario", "kind"), CASES, ids=[f"{scenario.name}-{kind}" for scenario, kind in CASES])
def test_ours_holds(scenario: Scenario, kind: Kind) -> None:
    report = play(Reference(), scenario, kind)
    assert (report.status, report.evidence) == (Status.PASSED, "")


def test_there_are_at_least_25_scenarios_each_with_a_sentence_and_a_reason() -> None:
    assert len(BY_NAME) == len(SCENARIOS) >= 25
    for scenario in SCENARIOS:
        assert scenario.requirement.endswith("."), scenario.name
        assert scenario.why.endswith("."), scenario.name
        assert scenario.kinds


class Absent:
    """A breaker that is none: it calls."""

    def make(self, _plan: Plan) -> object:
        return object()

    def guard(self, _breaker: object, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def state(self, _breaker: object) -> str:
        return "closed"


class Shut:
    """One that is always open, and refuses."""

    def make(self, _plan: Plan) -> object:
        return object()

    def guard(self, _breaker: object, function: Callable[..., Any]) -> Callable[..., Any]:
        del function

        def refuse(*_args: object, **_kwargs: object) -> None:
            raise PermissionError("always")

        return refuse

    def state(self, _breaker: object) -> str:
        return "open"


@pytest.mark.parametrize("adapter", [Absent(), Shut()], ids=["calls everything", "calls nothing"])
def test_a_breaker_that_does_nothing_passes_next_to_nothing(adapter: Absent | Shut) -> None:
    reports = [play(adapter, scenario, kind) for scenario, kind in CASES if "crowd" not in scenario.name]
    passed = {report.scenario for report in reports if report.status is Status.PASSED}
    # What is left asks only that calls go through, which is all that the first one does.
    calling = {
        *("cancellation-arrives", "cancelled-calls-are-no-failures", "ignored-errors-do-not-count", "nested-calls"),
        *("values-pass-through", "keywords-may-have-any-name", "metadata-is-kept", "closed-calls-overlap"),
        *("raising-listener-changes-no-result", "state-can-be-read-during-a-call", "calls-keep-nothing"),
        *("whole-streams-are-one-success", "closed-streams-are-no-failures", "success-resets-the-count"),
        *("the-original-error-arrives", "failures-keep-no-frames"),
    }
    assert passed <= (calling if isinstance(adapter, Absent) else set())
    assert all(report.evidence for report in reports if report.status is Status.FAILED)


class Lacking(Reference):
    """Ours, made smaller."""

    lacks: ClassVar = {"tasks": "no asyncio", "streams/threads": "no generators", "listener": "none"}


def test_what_a_breaker_lacks_is_not_applicable_and_never_passed() -> None:
    reports = [play(Lacking(), scenario, kind) for scenario, kind in CASES]
    for report in reports:
        scenario = BY_NAME[report.scenario]
        no_tasks = report.kind is Kind.TASKS and not scenario.spares_nobody
        lacks = no_tasks or {"streams", "listener"} & {*scenario.needs}
        assert (report.status is Status.NOT_APPLICABLE) == bool(lacks), report
        assert (report.evidence in Lacking.lacks.values()) == bool(lacks), report


class Misspelt(Reference):
    lacks: ClassVar = {"stream": "no generators"}


def test_an_unknown_capability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lacks names 'stream'; a capability is one of tasks, threads"):
        play(Misspelt(), SCENARIOS[0], Kind.TASKS)


class Hanging(Reference):
    """Blocks whoever asks for its state: an event loop, too."""

    def state(self, breaker: Guard) -> str:
        time.sleep(60)
        return super().state(breaker)


@pytest.mark.parametrize("kind", list(Kind))
def test_one_that_hangs_is_cut_off(kind: Kind) -> None:
    report = play(Hanging(), BY_NAME["trips-after-n-failures"], kind, max_s=0.2)
    assert (report.status, report.evidence) == (Status.FAILED, "it hung, and was cut off after 0.2 s")


class WallClock(Reference):
    """Ours with the wall clock of this module: the suite has to find it by itself."""

    packages = frozenset({__name__.partition(".")[0]})

    def make(self, plan: Plan) -> Guard:
        return super().make(Plan(kind=plan.kind, clock=lambda: time.time()))  # noqa: PLW0108  # looked up at each call


def test_a_breaker_without_a_clock_is_shown_one_in_its_own_modules_only() -> None:
    before = time.time
    assert play(WallClock(), BY_NAME["cooldown-is-kept"], Kind.THREADS).status is Status.PASSED
    report = play(WallClock(), BY_NAME["wall-clock-forward"], Kind.THREADS)
    assert (report.status, report.evidence) == (Status.FAILED, "a call was let through although no time had passed")
    assert time.time is before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("harness.conformance.reference", "an adapter is named MODULE:NAME"),
        ("harness.no_such_module:X", "cannot import harness.no_such_module"),
        ("no/such/file.py:X", "there is no file no/such/file.py"),
        ("harness.conformance.reference:X", "has no 'X'"),
        ("harness.conformance.values:Plan", "an adapter is a class without arguments, or an instance"),
        ("harness.conformance.values:Kind.TASKS", "has no 'Kind.TASKS'"),
        ("harness.conformance.values:BOTH", "is no adapter: it has no make, guard, state"),
    ],
)
def test_an_adapter_that_is_none_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        load(name)


# --- as a plug-in, and as a command -----------------------------------------------------------------------------------
def run(*words: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=cwd, check=False)
    return done.returncode, done.stdout + done.stderr


ADAPTER = """
from harness.conformance.reference import Reference
class Broken(Reference):
    lacks = {"streams": "none here"}
    def state(self, breaker):
        return "closed"
"""


def test_pytest_runs_it_on_request_and_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ADAPTER, "utf-8")
    code, said = run(
        *("pytest", "-p", "harness.conformance", "--breaker", "mine.py:Broken", "-q", "-rs", "-p", "no:cacheprovider"),
        *("-k", "trips-after or open-refuses"),
        cwd=tmp_path,
    )
    assert code == 1, said
    assert "required: N failures in a row open it, not one fewer." in said
    assert "seen:     5 of 5 failures: it is closed, not open" in said
    assert "n/a: none here" in said
    assert "conformance of mine.py:Broken: 0 passed, 4 failed, 2 not applicable" in said


def test_pytest_without_a_breaker_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n", "utf-8")
    code, said = run("pytest", "-p", "harness.conformance", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert (code, said.splitlines()[-1][:8]) == (0, "1 passed"), said


def test_pytest_names_a_breaker_that_is_not_there(tmp_path: Path) -> None:
    code, said = run("pytest", "-p", "harness.conformance", "--breaker", "nowhere:X", cwd=tmp_path)
    assert (code, "ERROR: cannot import nowhere" in said) == (4, True), said


def test_the_command_does_without_pytest(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ADAPTER, "utf-8")
    code, said = run("harness.conformance", "mine.py:Broken", "--only", "refuses", cwd=tmp_path)
    assert code == 1, said
    assert "FAIL  open-refuses-without-calling [tasks]: 3 failures in a row: it is closed, not open" in said
    assert "n/a   open-refuses-streams [threads]: none here" in said
    assert said.splitlines()[-1] == "0 pass, 2 FAIL, 2 n/a"
    assert run("harness.conformance", "nowhere:X", cwd=tmp_path)[0] == 2


# --- the page ---------------------------------------------------------------------------------------------------------
def test_the_page_shows_exactly_the_scenarios_that_there_are() -> None:
    text = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| \[([\w-]+)\]\(#\1\) \| (\w+) \| (.+) \|$", text, re.MULTILINE)
    assert [(name, kind) for name, kind, _ in rows] == [(scenario.name, kind.value) for scenario, kind in CASES]
    assert re.findall(r"^### (.+)$", text, re.MULTILINE) == list(BY_NAME)
    for scenario in SCENARIOS:
        assert f"{scenario.requirement} *{scenario.why}*" in text
    cells = [cell for *_, row in rows for cell in row.split(" | ")]
    assert {*cells} == {"pass", "**FAIL**", "n/a"}
    assert {row.split(" | ")[0] for *_, row in rows} == {"pass"}, "ours is the first"


def test_the_page_was_measured_with_the_peers_that_are_locked() -> None:
    lock = (ROOT / "ci/requirements.lock").read_text("utf-8")
    header = next(line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| scenario | kind |"))
    for peer in ("interlock-cb", "circuitbreaker", "aiobreaker", "purgatory", "pybreaker"):
        (locked,) = re.findall(rf"^{peer}==([\d.]+)", lock, re.MULTILINE)
        assert f" {peer} {locked} |" in header, f"run ci/conformance.py: {peer} is locked at {locked}"
