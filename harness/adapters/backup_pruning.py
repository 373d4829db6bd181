"""Backup pruning: carry out a plan of backup_rotation, and clear away what interrupted writes have left.

In    a folder of backups, the policy and guards, the local zone
Out   what was decided and why, what was moved, what was cleared away
Rule  two phases: what goes is moved to trash/ and stays there for a day; a refused plan moves and clears nothing;
      a dry run decides with the same code
Why   between a wrong rule and the loss of a backup there must be a day in which somebody can notice
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from harness.adapters import backup_ledger, disk, durable
from harness.adapters.backup_folder import Catalog, Folder
from harness.adapters.backups import Backups
from harness.adapters.sealed import sealed_page, unseal
from harness.core.decode import decode
from harness.errors import BackupError, ScenarioError, UsageError
from harness.services.backup_orphans import MANIFEST, Orphan, Remedy
from harness.services.backup_rotation import Guards, Offset, Plan, Policy, plan

UTC_NAME: Final = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides about backups here: kept in policy.json, so that a person's command means what the service means."""

    last: int = 3
    hourly: int = 24
    daily: int = 7
    weekly: int = 4
    monthly: int = 12
    yearly: int = 0
    within_s: float = 0.0
    zone: str = UTC_NAME
    """The time zone whose days and hours count."""
    quota_bytes: int = 0
    every_s: float = 0.0

    def policy(self) -> Policy:
        """Give the rules for what stays; UsageError if they make no sense."""
        try:
            return Policy(
                last=self.last,
                hourly=self.hourly,
                daily=self.daily,
                weekly=self.weekly,
                monthly=self.monthly,
                yearly=self.yearly,
                within_s=self.within_s,
            )
        except ValueError as error:
            raise UsageError(f"backup rules: {error}") from None

    def guards(self) -> Guards:
        """Give the guards; UsageError if they make no sense."""
        try:
            return Guards(interval_s=self.every_s, quota_bytes=self.quota_bytes)
        except ValueError as error:
            raise UsageError(f"backup rules: {error}") from None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning has decided and done."""

    plan: Plan
    removed: tuple[str, ...]
    cleared: tuple[Orphan, ...]


def offset_of(zone: str) -> Offset:
    """Give the offset of a zone at any time, in seconds; UsageError if it is not known here."""
    if zone == UTC_NAME:
        return lambda _: 0.0  # Known also where there is no database of zones.
    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"time zone {zone!r} is not known on this machine; UTC always is") from None

    def offset(at: float) -> float:
        ahead = datetime.fromtimestamp(at, UTC).astimezone(place).utcoffset()
        assert ahead is not None
        return ahead.total_seconds()

    return offset


def remembered(folder: Folder) -> Rules:
    """Read the rules that the service uses; the defaults if there are none yet."""
    try:
        body = unseal(folder.policy.read_bytes(), str(folder.policy))
    except FileNotFoundError:
        return Rules()
    try:
        return decode(Rules, body)
    except ScenarioError as error:
        raise BackupError(f"{folder.policy}: {error}") from None


def remember(folder: Folder, rules: Rules) -> None:
    """Keep the rules for the next who prunes; nothing is written if they are the same."""
    content = sealed_page(asdict(rules))
    if folder.policy.exists() and folder.policy.read_bytes() == content:
        return
    with folder.locked():
        durable.write(folder.policy, content, folder.tmp)


def changed(rules: Rules, given: Mapping[str, object]) -> Rules:
    """Give the rules with those that a person has typed; those that are None stay."""
    return decode(Rules, asdict(rules) | {name: value for name, value in given.items() if value is not None}, "rules")


def prune(
    backups: Backups,
    rules: Rules,
    *,
    dry_run: bool = False,
    forced: bool = False,
    lines_max: int = backup_ledger.LINES_MAX,
) -> Pruned:
    """Decide what stays, and carry it out unless it is refused or only asked for.

    ``lines_max``: how long the ledger may be before it is written anew.
    """
    policy, guards, offset = rules.policy(), rules.guards(), offset_of(rules.zone)
    folder = backups.folder
    if dry_run:
        seen = backups.catalog()
        return Pruned(_plan(seen, policy, guards, backups.clock(), offset, forced=forced), (), seen.orphans)
    with folder.locked():
        seen = backups.catalog()
        decided = _plan(seen, policy, guards, backups.clock(), offset, forced=forced)
        if decided.refusal:
            return Pruned(decided, (), ())
        try:
            cleared = tuple(orphan for orphan in seen.orphans if _clear(folder, orphan))
            for name in decided.removals:
                _remove(backups, name)
            if seen.ledger.lines > lines_max or seen.ledger.damaged_lines:
                _tidy(folder, seen)
        except OSError as error:
            raise BackupError(disk.told(error, folder.root, "--backup-dir")) from None
        return Pruned(decided, decided.removals, cleared)


def _plan(seen: Catalog, policy: Policy, guards: Guards, now: float, offset: Offset, *, forced: bool) -> Plan:
    decided = plan(seen.snapshots, policy, guards, now, offset, forced=forced)
    if seen.ledger.damaged_lines and not forced and not decided.refusal:
        refusal = f"{seen.ledger.damaged_lines} lines of the ledger are damaged: a pin may be lost; look, then force it"
        return replace(decided, refusal=refusal)
    return decided


def _remove(backups: Backups, name: str) -> None:
    """Move one backup to the bin: the manifest first, so that there is never a manifest without its data."""
    folder = backups.folder
    backup_ledger.note(folder.ledger, backups.clock(), "removed", name)
    durable.move(folder.manifest(name), folder.trash)
    if folder.data(name).exists():
        durable.move(folder.data(name), folder.trash)


def _clear(folder: Folder, orphan: Orphan) -> bool:
    """Do what is to be done with a leftover; whether that was anything."""
    path = folder.root / orphan.place / orphan.name
    match orphan.remedy:
        case Remedy.DELETE:
            path.unlink(missing_ok=True)
        case Remedy.QUARANTINE:
            durable.move(path, folder.quarantine)
        case Remedy.TRASH:
            durable.move(path, folder.trash)
        case _:
            return False
    return True


def _tidy(folder: Folder, seen: Catalog) -> None:
    """Write the ledger anew without those of whom nothing is left: long ones, and one whose damage was accepted."""
    stay = {entry.snapshot.name for entry in seen.entries}
    stay |= {entry.manifest.previous for entry in seen.entries if entry.manifest is not None}
    stay |= {path.name.removesuffix(MANIFEST) for path in folder.trash.iterdir()}
    backup_ledger.compact(folder.ledger, folder.tmp, stay)
