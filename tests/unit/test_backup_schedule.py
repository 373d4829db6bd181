"""When the next backup is due, and which one is to be read again."""

from __future__ import annotations

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.backups import BackupFigures, Snapshot, State
from harness.core.families import FAMILIES
from harness.services.backup_schedule import Reading, ScheduleConfig, due_in_s, next_reading

HOUR, DAY = 3600.0, 86_400.0
CONFIG = ScheduleConfig(every_s=HOUR)
NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("newest", "since", "failed", "failures", "wait_s"),
    [
        pytest.param(None, NOW, None, 0, HOUR, id="nothing to lose yet"),
        pytest.param(None, NOW - 3000, None, 0, 600, id="something to lose for 50 minutes"),
        pytest.param(None, NOW - DAY, None, 0, 0, id="something to lose for a day"),
        pytest.param(NOW - 600, NOW - DAY, None, 0, 3000, id="10 minutes after the last"),
        pytest.param(NOW - DAY, NOW - DAY, None, 0, 0, id="after a long sleep: one, at once"),
        pytest.param(NOW - DAY, NOW - DAY, NOW - 10, 1, 50, id="a minute after a failure"),
        pytest.param(NOW - DAY, NOW - DAY, NOW - 10, 3, 230, id="four minutes after the third"),
        pytest.param(NOW - DAY, NOW - DAY, NOW - 10, 10**9, HOUR - 10, id="an hour after very many"),
        pytest.param(NOW - DAY, NOW - DAY, NOW + 10 * DAY, 1, HOUR, id="a failure in the future does not block"),
        pytest.param(NOW + 300, NOW - DAY, None, 0, HOUR, id="a little ahead counts"),
        pytest.param(NOW + 301, NOW - DAY, None, 0, 0, id="far ahead does not: the clock has jumped"),
        pytest.param(None, NOW + DAY, None, 0, HOUR, id="never longer than one pause"),
        pytest.param(NOW - 600, NOW, None, 3, 3000, id="failures without a time are over"),
    ],
)
def test_when_the_next_is_due(
    newest: float | None, since: float, failed: float | None, failures: int, wait_s: float
) -> None:
    assert due_in_s(NOW, newest, since, failed, failures, CONFIG) == wait_s


MOMENTS = st.floats(-1e12, 1e12)


@given(MOMENTS, st.none() | MOMENTS, MOMENTS, st.none() | MOMENTS, st.integers(0, 10**6))
def test_it_is_always_due_within_one_pause(
    now: float, newest: float | None, since: float, failed: float | None, failures: int
) -> None:
    assert 0 <= due_in_s(now, newest, since, failed, failures, CONFIG) <= HOUR


@pytest.mark.parametrize(
    "moments",
    [(float("nan"), None, 0.0, None, 0), (0.0, float("inf"), 0.0, None, 0), (0.0, None, 0.0, None, -1)],
)
def test_times_that_are_no_numbers_are_refused(
    moments: tuple[float, float | None, float, float | None, int],
) -> None:
    with pytest.raises(ValueError, match="finite"):
        due_in_s(*moments, CONFIG)
    with pytest.raises(ValueError, match="finite"):
        next_reading([], float("nan"), CONFIG)


@pytest.mark.parametrize("name", ["every_s", "retry_min_s", "read_every_s", "prove_every_s", "ahead_max_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_schedule_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        ScheduleConfig(**{name: value})


def made(
    name: str, ago_s: float, read: float | None = None, proved: float | None = None, state: State = "verified"
) -> Snapshot:
    def at(ago: float | None) -> float | None:
        return None if ago is None else NOW - ago

    return Snapshot(name=name, at=NOW - ago_s, read_at=at(read), proved_at=at(proved), state=state)


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        pytest.param([], None, id="nothing there"),
        pytest.param([made("a", 0, read=0)], Reading("a", 3), id="never proved"),
        pytest.param([made("b", 0), made("a", 9, 9, 9)], Reading("b", 2), id="one is proved, one was never read"),
        pytest.param([made("b", 0, 0), made("a", DAY, DAY, DAY)], Reading("b", 3), id="proved a day ago: the newest"),
        pytest.param([made("b", 0, 0), made("a", 9, 9, -301)], Reading("b", 3), id="proved in the future"),
        pytest.param([made("b", 0, 0, 0), made("a", 8 * DAY, 8 * DAY)], Reading("a", 2), id="not read for a week"),
        pytest.param([made("b", 0, 0, 0), made("a", 8 * DAY, 6 * DAY)], None, id="all is well"),
        pytest.param([made("b", 0, state="damaged")], None, id="what is damaged is known to be"),
        pytest.param(
            [made("c", 0, 0, 0), made("b", 9 * DAY, 8 * DAY), made("a", 20 * DAY, 9 * DAY)],
            Reading("a", 2),
            id="the one that was read longest ago",
        ),
    ],
)
def test_what_is_to_be_read_again(seen: list[Snapshot], wanted: Reading | None) -> None:
    assert next_reading(seen, NOW, CONFIG) == wanted


def test_every_backup_gets_its_turn() -> None:
    seen = {name: made(name, DAY * number) for number, name in enumerate("abcdefg")}
    order = []
    while (reading := next_reading(seen.values(), NOW, CONFIG)) is not None:
        order.append(reading.name)
        seen[reading.name] = made(reading.name, 0, read=0, proved=0 if reading.level == 3 else None)
    assert sorted(order) == sorted(seen)


def test_what_is_not_known_is_no_number() -> None:
    unknown = {name for name, value in BackupFigures().readings(100.0).items() if isnan(value)}
    assert unknown == {
        "chat_backup_newest_verified_timestamp_seconds",
        "chat_backup_newest_verified_bytes",
        "chat_backup_age_seconds",
        "chat_backup_run_seconds",
        "chat_backup_drill_rto_seconds",
    }
    known = BackupFigures(newest_verified_at=60.0, oldest_at=10.0, drill_rto_s=0.5, runs=3, failures=1).readings(100.0)
    assert not any(map(isnan, known.values()))
    assert known["chat_backup_age_seconds"] == 40.0
    assert BackupFigures(oldest_at=10.0).readings(100.0)["chat_backup_age_seconds"] == 90.0
    assert BackupFigures(newest_verified_at=60.0).readings(0.0)["chat_backup_age_seconds"] == 0.0


def test_every_metric_of_backups_is_declared() -> None:
    declared = {name for name in FAMILIES if name.startswith("chat_backup")}
    assert set(BackupFigures().readings(0.0)) == declared
