"""Backup folder: where what lies, and what all of it together says.

In    the root of a folder of backups
Out   paths; the catalog: every backup with what is known about it, oldest first, and every problem in one line each
Rule  the catalog is made from the manifests and the ledger each time it is asked for: no index that could be wrong
Why   whoever finds the folder in ten years needs nothing but ``zstd -d`` and a look at a manifest

    snap/NAME.full.zst + snap/NAME.json   backups         tmp/          what is being written
    trash/                                removed ones    quarantine/   data that no manifest claims
    ledger.jsonl                          notes           policy.json   the rules that are in force
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.adapters import backup_ledger, backup_manifest, durable
from harness.adapters.backup_ledger import Ledger
from harness.adapters.backup_manifest import Manifest
from harness.core.backups import Snapshot
from harness.errors import BackupError, DamagedBackupError
from harness.services.backup_orphans import DATA, MANIFEST, NAME, Kind, Orphan, Places, find_orphans

PUT_AWAY_S: Final = 86_400.0
"""How long removed and unclaimed files can still be fetched back."""
_OWNER: Final = 0o700


@dataclass(frozen=True, slots=True)
class Entry:
    """One backup of the catalog; without a manifest, if that is damaged."""

    snapshot: Snapshot
    manifest: Manifest | None
    sha256: str
    """Of the manifest's file."""
    why: str = ""
    """Why it is damaged."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything in the folder."""

    entries: tuple[Entry, ...]
    orphans: tuple[Orphan, ...]
    ledger: Ledger
    problems: tuple[str, ...]

    @property
    def snapshots(self) -> list[Snapshot]:
        """What the rules decide on."""
        return [entry.snapshot for entry in self.entries]

    def newest_verified(self) -> Entry | None:
        """The one to restore from."""
        verified = [entry for entry in self.entries if entry.snapshot.state == "verified"]
        return verified[-1] if verified else None


class Folder:
    """The paths of one folder of backups."""

    def __init__(self, root: Path) -> None:
        """Nothing is made before it is needed."""
        self.root = root
        self.snap, self.tmp = root / "snap", root / "tmp"
        self.trash, self.quarantine = root / "trash", root / "quarantine"
        self.ledger, self.policy = root / backup_ledger.FILE_NAME, root / "policy.json"

    def make(self) -> None:
        """Make the folders; BackupError if that cannot be."""
        folders = (self.root, self.snap, self.tmp, self.trash, self.quarantine)
        if all(folder.is_dir() for folder in folders):
            return
        try:
            for folder in folders:
                folder.mkdir(mode=_OWNER, parents=True, exist_ok=True)
            durable.sync_folder(self.root)
            durable.sync_folder(self.root.parent)
        except OSError as error:
            raise BackupError(
                f"{self.root}: cannot be written ({error.strerror}); choose another with --backup-dir"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who changes anything, and begin without what others have left unfinished."""
        self.make()
        with durable.locked(self.root / "lock"):
            # Whoever wrote these held the lock; it is ours now, so nobody writes them any more.
            for path in self.tmp.iterdir():
                with suppress(OSError):
                    path.unlink()
            yield

    def data(self, name: str) -> Path:
        """The packed database of a backup."""
        return self.snap / f"{name}{DATA}"

    def manifest(self, name: str) -> Path:
        """The manifest of a backup."""
        return self.snap / f"{name}{MANIFEST}"


def catalog(folder: Folder, now: float) -> Catalog:
    """Look at everything there is; a folder that is not there is empty, one that cannot be read a BackupError."""
    try:
        return _catalog(folder, now)
    except OSError as error:
        raise BackupError(f"{folder.root}: cannot be read ({error.strerror}); check --backup-dir") from None


def _catalog(folder: Folder, now: float) -> Catalog:
    ledger = backup_ledger.read(folder.ledger)
    names = sorted(_names(folder.snap))
    entries = [_entry(folder, ledger, name.removesuffix(MANIFEST)) for name in names if _is_manifest(name)]
    entries.sort(key=lambda entry: (entry.snapshot.at, entry.snapshot.name))
    places = Places(
        snap=frozenset(names),
        tmp=frozenset(_names(folder.tmp)),
        trash=_ages(folder.trash),
        quarantine=_ages(folder.quarantine),
        expected=frozenset(name for name, marks in ledger.marks.items() if not marks.removed),
    )
    orphans = find_orphans(places, now, PUT_AWAY_S)
    return Catalog(tuple(entries), orphans, ledger, tuple(_problems(folder, entries, orphans, ledger)))


def _is_manifest(name: str) -> bool:
    return name.endswith(MANIFEST) and NAME.fullmatch(name.removesuffix(MANIFEST)) is not None


def _entry(folder: Folder, ledger: Ledger, name: str) -> Entry:
    marks = ledger.marks.get(name) or backup_ledger.Marks()
    try:
        manifest, sha256 = backup_manifest.read(folder.manifest(name))
        check_size(folder.data(name), manifest)
    except DamagedBackupError as error:
        at = backup_manifest.time_of(name)
        lost = Snapshot(name=name, at=at, state="damaged", pins=tuple(marks.pins), accepted=marks.accepted)
        return Entry(lost, None, "", str(error))
    snapshot = Snapshot(
        name=name,
        at=manifest.at,
        stored_bytes=manifest.stored_bytes,
        raw_bytes=manifest.raw_bytes,
        rows=manifest.rows,
        state=marks.state,
        pins=tuple(marks.pins),
        accepted=marks.accepted,
        read_at=marks.read_at,
        proved_at=marks.proved_at,
    )
    return Entry(snapshot, manifest, sha256, marks.why)


def check_size(path: Path, manifest: Manifest) -> None:
    """Look whether the data of a backup is there and of the right size; DamagedBackupError if not."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DamagedBackupError(f"{path.name}: cannot be found ({error.strerror})") from None
    if size != manifest.stored_bytes:
        raise DamagedBackupError(f"{path.name}: has {size:,} bytes instead of {manifest.stored_bytes:,}")


def _problems(folder: Folder, entries: list[Entry], orphans: tuple[Orphan, ...], ledger: Ledger) -> Iterator[str]:
    for entry in entries:
        if entry.snapshot.state == "damaged":
            yield f"{entry.snapshot.name} is damaged: {entry.why}"
    for orphan in orphans:
        if orphan.kind in (Kind.VANISHED, Kind.LOST):
            yield f"{orphan.name}: {orphan.kind}"
    if ledger.damaged_lines:
        yield f"{folder.ledger.name}: {ledger.damaged_lines} lines are not what was written; a pin may be lost"
    manifests = {entry.snapshot.name: entry for entry in entries}
    for entry in entries:
        before = entry.manifest.previous if entry.manifest is not None else ""
        if not before:
            continue
        assert entry.manifest is not None
        if before in manifests:
            other = manifests[before]
            if other.sha256 and other.sha256 != entry.manifest.previous_sha256:
                yield f"{before}{MANIFEST}: another one than when {entry.snapshot.name} was made"
        elif before not in ledger.marks:
            yield f"{before}: {Kind.VANISHED}; {entry.snapshot.name} was made after it"


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _ages(folder: Path) -> dict[str, float]:
    """Since when each file is in its folder: moving a file there sets its ctime, and nobody can set it back."""
    found = {}
    for name in _names(folder):
        with suppress(FileNotFoundError):
            found[name] = (folder / name).stat().st_ctime
    return found
