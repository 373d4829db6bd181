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
from typing import TYPE_CHECKING

from harness import __version__, backup_commands, plugins
from harness.adapters import disk, scenarios, shipped, words
from harness.core.decode import decode
from harness.core.scenario import DISTANCES
from harness.core.settings import Settings
from harness.errors import EXIT_INTERRUPTED, EXIT_NO_VERDICT, EXIT_PASS, HarnessError, ScenarioError, UsageError

if TYPE_CHECKING:
    from harness.core.verdict import Verdict
    from harness.runner import Job, Observer


def main(typed: Sequence[str] | None = None) -> int:
    """Do what the words say and return the exit code; nothing but a bug leaves here as an exception."""
    try:
        options = parser().parse_args(typed)
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
        _mute()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if disk.no_space(error) is None:
            raise
        _mute()
        print("harness: nothing more can be said: no space left where standard output goes", file=sys.stderr)
        return EXIT_NO_VERDICT
    return code


def _mute() -> None:
    """Let what is still to be said go nowhere, or the interpreter would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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

    jobs = _jobs(options)
    order = runner.Order(
        # A file is called by its name here, not by the way to it on somebody's disk.
        what=jobs[0].named.name if options.what.endswith(".toml") else options.what,
        jobs=jobs,
        state_dir=options.state_dir,
        reports_dir=options.reports_dir,
        seed=options.seed,
        profile=options.profile,
    )
    status = StatusFile(options.state_dir)
    show: Observer = Plain() if options.plain or not sys.stdout.isatty() else Live()
    outcome = runner.run(order, [status, show])
    print(f"\n{(outcome.folder / runner.SUMMARY).read_text('utf-8')}")
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


def _serve(options: argparse.Namespace) -> int:
    """Run the reference chat service until it is told to end."""
    from harness.server.serve import serve

    return serve(
        host=options.host,
        port=options.port,
        state_dir=options.state_dir,
        bot_logs=options.bot_logs,
        ready_file=options.ready_file,
        journal=options.journal,
        settings=decode(Settings, dict(words.setting(pair) for pair in options.set), "--set"),
        bot_command=words.split(options.bot_command),
        backup_dir=options.backup_dir,
        alerts=options.alerts,
        dashboard=options.dashboard,
        export=options.export,
    )


def _bless(options: argparse.Namespace) -> int:
    """Keep the figures of a run as the reviewed baseline."""
    from harness.adapters import baselines

    verdict = _verdict(options.run, options.reports_dir)
    for path in baselines.keep(verdict, options.reports_dir / "baselines"):
        print(path)
    return EXIT_PASS


def _compare(options: argparse.Namespace) -> int:
    """Print each figure of a run with its change against the baseline."""
    from harness.adapters import baselines
    from harness.core.baseline import baseline_of, compare
    from harness.progress import comparison

    verdict = _verdict(options.run, options.reports_dir)
    if options.baseline is None:
        folders = dict.fromkeys([(options.reports_dir / "baselines").resolve(), shipped.find().baselines.resolve()])
        base = baselines.belonging(verdict, list(folders))
    elif options.baseline.endswith(".json"):
        base = baselines.load(Path(options.baseline))
    else:
        base = baseline_of(_verdict(options.baseline, options.reports_dir))
    found = compare(verdict, base)
    print(comparison(found))
    return found.exit_code


def _verdict(run: str, reports_dir: Path) -> Verdict:
    """Judge an earlier run again, from its journal."""
    from harness.adapters import journal, runs
    from harness.core.judge import judge

    folder = runs.find(reports_dir, run)
    return judge(folder.name, journal.read(folder / runs.JOURNAL))


def parser() -> argparse.ArgumentParser:
    """Put together what may be typed; the reference page is made from it."""
    top = words.Parser(prog="harness", description="Prove how a chat-bot service behaves.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=words.Parser)

    def add(name: str, command: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        does = (command.__doc__ or "").rstrip(".")
        made = commands.add_parser(name, help=does, description=f"{does}.", allow_abbrev=False)
        made.set_defaults(command=command)
        return made

    run = add("run", _run)
    run.add_argument("what", metavar="NAME|FILE|SUITE", help="smoke/chat, my/own.toml, or a folder of scenarios")
    run.add_argument("--distance", choices=DISTANCES, help="only this one; else all that the scenario names")
    run.add_argument(
        "--seed", type=words.seed, metavar="N", help="throw all dice from N instead of the scenario's seed"
    )
    run.add_argument("--profile", action="store_true", help="leak checks: again under memray, to name the lines")
    run.add_argument("--plain", action="store_true", help="plain lines instead of a live display")
    words.folders(run, "scenarios", "state", "reports")

    words.folders(add("list", _list), "scenarios")

    check = add("check", _check)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")

    bless = add("bless", _bless)
    bless.add_argument("run", metavar="RUN", help="a run's id, its folder, or `latest`")
    words.folders(bless, "reports")

    compare = add("compare", _compare)
    compare.add_argument("run", metavar="RUN", help="a run's id, its folder, or `latest`")
    compare.add_argument("baseline", nargs="?", metavar="BASELINE", help="a file, or another run; else the blessed one")
    words.folders(compare, "reports")

    words.folders(add("where", _where), "scenarios", "state", "reports")

    serve = add("serve", _serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument(
        "--port", type=words.port, default=8000, metavar="N", help="0 takes any free one (default: %(default)s)"
    )
    serve.add_argument(
        "--bot-logs", type=Path, metavar="DIR", help="logs of bots (default: bot-logs in the state folder)"
    )
    serve.add_argument("--ready-file", type=Path, metavar="FILE", help="gets address and process id once it listens")
    serve.add_argument("--journal", type=Path, metavar="FILE", help="append every fact of the service")
    serve.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a limit, such as queue_max=10"
    )
    serve.add_argument(
        "--bot-command", default="", metavar="CMD", help="the program that bots are (default: the fake bots)"
    )
    serve.add_argument("--backup-dir", type=Path, metavar="DIR", help="backups (default: backups in the state folder)")
    serve.add_argument("--alerts", type=Path, metavar="FILE", help="alert rules (default: those of the service)")
    serve.add_argument("--dashboard", type=Path, metavar="FILE", help="what /dashboard shows (default: the service's)")
    serve.add_argument(
        "--export",
        action="append",
        default=[],
        metavar="KIND[=ADDRESS]",
        help="push metrics every 10 s: dogstatsd, datadog (the API) or otlp; may be given more than once",
    )
    words.folders(serve, "state")
    backup_commands.add_to(commands)
    return top
