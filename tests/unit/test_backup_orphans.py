"""What lies about in a folder of backups, and what may be done about it."""

from __future__ import annotations

import pytest

from harness.services.backup_orphans import Kind, Orphan, Places, Remedy, find_orphans

A, B = "20261122T120000.000Z-0123abcd", "20261122T130000.000Z-89ab4567"
NOW, DAY = 1_000_000.0, 86_400.0
NOTHING: dict[str, float] = {}


def places(
    *snap: str,
    tmp: tuple[str, ...] = (),
    trash: dict[str, float] = NOTHING,
    quarantine: dict[str, float] = NOTHING,
    expected: tuple[str, ...] = (),
) -> Places:
    return Places(
        snap=frozenset(snap), tmp=frozenset(tmp), trash=trash, quarantine=quarantine, expected=frozenset(expected)
    )


@pytest.mark.parametrize(
    ("there", "found", "remedy"),
    [
        pytest.param(places(), None, None, id="nothing at all"),
        pytest.param(places(f"{A}.full.zst", f"{A}.json", expected=(A,)), None, None, id="a whole backup"),
        pytest.param(
            places(f"{A}.full.zst"), ("snap", f"{A}.full.zst", Kind.UNCOMMITTED), Remedy.QUARANTINE, id="data"
        ),
        pytest.param(places(f"{A}.json"), ("snap", f"{A}.json", Kind.LOST), Remedy.ALERT, id="manifest without data"),
        pytest.param(
            places(f"{A}.full.zst", trash={f"{A}.json": NOW}),
            ("snap", f"{A}.full.zst", Kind.HALF_REMOVED),
            Remedy.TRASH,
            id="half removed",
        ),
        pytest.param(places(expected=(A,)), ("snap", A, Kind.VANISHED), Remedy.ALERT, id="gone without a trace"),
        pytest.param(places(expected=(A,), trash={f"{A}.json": NOW}), None, None, id="gone into the bin"),
        pytest.param(places("notes.txt"), ("snap", "notes.txt", Kind.FOREIGN), Remedy.LEAVE, id="somebody's notes"),
        pytest.param(places(f"{A}.txt"), ("snap", f"{A}.txt", Kind.FOREIGN), Remedy.LEAVE, id="almost ours"),
        pytest.param(places("x.json"), ("snap", "x.json", Kind.FOREIGN), Remedy.LEAVE, id="somebody's manifest"),
        pytest.param(places(tmp=("x.sqlite3",)), ("tmp", "x.sqlite3", Kind.UNFINISHED), Remedy.DELETE, id="unfinished"),
        pytest.param(
            places(trash={f"{A}.json": NOW - DAY}),
            ("trash", f"{A}.json", Kind.EXPIRED),
            Remedy.DELETE,
            id="a day in the bin",
        ),
        pytest.param(places(trash={f"{A}.json": NOW - DAY + 1}), None, None, id="not quite a day"),
        pytest.param(places(trash={f"{A}.json": NOW + DAY}), None, None, id="from the future: stays"),
        pytest.param(
            places(quarantine={f"{A}.full.zst": NOW - 2 * DAY}),
            ("quarantine", f"{A}.full.zst", Kind.EXPIRED),
            Remedy.DELETE,
            id="nobody has claimed it",
        ),
        pytest.param(
            places(trash={"mine": 0.0}), ("trash", "mine", Kind.FOREIGN), Remedy.LEAVE, id="not ours, however old"
        ),
    ],
)
def test_what_is_found(there: Places, found: tuple[str, str, Kind] | None, remedy: Remedy | None) -> None:
    orphans = find_orphans(there, NOW, DAY)
    assert orphans == (() if found is None else (Orphan(*found),))
    assert [each.remedy for each in orphans] == ([] if remedy is None else [remedy])


def test_all_are_named_in_order() -> None:
    there = places(f"{B}.full.zst", f"{A}.full.zst", tmp=("z", "a"))
    assert [each.name for each in find_orphans(there, NOW, DAY)] == [f"{A}.full.zst", f"{B}.full.zst", "a", "z"]


@pytest.mark.parametrize(
    ("now", "keep_s"), [(float("nan"), 1.0), (0.0, -1.0), (0.0, float("nan")), (0.0, float("inf"))]
)
def test_times_that_are_no_numbers_are_refused(now: float, keep_s: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        find_orphans(places(), now, keep_s)
