"""Backups on a real disk: made beside a writer, read back, damaged on purpose, pruned, put back."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.adapters import backup_ledger, backup_manifest, backup_pruning, backup_restore, durable
from harness.adapters.backup_pruning import Rules
from harness.adapters.backups import Backups
from harness.adapters.sealed import sealed_line, sealed_page, unseal
from harness.adapters.sqlite import FILE_NAME, Store
from harness.errors import BackupError, BusyError, DamagedBackupError, UsageError
from harness.services.backup_orphans import Kind

DAY_S = 86_400.0
ALL = Rules(last=1, hourly=0, daily=0, weekly=0, monthly=0)
"""Keeps as little as the guards allow."""


class Clock:
    """A wall clock that a test can set."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Home:
    """A state folder with a database, and its backups."""

    def __init__(self, root: Path) -> None:
        self.database = root / "state" / FILE_NAME
        self.database.parent.mkdir(parents=True)
        Store(self.database).close()
        self.clock = Clock()
        self.backups = Backups(root / "backups", clock=self.clock)
        self.say(20)

    def say(self, count: int, text: str = "a line of a conversation, as long as such lines are") -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            for _ in range(count):
                connection.execute(
                    "INSERT INTO message (mid, session, cid, role, text, state, error, at) "
                    "VALUES (hex(randomblob(8)), 's', hex(randomblob(8)), 'user', ?, 'done', '', 0)",
                    (text,),
                )

    def rows(self) -> int:
        with closing(sqlite3.connect(self.database)) as connection:
            return int(connection.execute("SELECT count(*) FROM message").fetchone()[0])

    def back_up(self, ahead_s: float = 1.0) -> str:
        """Make a backup, a little after the one before."""
        self.clock.ahead += ahead_s
        manifest, finding = self.backups.create(self.database)
        assert finding.ok, finding
        return manifest.name

    def names(self) -> list[str]:
        return [each.name for each in self.backups.catalog().snapshots]

    def files(self, name: str) -> tuple[Path, Path]:
        return self.backups.folder.data(name), self.backups.folder.manifest(name)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """Another content for a moment."""
    before = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(content)
    yield
    path.write_bytes(before)
    path.chmod(0o400)


# --- Made -------------------------------------------------------------------------------------------------------------
def test_a_backup_is_data_and_a_manifest_that_says_what_is_in_it(home: Home) -> None:
    name = home.back_up()
    data, page = home.files(name)
    manifest, _ = backup_manifest.read(page)
    assert (data.stat().st_mode & 0o777, page.stat().st_mode & 0o777) == (0o400, 0o400)
    assert manifest.tables == {"bot": 0, "message": 20, "pulse": 1, "session": 0}
    assert manifest.raw_bytes == manifest.pages * manifest.page_size
    assert abs(backup_manifest.time_of(name) - manifest.at) < 0.0011
    assert list(home.backups.folder.tmp.iterdir()) == []
    (snapshot,) = home.backups.catalog().snapshots
    assert (snapshot.state, snapshot.rows, snapshot.proved_at) == ("verified", 21, None)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the program zstd is not on this machine")
