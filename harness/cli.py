"""The command line: what was typed becomes one call; what went wrong becomes one line.

In    the words after ``harness``
Out   text on stdout, "harness: ..." on stderr, an exit code (docs/reference/exit-codes.md)
Rule  one short function for each command; whatever is heavy is imported by the command that needs it
Why   ``harness list`` answers at once, and a script can rely on exit codes
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from harness import __version__, plugins
from harness.adapters import scenarios, shipped
from harness.core.decode import suggest
from harness.core.scenario import DISTANCES
from harness.errors import EXIT_INTERRUPTED, EXIT_PASS, HarnessError, ScenarioError, UsageError

if TYPE_CHECKING:
    from harness.runner import Job, Observer

STATE_DIR: Final = Path(".deia")
REPORTS_DIR: Final = Path("reports")


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say and return the exit code; nothing but a bug leaves here as an exception."""
    try:
        options = _parser().parse_args(words)
        command: Callable[[argparse.Namespace], int] = options.command
        code = command(options)
        sys.stdout.flush()
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has enough (`harness list | head`): end like any program that a pipe ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code


def _list(options: argparse.Namespace) -> int:
    """Scenarios and plug-ins that are there."""
    folder = shipped.find(options.scenarios).scenarios
    code = EXIT_PASS
    print(f"scenarios ({folder})")
    for name in scenarios.names(folder):
        try:
            scenario = scenarios.read(folder / f"{name}.toml")
        except ScenarioError as error:
            print(f"harness: {error}", file=sys.stderr)
            code = error.exit_code
        else:
            print(f"  {name:<36} {', '.join(scenario.distances)}\n      {scenario.why}")
    for title, place in (
        ("behaviours of fake bots", scenarios.BEHAVIOURS),
        ("faults", scenarios.INJECTORS),
        ("reports", scenarios.REPORTERS),
    ):
        seam = scenarios.seam(place)
        print(f"\n{title}")
        for name in plugins.names(seam):
            fields = ", ".join(f"{field}={default}" for field, default in plugins.options(seam, name).items())
            print(f"  {name:<20} {fields}".rstrip())
    return code


def _check(options: argparse.Namespace) -> int:
    """Read scenario files and say what is wrong with them."""
    code = EXIT_PASS
    for file in options.files:
        try:
            scenarios.read(file)
        except ScenarioError as error:
            print(f"harness: {error}", file=sys.stderr)
            code = error.exit_code
        else:
            print(f"{file}: ok")
    return code


def _run(options: argparse.Namespace) -> int:
    """Run scenarios and print what came of it."""
    from harness import runner
    from harness.adapters.status import StatusFile
    from harness.progress import Live, Plain

    order = runner.Order(
        what=options.what,
        jobs=_jobs(options),
        state_dir=options.state_dir,
        reports_dir=options.reports_dir,
        seed=options.seed,
        profile=options.profile,
    )
    show: Observer = Plain() if options.plain or not sys.stdout.isatty() else Live()
    outcome = runner.run(order, [StatusFile(options.state_dir), show])
    print(runner.console(outcome))
    print(f"report: {outcome.folder / 'report.html'}")
    return outcome.exit_code


def _jobs(options: argparse.Namespace) -> tuple[Job, ...]:
    """Every scenario at every distance that was asked for, in order."""
    from harness.runner import Job

    named = scenarios.find(options.what, shipped.find(options.scenarios).scenarios)
    jobs = tuple(
        Job(each, distance)
        for each in named
        for distance in each.scenario.distances
        if options.distance in (None, distance)
    )
    if not jobs:
        known = ", ".join(sorted({distance for each in named for distance in each.scenario.distances}))
        raise UsageError(f"{options.what} does not run at the distance {options.distance!r}; it runs at: {known}")
    return jobs


def _where(options: argparse.Namespace) -> int:
    """The folders that commands use here."""
    places = shipped.find(options.scenarios)
    print(f"scenarios  {places.scenarios} ({places.origin})")
    print(f"baselines  {places.baselines}")
    print(f"reports    {options.reports_dir.resolve()}")
    print(f"state      {options.state_dir.resolve()}")
    return EXIT_PASS
