"""The file of history: what is written is read, what is broken is put aside, what is too much goes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harness.adapters.series_store import DAY_S, FILE_NAME, SeriesLimits, SeriesStore
from harness.core.families import FAMILIES
from harness.core.histogram import Histogram
from harness.core.point import HOURS, MINUTES, Point, Row
from harness.core.series import Family, Labels
from harness.errors import StoreError

TURNS, REPLY = FAMILIES["chat_turns_total"], FAMILIES["chat_reply_seconds"]
DONE: Labels = (("bot", "echo"), ("outcome", "done"))
ECHO: Labels = (("bot", "echo"),)
NOW = 1_800_000_000


def turns(ts: int, total: float = 3.0, tier: int = MINUTES) -> Row:
    return Row(TURNS, DONE, tier, ts, Point(60, total, 0.0, 1.0, 0.5))


def reply(ts: int) -> Row:
    return Row(REPLY, ECHO, MINUTES, ts, Point(60, 2.0, 0.0, 1.0, 0.0, Histogram([0.25, 0.5])))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


def test_what_is_written_is_read_after_a_restart(path: Path) -> None:
    with closing(SeriesStore(path, FAMILIES)) as store:
        store.write([turns(NOW), reply(NOW), turns(NOW + 60, 4.0), turns(NOW, 9.0, HOURS)])
        store.write([turns(NOW + 60, 5.0)])
    with closing(SeriesStore(path, FAMILIES)) as store:
        assert store.read(MINUTES, NOW, NOW + 60) == [turns(NOW), turns(NOW + 60, 5.0), reply(NOW)]
        assert store.read(MINUTES, NOW + 1, NOW + 60) == [turns(NOW + 60, 5.0)]
        assert store.read(MINUTES, NOW, NOW, "chat_reply_seconds") == [reply(NOW)]
        assert store.read(HOURS, NOW, NOW) == [turns(NOW, 9.0, HOURS)]
        assert store.series("chat_turns_total") == 1
        assert store.series("chat_sockets") == 0
        assert store.told == ""


def test_a_group_of_rows_is_written_whole_or_not_at_all(path: Path) -> None:
    broken = Row(TURNS, DONE, MINUTES, NOW, Point(60, float("nan"), 0.0, 1.0, 0.5))  # SQLite has no NaN: NOT NULL.
    with closing(SeriesStore(path, FAMILIES)) as store:
        with pytest.raises(StoreError, match=r"series\.sqlite3: no history: NOT NULL"):
            store.write([turns(NOW), broken])
        assert store.read(MINUTES, 0, NOW) == []
        store.write([turns(NOW)])
        assert store.read(MINUTES, 0, NOW) == [turns(NOW)]


def test_a_family_that_is_not_known_any_more_is_left_where_it_is(path: Path) -> None:
    with closing(SeriesStore(path, FAMILIES)) as store:
        store.write([turns(NOW)])
    with closing(SeriesStore(path, {})) as store:
        assert store.read(MINUTES, 0, NOW) == []
    gauge = Family(name="chat_turns_total", kind="counter", help="Turns.")
    with closing(SeriesStore(path, {"chat_turns_total": gauge})) as store:
        assert len(store.read(MINUTES, 0, NOW)) == 1


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4_000])
def test_a_broken_file_is_put_aside_and_history_begins_anew(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    with closing(SeriesStore(path, FAMILIES)) as store:
        assert "it is now series.sqlite3.broken, and history begins anew" in store.told
        store.write([turns(NOW)])
        assert store.read(MINUTES, 0, NOW) == [turns(NOW)]
    assert path.with_name("series.sqlite3.broken").read_bytes() == damage


def test_a_file_that_breaks_while_it_is_open_is_put_aside_too(path: Path) -> None:
    with closing(SeriesStore(path, FAMILIES)) as store:
        store.write([turns(NOW + 60 * minute) for minute in range(2_000)])
    damaged = bytearray(path.read_bytes())
    damaged[16_384:] = b"\xff" * (len(damaged) - 16_384)  # Behind the tables' names, which are read at the start.
    path.write_bytes(damaged)
    with closing(SeriesStore(path, FAMILIES)) as store:
        with pytest.raises(StoreError, match="history begins anew"):
            store.write([turns(NOW)])
        store.write([turns(NOW)])
        assert store.read(MINUTES, 0, NOW) == [turns(NOW)]


def test_a_histogram_that_is_none_is_left_out(path: Path) -> None:
    with closing(SeriesStore(path, FAMILIES)) as store:
        store.write([turns(NOW), reply(NOW)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE histogram SET counts = x'00'")
    with closing(SeriesStore(path, FAMILIES)) as store:
        assert store.read(MINUTES, 0, NOW) == [turns(NOW)]
        assert "chat_reply_seconds" in store.told


def test_a_newer_file_is_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer harness"):
        SeriesStore(path, FAMILIES)
    assert not path.with_name("series.sqlite3.broken").exists()


def test_a_place_that_cannot_be_written_is_one_line(path: Path) -> None:
    with pytest.raises(StoreError, match="no history: unable to open"):
        SeriesStore(path / "deeper" / "x", FAMILIES)


def test_each_tier_goes_when_its_time_is_over(path: Path) -> None:
    limits = SeriesLimits(minutes_days=2, hours_days=5)
    old, older = NOW - 3 * DAY_S, NOW - 6 * DAY_S
    with closing(SeriesStore(path, FAMILIES, limits)) as store:
        store.write([turns(ts, tier=tier) for ts in (NOW, old, older) for tier in (MINUTES, HOURS)])
        store.write([Row(REPLY, ECHO, MINUTES, older, reply(older).point)])
        store.prune(NOW)
        assert [row.ts for row in store.read(MINUTES, 0, NOW)] == [NOW]
        assert [row.ts for row in store.read(HOURS, 0, NOW)] == [old, NOW]
        assert (store.series("chat_turns_total"), store.series("chat_reply_seconds")) == (1, 0)
        store.write([reply(NOW)])
        assert store.read(MINUTES, NOW, NOW, "chat_reply_seconds") == [reply(NOW)]


def test_over_the_quota_the_oldest_minutes_go_first(path: Path) -> None:
    limits = SeriesLimits(bytes_max=1_048_576)
    with closing(SeriesStore(path, FAMILIES, limits)) as store:
        begin = NOW - 10 * DAY_S
        rows = [
            Row(TURNS, (("bot", "echo"), ("outcome", str(number))), MINUTES, begin + 600 * step, turns(0).point)
            for number in range(30)
            for step in range(1_440)
        ]
        store.write([*rows, *(turns(begin + 3_600 * hour, tier=HOURS) for hour in range(240))])
        assert store.bytes_used() > limits.bytes_max
        store.prune(NOW)
        assert store.bytes_used() <= limits.bytes_max
        left = [row.ts for row in store.read(MINUTES, 0, NOW)]
        assert max(left) == begin + 600 * 1_439
        assert min(left) > begin
        assert len(store.read(HOURS, 0, NOW)) == 240
        assert "over 1,048,576 bytes" in store.told


@pytest.mark.parametrize("words", [{"minutes_days": 0}, {"minutes_days": 9, "hours_days": 8}, {"bytes_max": 5}])
def test_limits_that_keep_nothing_are_refused(words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SeriesLimits(**words)