def test_a_backup_can_be_unpacked_without_us(home: Home, tmp_path: Path) -> None:
    data, _ = home.files(home.back_up())
    subprocess.run(["zstd", "-q", "-d", str(data), "-o", str(tmp_path / "by-hand.sqlite3")], check=True)
    with closing(sqlite3.connect(tmp_path / "by-hand.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (20,)


WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("PRAGMA synchronous = FULL")
number = 0
while True:
    number += 1
    connection.execute(
        "INSERT INTO message (mid, session, cid, role, text, state, error, at) VALUES (?, 's', ?, 'bot', ?, '', '', 0)",
        (f"w{number}", f"w{number}", "x" * 500),
    )
    print(number, flush=True)
    time.sleep(0.003)
"""


def test_beside_a_writer_every_row_that_was_committed_is_in_the_backup(home: Home) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(home.database)], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            os.set_blocking(writer.stdout.fileno(), False)
            said = b""
            for _ in range(5):
                known = 0
                deadline = time.monotonic() + 20
                while known < 10 and time.monotonic() < deadline:
                    said += writer.stdout.read() or b""
                    known = int((said.split(b"\n")[-2:-1] or [b"0"])[0] or 0)
                    time.sleep(0.01)
                name = home.back_up()
                (finding,) = home.backups.check([name], 3)
                assert finding.ok, finding
                manifest, _ = backup_manifest.read(home.files(name)[1])
                assert manifest.tables["message"] >= 20 + known
            assert writer.poll() is None
        finally:
            writer.kill()


def test_what_cannot_be_backed_up_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no database to back up; check --state-dir"):
        home.backups.create(tmp_path / "nothing")
    name = home.back_up()
    raw = bytearray(home.database.read_bytes())
    raw[4096 * 2 : 4096 * 6] = random.Random(7).randbytes(4096 * 4)
    home.database.write_bytes(raw)
    with pytest.raises(DamagedBackupError, match=r"itself is damaged|cannot be copied"):
        home.backups.create(home.database)
    home.database.write_bytes(b"this is a text, and a long one at that" * 100)
    with pytest.raises(DamagedBackupError, match="cannot be copied"):
        home.backups.create(home.database)
    assert home.names() == [name]
    assert list(home.backups.folder.tmp.iterdir()) == []


def test_only_one_at_a_time(home: Home) -> None:
    with home.backups.folder.locked(), pytest.raises(BusyError, match="is busy; retry in"):
        home.backups.create(home.database)


def test_a_folder_that_cannot_be_is_told_with_its_option(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match="--backup-dir"):
        Backups(tmp_path / "file" / "below").create(home.database)


def test_over_the_quota_no_more_are_made(home: Home) -> None:
    home.back_up()
    with pytest.raises(BackupError, match="the quota is 10, and what is left is guarded"):
        home.backups.create(home.database, quota_bytes=10)


# --- Read again -------------------------------------------------------------------------------------------------------
def caught(home: Home, name: str) -> bool:
    """Whether a look and a check at level 2 find that something is wrong; the ledger is not asked."""
    try:
        home.backups.prove(name, 2)
    except DamagedBackupError:
        return True
    return False


def test_150_of_150_flipped_bits_are_caught(home: Home) -> None:
    home.say(200, "words that repeat, words that repeat, and one that does not: " + "".join(map(str, range(50))))
    name = home.back_up()
    dice = random.Random(150)
    assert not caught(home, name)
    found = 0
    for trial in range(150):
        path = home.files(name)[trial % 3 == 2]  # Every third hits the manifest.
        content = bytearray(path.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        with changed(path, bytes(content)):
            found += caught(home, name)
    assert found == 150
    assert not caught(home, name)


@pytest.mark.parametrize("which", [0, 1], ids=["data", "manifest"])
def test_whatever_is_cut_off_or_added_is_caught(home: Home, which: int) -> None:
    name = home.back_up()
    path = home.files(name)[which]
    whole = path.read_bytes()
    dice = random.Random(7)
    lengths = {0, 1, 4, len(whole) // 2, len(whole) - 4, len(whole) - 1}
    lengths |= {dice.randrange(len(whole)) for _ in range(20)}
    for content in [*(whole[:length] for length in sorted(lengths)), whole + b"\n", whole + whole]:
        with changed(path, content):
            assert caught(home, name), f"{len(content)} of {len(whole)} bytes"


def test_a_short_or_double_frame_is_caught_even_if_its_manifest_agrees(home: Home) -> None:
    """The size in the manifest must not be the only thing that notices."""
    name = home.back_up()
    data, page = home.files(name)
    manifest, _ = backup_manifest.read(page)
    whole = data.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole + whole, whole + b"x"):
        lying = backup_manifest.written(replace(manifest, stored_bytes=len(content)))
        with changed(data, content), changed(page, lying), pytest.raises(DamagedBackupError, match=r"ends|goes on"):
            home.backups.prove(name, 2)
    small = backup_manifest.written(replace(manifest, raw_bytes=100))
    with changed(page, small), pytest.raises(DamagedBackupError, match="more than the 100 bytes"):
        home.backups.prove(name, 2)


@pytest.mark.parametrize(("level", "finds"), [(0, False), (1, True), (2, True), (3, True)])
def test_what_a_level_finds(home: Home, level: int, *, finds: bool) -> None:
    name = home.back_up()
    data, _ = home.files(name)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    with changed(data, bytes(content)):
        (finding,) = home.backups.check([name], level)
        assert finding.ok is not finds
    # What was damaged once is good again only after a check of the same kind.
    assert home.backups.catalog().snapshots[0].state == ("damaged" if finds else "verified")
    if finds:
        home.backups.check([name], level - 1)
        assert home.backups.catalog().snapshots[0].state == "damaged"
        home.backups.check([name], max(2, level))
        assert home.backups.catalog().snapshots[0].state == "verified"


def test_level_3_finds_rows_that_are_missing_and_references_that_lead_nowhere(home: Home) -> None:
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.executescript(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (p REFERENCES parent (id));"
        )
    name = home.back_up()
    page = home.files(name)[1]
    manifest, _ = backup_manifest.read(page)
    more = backup_manifest.written(replace(manifest, tables={**manifest.tables, "message": 21}))
    with changed(page, more):
        home.backups.prove(name, 2)
        with pytest.raises(DamagedBackupError, match="has the rows"):
            home.backups.prove(name, 3)
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute("INSERT INTO child VALUES (5)")
    lame = home.back_up()
    with pytest.raises(DamagedBackupError, match="a row of child refers to a row of parent"):
        home.backups.prove(lame, 3)
    assert list(home.backups.folder.tmp.iterdir()) == []


def test_a_level_that_is_not_there(home: Home) -> None:
    with pytest.raises(UsageError, match="level 4"):
        home.backups.check([], 4)


# --- The catalog ------------------------------------------------------------------------------------------------------
def test_a_hole_or_an_edit_shows(home: Home) -> None:
    first, second, third = home.back_up(), home.back_up(), home.back_up()
    assert home.backups.catalog().problems == ()
    page = home.files(second)[1]
    manifest, _ = backup_manifest.read(page)
    with changed(page, backup_manifest.written(replace(manifest, reason="scheduled"))):
        assert home.backups.catalog().problems == (f"{second}.json: another one than when {third} was made",)
    for path in home.files(third):
        path.unlink()
    assert home.backups.catalog().problems == (f"{third}: gone without a trace",)
    home.files(first)[0].unlink()
    problems = " ".join(home.backups.catalog().problems)
    assert f"{first} is damaged: {first}.full.zst: cannot be found" in problems
    assert f"{first}.json: manifest without its data" in problems


def test_without_a_ledger_nothing_is_trusted_and_nothing_goes(home: Home) -> None:
    names = [home.back_up() for _ in range(5)]
    home.backups.folder.ledger.unlink()
    assert {each.state for each in home.backups.catalog().snapshots} == {"unverified"}
    assert backup_pruning.prune(home.backups, ALL, forced=True).removed == ()
    home.backups.check(names, 2)
    assert {each.state for each in home.backups.catalog().snapshots} == {"verified"}


def test_a_damaged_ledger_stops_the_pruning_until_a_person_has_looked(home: Home) -> None:
    for _ in range(5):
        home.back_up()
    ledger = home.backups.folder.ledger
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([lines[0].replace(b"true", b"TRUE"), *lines[1:]]))
    assert "1 lines are not what was written" in home.backups.catalog().problems[0]
    done = backup_pruning.prune(home.backups, ALL)
    assert "a pin may be lost" in done.plan.refusal
    assert len(home.names()) == 5
    backup_pruning.prune(home.backups, ALL, forced=True)
    assert home.backups.catalog().ledger.damaged_lines == 0


def test_a_line_of_the_ledger_that_a_crash_has_torn_is_cut_off(home: Home) -> None:
    name = home.back_up()
    with home.backups.folder.ledger.open("ab") as file:
        file.write(b'{"at":1,"wh' * 1000)
    home.backups.mark(name, pin="stays")
    assert home.backups.folder.ledger.read_bytes().endswith(b"}\n")
    ledger = backup_ledger.read(home.backups.folder.ledger)
    assert (ledger.damaged_lines, list(ledger.marks[name].pins)) == (0, ["stays"])
    home.backups.folder.ledger.write_bytes(b"x" * 5000)
    home.backups.mark(name, pin="stays")
    assert backup_ledger.read(home.backups.folder.ledger).lines == 1


def test_notes_that_mean_nothing_are_damage(home: Home) -> None:
    home.back_up()
    with home.backups.folder.ledger.open("ab") as file:
        file.write(sealed_line({"at": 1, "what": "eaten", "name": "x"}) + sealed_line({"at": 1}) + b"[]\n")
    assert home.backups.catalog().ledger.damaged_lines == 3


def test_a_sealed_page_is_what_was_written_or_refused() -> None:
    page = sealed_page({"b": [1, 2.5], "a": "ü"})
    assert unseal(page, "page") == {"a": "ü", "b": [1, 2.5]}
    for other in (b"", b"[]", page + b" ", page.replace(b"1", b"1.0"), b"{}", page.replace(b'"a"', b'"a" ')):
        with pytest.raises(DamagedBackupError, match="page"):
            unseal(other, "page")


def test_a_manifest_under_another_name_or_of_another_format_is_refused(home: Home) -> None:
    name = home.back_up()
    page = home.files(name)[1]
    manifest, _ = backup_manifest.read(page)
    for lying, said in (
        (sealed_page({"format": 2}), "of format 2; this harness knows 1"),
        (sealed_page({"format": 1}), "needs the field"),
        (backup_manifest.written(replace(manifest, name="other")), "it is the manifest of other"),
    ):
        with changed(page, lying):
            assert said in home.backups.catalog().problems[0]


def test_a_backup_is_found_by_its_beginning(home: Home) -> None:
    with pytest.raises(UsageError, match="there is no verified backup"):
        home.backups.find("latest")
    name = home.back_up()
    assert home.backups.find("latest").snapshot.name == name
    assert home.backups.find(name[:-3]).snapshot.name == name
    with pytest.raises(UsageError, match=re.escape("none of this name")):
        home.backups.find("1999")
    home.back_up()
    with pytest.raises(UsageError, match="several begin with it"):
        home.backups.find("20")
    with pytest.raises(UsageError, match="none"):
        home.backups.find("")


# --- Pruned -----------------------------------------------------------------------------------------------------------
def test_what_goes_lies_in_the_trash_for_a_day(home: Home) -> None:
    names = [home.back_up(3600) for _ in range(6)]
    dry = backup_pruning.prune(home.backups, ALL, dry_run=True)
    assert dry.plan.removals == tuple(reversed(names[:3]))
    assert home.names() == names
    done = backup_pruning.prune(home.backups, ALL)
    assert (done.plan, done.removed) == (dry.plan, dry.plan.removals)
    assert home.names() == names[3:]
    folder = home.backups.folder
    assert len(list(folder.trash.iterdir())) == 6
    assert home.backups.catalog().problems == ()
    # Whoever has noticed fetches it back by hand.
    for path in folder.trash.glob(f"{names[0]}*"):
        path.rename(folder.snap / path.name)
    assert home.names() == [names[0], *names[3:]]
    assert home.backups.catalog().problems == ()
    home.clock.ahead += 2 * DAY_S
    home.back_up()
    cleared = backup_pruning.prune(home.backups, ALL).cleared
    assert {each.kind for each in cleared} == {Kind.EXPIRED}
    assert {each.name.partition(".full")[0].removesuffix(".json") for each in cleared} == {names[1], names[2]}
    assert home.backups.catalog().problems == ()


def test_what_an_interrupted_write_has_left_is_cleared_away(home: Home) -> None:
    first, second, third, _ = (home.back_up(3600) for _ in range(4))
    folder = home.backups.folder
    (folder.tmp / "half.sqlite3").touch()
    home.files(first)[1].unlink()  # data without a manifest
    durable.move(home.files(second)[1], folder.trash)  # half removed
    (folder.snap / "notes.txt").touch()
    cleared = backup_pruning.prune(home.backups, ALL).cleared
    assert sorted((each.name, each.kind) for each in cleared) == [
        (f"{first}.full.zst", Kind.UNCOMMITTED),
        (f"{second}.full.zst", Kind.HALF_REMOVED),
    ]
    assert [path.name for path in folder.quarantine.iterdir()] == [f"{first}.full.zst"]
    assert len(list(folder.trash.iterdir())) == 2
    assert (folder.snap / "notes.txt").exists()
    assert third in home.names()


def test_pins_stay_until_they_are_taken_away(home: Home) -> None:
    names = [home.back_up(3600) for _ in range(6)]
    home.backups.mark(names[0], pin="for the audit")
    assert names[0] not in backup_pruning.prune(home.backups, ALL).removed
    home.backups.mark(names[0], unpin=True)
    assert names[0] in backup_pruning.prune(home.backups, ALL, forced=True).removed


def test_a_loss_of_rows_is_suspicious_until_it_is_accepted(home: Home) -> None:
    home.back_up()
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute("DELETE FROM message")
    name = home.back_up()
    assert home.backups.figures().suspicious == 1
    assert backup_pruning.prune(home.backups, ALL).plan.suspicious == (name,)
    home.backups.mark(name, accept=True)
    assert home.backups.figures().suspicious == 0


def test_a_long_ledger_is_written_anew_without_what_is_gone(home: Home) -> None:
    names = [home.back_up(3600) for _ in range(8)]
    home.backups.drilled(names[-1], ok=True, rto_s=1.5)
    home.backups.drilled(names[-1], ok=False, rto_s=9.0)
    home.backups.mark(names[-1], pin="stays")
    backup_pruning.prune(home.backups, ALL, forced=True)
    long = home.backups.catalog().ledger.lines
    home.clock.ahead += 2 * DAY_S
    backup_pruning.prune(home.backups, ALL, lines_max=5)
    seen = home.backups.catalog()
    assert seen.problems == ()
    assert seen.ledger.lines < long - 5
    assert seen.ledger.drill_rto_s == 1.5
    assert seen.snapshots[-1].pins == ("stays",)


def test_the_rules_of_the_service_are_those_of_a_person_who_says_nothing(home: Home) -> None:
    folder = home.backups.folder
    assert backup_pruning.remembered(folder) == Rules()
    wanted = replace(Rules(), daily=99, zone="Europe/Berlin")
    backup_pruning.remember(folder, wanted)
    written = folder.policy.stat().st_mtime_ns
    backup_pruning.remember(folder, wanted)
    assert folder.policy.stat().st_mtime_ns == written
    assert backup_pruning.remembered(folder) == wanted
    assert backup_pruning.changed(wanted, {"last": 7, "daily": None}) == replace(wanted, last=7)
    with changed(folder.policy, sealed_page({"dayly": 3})), pytest.raises(BackupError, match="dayly"):
        backup_pruning.remembered(folder)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (Rules(last=0, hourly=0, daily=0, weekly=0, monthly=0), "keeps nothing"),
        (Rules(last=-1), "last must be"),
        (Rules(quota_bytes=-1), "quota_bytes"),
        (Rules(zone="Europe/Nowhere"), "'Europe/Nowhere' is not known"),
    ],
)
def test_rules_that_cannot_be_are_refused_before_anything_is_moved(home: Home, rules: Rules, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        backup_pruning.prune(home.backups, rules)


# --- Put back ---------------------------------------------------------------------------------------------------------
def test_restoring_brings_back_what_was_and_keeps_what_is(home: Home) -> None:
    name = home.back_up()
    home.say(5)
    done = backup_restore.restore(home.backups, name, home.database)
    assert home.rows() == 20
    safety = home.backups.find(done.before)
    assert safety.snapshot.pins == ("before a restore",)
    assert safety.manifest is not None
    assert (safety.manifest.reason, safety.manifest.tables["message"]) == ("pre-restore", 25)
    backup_restore.restore(home.backups, done.before, home.database)
    assert home.rows() == 25


def die_with_a_wal(home: Home) -> None:
    """Delete every message as a service would that is killed right after: it stands in the WAL only."""
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA wal_autocheckpoint = 0');"
        "c.execute('DELETE FROM message'); c.commit(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(home.database)], check=False)
    assert home.database.with_name(f"{FILE_NAME}-wal").stat().st_size > 0


@pytest.mark.parametrize("there", [True, False], ids=["over a database", "where only its WAL is left"])
def test_the_wal_of_another_database_does_not_change_what_was_restored(home: Home, *, there: bool) -> None:
    name = home.back_up()
    die_with_a_wal(home)
    if not there:
        home.database.unlink()
    assert bool(backup_restore.restore(home.backups, name, home.database).before) is there
    assert not list(home.database.parent.glob("*-wal"))
    assert home.rows() == 20


def test_a_database_that_is_past_reading_is_put_aside(home: Home) -> None:
    name = home.back_up()
    home.database.write_bytes(b"no database at all, not any more" * 300)
    home.database.chmod(0o640)
    before = Path(backup_restore.restore(home.backups, name, home.database).before)
    assert before.read_bytes().startswith(b"no database")
    assert home.rows() == 20
    assert home.database.stat().st_mode & 0o777 == 0o640


def test_a_damaged_backup_is_not_put_in_the_place_of_anything(home: Home) -> None:
    name = home.back_up()
    home.say(5)
    data, _ = home.files(name)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 4
    with changed(data, bytes(content)), pytest.raises(DamagedBackupError):
        backup_restore.restore(home.backups, name, home.database)
    assert home.rows() == 25
    assert not list(home.database.parent.glob("*restoring*"))


def test_a_backup_of_a_newer_store_is_refused(home: Home) -> None:
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("PRAGMA user_version = 999")
    name = home.back_up()
    with pytest.raises(BackupError, match="of store version 999"):
        backup_restore.restore(home.backups, name, home.database)


def test_a_database_that_somebody_reads_is_not_taken_away(home: Home) -> None:
    name = home.back_up()
    home.say(1)
    with closing(sqlite3.connect(home.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()
        home.say(1)
        with pytest.raises(BackupError, match=r"somebody else has it open|locked"):
            backup_restore.restore(home.backups, name, home.database)
    assert home.rows() == 22
