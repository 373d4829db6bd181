"""Backup commands: ``harness backup create|list|verify|prune|restore|drill|mark``.

In    the words after ``harness backup``
Out   lines for people, or with ``--json`` one object for programs; exit code 1 if a backup is damaged or nothing may go
Rule  one short function for each command; what restores holds the lock of the service, so that the two never meet
Why   whoever needs these commands may be having a bad day: they say what was done, and what to do next
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.adapters import words
from harness.errors import EXIT_FAILED, EXIT_PASS, UsageError

if TYPE_CHECKING:
    from harness.adapters.backups import Backups, Finding

FOLDER: Final = "backups"
"""The folder of backups in the state folder, unless told otherwise."""
Command = Callable[[argparse.Namespace], int]
_RULES: Final = (
    ("last", int, "the newest N"),
    ("hourly", int, "the newest of N hours"),
    ("daily", int, "the newest of N days"),
    ("weekly", int, "the newest of N weeks"),
    ("monthly", int, "the newest of N months"),
    ("yearly", int, "the newest of N years"),
    ("within-s", float, "all of the last N seconds"),
)


def create(options: argparse.Namespace) -> int:
    """Back up the database, while the service runs or not, and read the backup back."""
    backups, database = _backups(options), _database(options)
    manifest, finding = backups.create(database, pin=options.pin or "")
    _say(
        options,
        {"backup": manifest, "finding": finding},
        f"{manifest.name}: {manifest.rows:,} rows, {manifest.raw_bytes:,} bytes packed into {manifest.stored_bytes:,}",
        _told(finding),
    )
    return EXIT_PASS if finding.ok else EXIT_FAILED


def show(options: argparse.Namespace) -> int:
    """Every backup, and every problem with one; exit code 1 if there is any."""
    backups = _kept(options)
    seen = backups.catalog()
    lines = []
    for snapshot in seen.snapshots:
        notes = [*(f"pinned: {why}" for why in snapshot.pins), *(["accepted"] if snapshot.accepted else [])]
        sizes = f"{snapshot.rows:>9,} rows {snapshot.stored_bytes:>13,} bytes"
        lines.append(f"{snapshot.name}  {snapshot.state:<10} {sizes}  {'; '.join(notes)}".rstrip())
    lines += [f"problem: {each}" for each in seen.problems] + ([] if lines else ["no backups"])
    _say(
        options,
        {"backups": seen.snapshots, "problems": seen.problems, "figures": backups.figures(seen)},
        *lines,
    )
    return EXIT_FAILED if seen.problems else EXIT_PASS


def verify(options: argparse.Namespace) -> int:
    """Read backups again; exit code 1 if one is damaged."""
    backups = _kept(options)
    known = [entry.snapshot.name for entry in backups.catalog().entries]
    names = [backups.find(name).snapshot.name for name in options.backups] or known
    findings = backups.check(names, options.level)
    # A backup whose manifest is gone is not among them: what is lost without a trace must show here, too.
    problems = [each for each in backups.catalog().problems if not any(name in each for name in names)]
    lines = [_told(finding) for finding in findings] + [f"problem: {each}" for each in problems]
    _say(options, {"findings": findings, "problems": problems}, *(lines or ["no backups"]))
    return EXIT_PASS if all(finding.ok for finding in findings) and not problems else EXIT_FAILED


def prune(options: argparse.Namespace) -> int:
    """Move the backups to the trash that no rule keeps; exit code 1 if the plan is refused."""
    from harness.adapters import backup_pruning

    backups = _kept(options)
    rules = backup_pruning.changed(backup_pruning.remembered(backups.folder), _rules(options))
    done = backup_pruning.prune(backups, rules, dry_run=options.dry_run, forced=options.force)
    lines = [
        f"{'keep  ' if each.keep else 'remove'} {each.name}  {'; '.join(each.reasons)}" for each in done.plan.decisions
    ]
    lines += [f"leftover {each.place}/{each.name}: {each.kind} ({each.remedy})" for each in done.cleared]
    lines += [f"suspicious: {name} has lost much against the one before it" for name in done.plan.suspicious]
    if done.plan.over_quota_bytes:
        lines.append(f"over the quota by {done.plan.over_quota_bytes:,} bytes that are guarded")
    lines.append(f"refused: {done.plan.refusal}" if done.plan.refusal else _removed(len(done.removed), options))
    _say(options, {"rules": rules, "pruned": done}, *lines)
    return EXIT_FAILED if done.plan.refusal else EXIT_PASS


def restore(options: argparse.Namespace) -> int:
    """Put a backup in the place of the database; the service must not be running."""
    from harness.adapters import backup_restore
    from harness.server.startup import alone, folder

    backups, database = _backups(options), _database(options)
    name = backups.find(options.backup, verified=True).snapshot.name
    folder(options.state_dir, "--state-dir")
    with alone(options.state_dir):
        done = backup_restore.restore(backups, name, database)
    before = f"what stood there before is {done.before}" if done.before else "nothing stood there before"
    _say(options, done, f"{database} is {name} again: {done.manifest.rows:,} rows; {before}")
    return EXIT_PASS


def drill(options: argparse.Namespace) -> int:
    """Start the service on a copy of a backup, read a session through it, and say how long that took."""
    from harness.drill import drill as run

    backups = _kept(options)
    name = backups.find(options.backup, verified=True).snapshot.name
    done = run(backups, name, bot_command=words.split(options.bot_command))
    read = f"{done.messages} messages of session {done.session} read" if done.session else "it holds no session"
    times = f"a database after {done.unpacked_s:.2f} s, ready after {done.ready_s:.2f} s, done after {done.rto_s:.2f} s"
    _say(options, done, f"{name}: {read}; {times}")
    return EXIT_PASS


def mark(options: argparse.Namespace) -> int:
    """Note about a backup that it is to stay, no longer, or that its loss of rows was meant."""
    if not (options.pin or options.unpin or options.accept):
        raise UsageError("harness backup mark: say what: --pin WHY, --unpin or --accept")
    backups = _kept(options)
    name = backups.find(options.backup).snapshot.name
    backups.mark(name, pin=options.pin or "", unpin=options.unpin, accept=options.accept)
    _say(options, {"marked": name}, f"{name}: noted")
    return EXIT_PASS


# --- Words ------------------------------------------------------------------------------------------------------------
def add_to(commands: Any) -> None:
    """Add the group to the commands of ``harness``."""
    does = "Make, list, verify, prune and restore backups of the chat's database."
    group = commands.add_parser("backup", help=does.rstrip("."), description=does, allow_abbrev=False)
    actions = group.add_subparsers(metavar="ACTION", required=True, parser_class=words.Parser)

    def add(name: str, command: Command) -> argparse.ArgumentParser:
        said = (command.__doc__ or "").rstrip(".")
        made: argparse.ArgumentParser = actions.add_parser(name, help=said, description=f"{said}.", allow_abbrev=False)
        made.set_defaults(command=command)
        words.folders(made, "state")
        made.add_argument(
            "--backup-dir", type=Path, metavar="DIR", help="backups (default: backups in the state folder)"
        )
        made.add_argument("--json", action="store_true", help="one JSON object instead of lines")
        return made

    add("create", create).add_argument("--pin", type=_why, metavar="WHY", help="keep this one until it is unpinned")
    add("list", show)
    checking = add("verify", verify)
    checking.add_argument("backups", nargs="*", metavar="BACKUP", help="a name, its beginning, or `latest`; else all")
    checking.add_argument(
        "--level",
        type=int,
        choices=(0, 1, 2, 3),
        default=2,
        help="0: there; 1: as written; 2: unpacks into what was packed; 3: a whole database (default: %(default)s)",
    )
    pruning = add("prune", prune)
    for name, kind, keeps in _RULES:
        pruning.add_argument(
            f"--keep-{name}", type=kind, metavar="N", help=f"keep {keeps}; else as the service was told"
        )
    pruning.add_argument("--zone", help="the time zone whose days count; else as the service was told")
    pruning.add_argument("--quota-bytes", type=int, metavar="N", help="give up the least valuable above this")
    pruning.add_argument("--dry-run", action="store_true", help="only say what would go, and why")
    pruning.add_argument("--force", action="store_true", help="carry out a plan that was refused")
    back = add("restore", restore)
    back.add_argument("backup", metavar="BACKUP", help="a name, its beginning, or `latest`: the newest verified one")
    trial = add("drill", drill)
    trial.add_argument("backup", nargs="?", default="latest", metavar="BACKUP", help="like restore; else `latest`")
    trial.add_argument("--bot-command", default="", metavar="CMD", help="the program that bots are, as for serve")
    noting = add("mark", mark)
    noting.add_argument("backup", metavar="BACKUP", help="a name, its beginning, or `latest`")
    either = noting.add_mutually_exclusive_group()
    either.add_argument("--pin", type=_why, metavar="WHY", help="keep it until it is unpinned")
    either.add_argument("--unpin", action="store_true", help="rules decide about it again")
    noting.add_argument("--accept", action="store_true", help="a sudden loss of rows was meant")


def _why(text: str) -> str:
    """Take a reason; an empty one would pin nothing, and say nothing about it."""
    if not text.strip():
        raise argparse.ArgumentTypeError("say why")
    return text


def _backups(options: argparse.Namespace) -> Backups:
    from harness.adapters.backups import Backups

    return Backups(options.backup_dir or options.state_dir / FOLDER)


def _kept(options: argparse.Namespace) -> Backups:
    """Give the backups that there are; UsageError if the folder is not: a mistyped one must not read "no backups"."""
    named, option = (options.backup_dir, "--backup-dir") if options.backup_dir else (options.state_dir, "--state-dir")
    if not named.is_dir():
        raise UsageError(f"{named}: there is no such folder; check {option}")
    return _backups(options)


def _database(options: argparse.Namespace) -> Path:
    from harness.adapters.sqlite import FILE_NAME

    place: Path = options.state_dir / FILE_NAME
    return place


def _rules(options: argparse.Namespace) -> dict[str, object]:
    typed = {name.replace("-", "_"): getattr(options, f"keep_{name.replace('-', '_')}") for name, _, _ in _RULES}
    return {**typed, "zone": options.zone, "quota_bytes": options.quota_bytes}


def _say(options: argparse.Namespace, value: object, *lines: str) -> None:
    if not options.json:
        print("\n".join(lines))
        return
    import orjson

    print(orjson.dumps(value, default=_plain).decode())


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} has no form in JSON")


def _told(finding: Finding) -> str:
    what = "verified" if finding.ok else f"DAMAGED: {finding.why}"
    return f"{finding.name}: level {finding.level} {what} ({finding.took_s:.2f} s)"


def _removed(count: int, options: argparse.Namespace) -> str:
    return "dry run: nothing was moved" if options.dry_run else f"{count} moved to trash, for a day"
