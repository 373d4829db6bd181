"""Hooks: what pytest asks of the plug-in.

In    ``--breaker MODULE:NAME``, any number of times
Out   a test for each scenario, kind and breaker; a line of figures for each breaker at the end
Rule  without ``--breaker`` nothing is collected, and nothing of a test run changes
Why   a breaker is checked by one command, in the CI that is there already
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.conformance.loading import load
from harness.conformance.running import plays
from harness.errors import UsageError

if TYPE_CHECKING:
    import pytest

SUITE: Final = Path(__file__).with_name("suite.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--breaker``."""
    parser.getgroup("circuit breakers").addoption(
        "--breaker",
        action="append",
        default=[],
        metavar="MODULE:ADAPTER",
        help="check this breaker with the conformance suite; FILE.py:ADAPTER works, too; can be given again",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Put the suite in front; without other words on the command line it is all that runs."""
    breakers = config.getoption("--breaker")
    if not breakers:
        return
    for breaker in breakers:
        _adapter(breaker)
    named = config.args_source is config.ArgsSource.ARGS
    config.args[:] = [str(SUITE), *(config.args if named else ())]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the suite's one test its scenarios."""
    if metafunc.module.__name__.rpartition(".")[2] != "suite" or Path(metafunc.module.__file__ or "") != SUITE:
        return
    cases = list(plays())
    breakers = metafunc.config.getoption("--breaker")
    metafunc.parametrize("breaker", breakers, ids=[name.rpartition(":")[2] for name in breakers])
    metafunc.parametrize(("scenario", "kind"), cases, ids=[f"{scenario.name}-{kind}" for scenario, kind in cases])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say for each breaker how many scenarios held, broke, and could not be played."""
    figures: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == "breaker" and report.when == "call":
                    figures.setdefault(value, Counter())[outcome] += 1
    for breaker, counts in figures.items():
        terminalreporter.write_line(
            f"conformance of {breaker}: {counts['passed']} passed, {counts['failed']} failed, "
            f"{counts['skipped']} not applicable"
        )


def _adapter(name: str) -> object:
    import pytest  # noqa: PLC0415  # the command line of the suite works without it

    try:
        return load(name)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
