"""Backups: make one, look at all, read them again, note what people know about them.

In    the root of a folder of backups; a live database; the time, from a clock that a test can set
Out   manifests, catalogs, findings; BackupError, BusyError, UsageError
Rule  nothing is a backup before its manifest is on the disk, and none is trusted before it was read back whole
Why   "the backup job succeeded" was true of every backup that could not be restored

    copy in one step --> checks --> pack, hash, fsync --> name --> manifest, fsync --> name --> read back
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness import __version__
from harness.adapters import backup_folder, backup_ledger, backup_manifest, database_copy, disk, durable, zstd_file
from harness.adapters.backup_folder import Catalog, Entry, Folder, catalog
from harness.adapters.backup_manifest import Manifest, Reason
from harness.core.backups import BackupFigures
from harness.core.decode import suggest
from harness.errors import BackupError, DamagedBackupError, UsageError
from harness.services.backup_rotation import Guards, find_suspicious

ROOM: Final = 2.4
"""Free space that a backup needs, in sizes of the database: the copy, what it is packed into, and a fifth on top."""
LEVELS: Final = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of one backup has found."""

    name: str
    level: int
    ok: bool
    took_s: float
    why: str = ""


class Backups:
    """One folder of backups."""

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Use the folder ``root``; it is made when something is to be written."""
        self.folder = Folder(root)
        self.clock = clock

    # --- Look ---------------------------------------------------------------------------------------------------------
    def catalog(self) -> Catalog:
        """Look at everything there is."""
        return catalog(self.folder, self.clock())

    def find(self, name: str, *, verified: bool = False) -> Entry:
        """Find a backup by its name or the beginning of it, or ``latest``: the newest verified one."""
        seen = self.catalog()
        if name == "latest":
            newest = seen.newest_verified()
            if newest is None:
                raise UsageError(f"{self.folder.root}: there is no verified backup; `harness backup list` shows all")
            return newest
        found = [entry for entry in seen.entries if entry.snapshot.name.startswith(name)] if name else []
        if len(found) != 1:
            why = "several begin with it" if found else "there is none of this name"
            known = [entry.snapshot.name for entry in seen.entries]
            raise UsageError(f"backup {name!r}: {why}{suggest(name, known[-5:])}")
        if verified and found[0].manifest is None:
            raise DamagedBackupError(f"{found[0].snapshot.name}: {found[0].why}; choose another backup")
        return found[0]

    def figures(self, seen: Catalog | None = None) -> BackupFigures:
        """Say how the backups stand."""
        seen = seen or self.catalog()
        newest = seen.newest_verified()
        return BackupFigures(
            newest_verified_at=newest.snapshot.at if newest else None,
            newest_verified_bytes=newest.snapshot.stored_bytes if newest else 0,
            count=len(seen.entries),
            repo_bytes=sum(each.stored_bytes for each in seen.snapshots),
            suspicious=len(find_suspicious(seen.snapshots, Guards().fall_max)),
            damaged=sum(each.state == "damaged" for each in seen.snapshots),
            drill_rto_s=seen.ledger.drill_rto_s,
        )

    # --- Make ---------------------------------------------------------------------------------------------------------
    def create(
        self, source: Path, *, reason: Reason = "manual", pin: str = "", quota_bytes: int = 0
    ) -> tuple[Manifest, Finding]:
        """Back up the database ``source``, and read the backup back.

        BackupError: no room, over the quota, or the database is damaged; what was there before is untouched. OSError:
        the disk has refused something; the same holds.
        """
        if not source.is_file():
            raise UsageError(f"{source}: there is no database to back up; check --state-dir")
        with self.folder.locked():
            manifest = self._create(source, reason, quota_bytes)
            if pin:
                self._note("pinned", manifest.name, why=pin)
            return manifest, self._check(manifest.name, backup_ledger.UNPACKED)

    def _create(self, source: Path, reason: Reason, quota_bytes: int) -> Manifest:
        folder, seen = self.folder, self.catalog()
        size = database_copy.size_of(source)
        self._make_sure_of_room(seen, size, quota_bytes)
        now = round(self.clock(), 3)
        name = backup_manifest.new_name(now)
        copied, packed = folder.tmp / f"{name}.sqlite3", folder.tmp / f"{name}.zst"
        try:
            database_copy.copy(source, copied)
            content = database_copy.inspect(copied)
            raw, stored = zstd_file.pack(copied, packed)
            copied.unlink()
            last = next((entry for entry in reversed(seen.entries) if entry.sha256), None)
            manifest = Manifest(
                format=backup_manifest.FORMAT,
                name=name,
                at=now,
                reason=reason,
                harness=__version__,
                codec=zstd_file.CODEC,
                raw_bytes=raw.size,
                raw_sha256=raw.sha256,
                stored_bytes=stored.size,
                stored_sha256=stored.sha256,
                user_version=content.user_version,
                page_size=content.page_size,
                pages=content.pages,
                tables=content.tables,
                previous=last.snapshot.name if last else "",
                previous_sha256=last.sha256 if last else "",
            )
            durable.put(packed, folder.data(name))
            durable.write(folder.manifest(name), backup_manifest.written(manifest), folder.tmp)
        except DamagedBackupError as error:
            raise DamagedBackupError(f"{source} itself is damaged ({error}); earlier backups are kept") from None
        except OSError as error:
            # Data that stands there by now belongs to no manifest; the next clean-up knows what that is.
            raise BackupError(disk.told(error, folder.root, "--backup-dir")) from None
        finally:
            for path in (copied, packed):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        return manifest

    def _make_sure_of_room(self, seen: Catalog, size: int, quota_bytes: int) -> None:
        free = shutil.disk_usage(self.folder.root).free
        if free < size * ROOM:
            raise BackupError(
                f"{self.folder.root}: {free:,} bytes are free, a backup needs {round(size * ROOM):,}: make room or "
                "choose another disk with --backup-dir"
            )
        used = sum(each.stored_bytes for each in seen.snapshots)
        if quota_bytes and used > quota_bytes:
            raise BackupError(
                f"{self.folder.root}: {used:,} bytes are in use, the quota is {quota_bytes:,}, and what is left is "
                "guarded: raise the quota or let some go (`harness backup prune`)"
            )

    # --- Read again ---------------------------------------------------------------------------------------------------
    def check(self, names: Iterable[str], level: int) -> list[Finding]:
        """Read backups again and note what was found.

        0 their files are there; 1 these are what was written; 2 they unpack into what was packed; 3 that is a whole
        database with all its rows. OSError: there is no room to unpack one; no verdict.
        """
        if level not in LEVELS:
            raise UsageError(f"level {level}: must be one of 0, 1, 2, 3")
        with self.folder.locked():
            return [self._check(name, level) for name in names]

    def _check(self, name: str, level: int) -> Finding:
        began = time.monotonic()
        why = ""
        try:
            self.prove(name, level)
        except DamagedBackupError as error:
            why = str(error)
        finding = Finding(name, level, not why, round(time.monotonic() - began, 3), why)
        more: dict[str, object] = {"why": why} if why else {}
        self._note("checked", name, level=level, ok=finding.ok, took_s=finding.took_s, **more)
        return finding

    def prove(self, name: str, level: int, target: Path | None = None) -> Manifest:
        """Check one backup, or raise DamagedBackupError; without a note. At level 3 ``target`` keeps the database."""
        folder = self.folder
        manifest, _ = backup_manifest.read(folder.manifest(name))
        path = folder.data(name)
        backup_folder.check_size(path, manifest)
        if level == 1:
            _same(path.name, zstd_file.digest(path).sha256, manifest.stored_sha256)
        elif level == backup_ledger.UNPACKED:
            self._unpack(path, None, manifest)
        elif level >= backup_ledger.PROVED:
            scratch = target or folder.tmp / f"{name}.proof.{os.getpid()}"
            try:
                self._unpack(path, scratch, manifest)
                _same_rows(name, database_copy.inspect(scratch, thorough=True).tables, manifest.tables)
            except BaseException:
                scratch.unlink(missing_ok=True)
                raise
            if target is None:
                scratch.unlink()
        return manifest

    def _unpack(self, path: Path, target: Path | None, manifest: Manifest) -> None:
        raw, stored = zstd_file.unpack(path, target, manifest.raw_bytes)
        _same(path.name, stored.sha256, manifest.stored_sha256)
        _same(f"{path.name}, unpacked,", raw.sha256, manifest.raw_sha256)

    # --- Notes --------------------------------------------------------------------------------------------------------
    def mark(self, name: str, *, pin: str = "", unpin: bool = False, accept: bool = False) -> None:
        """Note what a person says: keep this one (and why), no longer, or: this loss of rows was meant."""
        with self.folder.locked():
            if pin:
                self._note("pinned", name, why=pin)
            if unpin:
                self._note("unpinned", name)
            if accept:
                self._note("accepted", name)

    def drilled(self, name: str, *, ok: bool, rto_s: float) -> None:
        """Note how a restore drill has ended."""
        with self.folder.locked():
            self._note("drilled", name, ok=ok, rto_s=round(rto_s, 3))

    def _note(self, what: backup_ledger.What, name: str, **more: object) -> None:
        try:
            backup_ledger.note(self.folder.ledger, self.clock(), what, name, **more)
        except OSError as error:
            raise BackupError(disk.told(error, self.folder.ledger, "--backup-dir")) from None


def _same(what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise DamagedBackupError(f"{what} is not what was written: its SHA-256 does not fit")


def _same_rows(name: str, found: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    if found != wanted:
        raise DamagedBackupError(f"{name}: has the rows {found} instead of {wanted}")
