"""Which backups stay, which go, and when nothing may go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.core.backups import Snapshot, State
from harness.services.backup_rotation import Guards, Plan, Policy, find_suspicious, kept_by_policy, plan

HOUR, DAY = 3600.0, 86_400.0
NOON = datetime(2026, 3, 18, 12, tzinfo=UTC).timestamp()  # a Wednesday
FREE = Guards(verified_min=1, removed_share_max=1.0)
"""Guards that stand back, for tests of something else."""


def utc(_: float) -> float:
    return 0.0


def berlin(at: float) -> float:
    ahead = datetime.fromtimestamp(at, ZoneInfo("Europe/Berlin")).utcoffset()
    assert ahead is not None
    return ahead.total_seconds()


def made(name: str, ago_s: float = 0.0, *, state: State = "verified", rows: int = 100, size: int = 10) -> Snapshot:
    return Snapshot(name=name, at=NOON - ago_s, state=state, rows=rows, raw_bytes=1000, stored_bytes=size)


def hourly(count: int) -> list[Snapshot]:
    return [made(f"h{number:02}", number * HOUR) for number in range(count)]


def why(done: Plan, name: str) -> tuple[str, ...]:
    return next(each.reasons for each in done.decisions if each.name == name)


def kept(done: Plan) -> set[str]:
    return {each.name for each in done.decisions if each.keep}


# --- The policy -------------------------------------------------------------------------------------------------------
def naive(times: list[float], policy: Policy, now: float, zone: ZoneInfo | None) -> list[set[str]]:
    """The same rules, told by a real calendar, one period after the other."""
    local = [datetime.fromtimestamp(at, zone or UTC).replace(tzinfo=None) for at in times]
    labels: dict[str, Callable[[datetime], object]] = {
        "hourly": lambda t: (t.year, t.month, t.day, t.hour),
        "daily": lambda t: (t.year, t.month, t.day),
        "weekly": lambda t: t.isocalendar()[:2],
        "monthly": lambda t: (t.year, t.month),
        "yearly": lambda t: t.year,
    }
    found: list[set[str]] = [set() for _ in times]
    for name, label in labels.items():
        count = getattr(policy, name)
        firsts = [i for i, t in enumerate(local) if i == 0 or label(t) != label(local[i - 1])]
        chosen = firsts[:count]
        if len(firsts) < count and times and len(times) - 1 not in chosen:
            chosen.append(len(times) - 1)
        for i in chosen:
            found[i].add(name)
    for i in range(min(policy.last, len(times))):
        found[i].add("last")
    past = [at for at in times if at <= now]
    for i, at in enumerate(times):
        if policy.within_s and (not past or at > max(past) - policy.within_s):
            found[i].add("within")
    return found


COUNTS = st.integers(0, 6)
POLICIES = st.builds(
    Policy,
    last=st.integers(1, 4),
    hourly=COUNTS,
    daily=COUNTS,
    weekly=COUNTS,
    monthly=COUNTS,
    yearly=COUNTS,
    within_s=st.sampled_from([0.0, 5 * DAY, 40 * DAY]),
)
TIMES = st.lists(st.integers(0, 4 * 366 * 24 * 4).map(lambda quarter: NOON - quarter * 900.0), max_size=40, unique=True)


@settings(max_examples=300, deadline=None)
@given(TIMES, POLICIES, st.sampled_from([0.0, 100 * DAY]), st.sampled_from([None, "Europe/Berlin"]))
def test_the_rules_agree_with_a_real_calendar(
    times: list[float], policy: Policy, back_s: float, zone: str | None
) -> None:
    times.sort(reverse=True)
    place = None if zone is None else ZoneInfo(zone)
    ours = kept_by_policy(times, policy, NOON - back_s, utc if zone is None else berlin)
    assert [set(each) for each in ours] == naive(times, policy, NOON - back_s, place)


@pytest.mark.parametrize("year", [1970, 1999, 2000, 2024, 2025, 2100])
def test_a_year_has_12_months_and_52_or_53_weeks(year: int) -> None:
    first = datetime(year, 1, 1, tzinfo=UTC)
    noons = [(first + timedelta(days=day, hours=12)).timestamp() for day in range(366)]
    noons = [at for at in noons if datetime.fromtimestamp(at, UTC).year == year][::-1]
    reasons = kept_by_policy(noons, Policy(weekly=99, monthly=99, yearly=99), noons[0], utc)
    monthly = [at for at, each in zip(noons, reasons, strict=True) if "monthly" in each]
    assert [datetime.fromtimestamp(at, UTC).month for at in monthly][:12] == list(range(12, 0, -1))
    assert [at for at, each in zip(noons, reasons, strict=True) if "yearly" in each] == [noons[0], noons[-1]]
    assert sum("weekly" in each for each in reasons) in (53, 54)  # the oldest counts beside its week


def test_what_is_exactly_as_old_as_within_says_goes() -> None:
    reasons = kept_by_policy([NOON, NOON - 59, NOON - 60], Policy(within_s=60), NOON, utc)
    assert reasons == [["within"], ["within"], []]


def test_before_1970_there_were_hours_too() -> None:
    times = [-1.0, -HOUR, -HOUR - 1, -2 * HOUR]
    reasons = kept_by_policy(times, Policy(hourly=2), 0.0, utc)
    assert [bool(each) for each in reasons] == [True, False, True, False]


def test_a_local_day_begins_at_local_midnight() -> None:
    times = [datetime(2026, 3, 17, 23, 30, tzinfo=UTC).timestamp(), datetime(2026, 3, 17, 22, tzinfo=UTC).timestamp()]
    assert sum(map(bool, kept_by_policy(times, Policy(daily=1), NOON, utc))) == 1
    both = kept_by_policy(times, Policy(daily=2), NOON, berlin)  # 00:30 of the 18th, 23:00 of the 17th
    assert both == [["daily"], ["daily"]]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "keeps nothing"),
        ({"last": 0, "within_s": 0.0}, "keeps nothing"),
        ({"daily": -1}, "daily must be a number from 0 up, got -1"),
        ({"last": float("nan")}, "last must be a number from 0 up"),
        ({"within_s": float("inf")}, "within_s must be"),
        ({"weekly": 1.5}, "weekly must be a whole number"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Policy(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"verified_min": 0}, "verified_min"),
        ({"removed_share_max": 1.5}, "removed_share_max"),
        ({"fall_max": float("nan")}, "fall_max"),
        ({"interval_s": -1.0}, "interval_s"),
        ({"ahead_max_s": float("inf")}, "ahead_max_s"),
        ({"quota_bytes": -1}, "quota_bytes"),
    ],
)
def test_guards_that_cannot_be_are_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Guards(**fields)  # type: ignore[arg-type]


# --- The guards -------------------------------------------------------------------------------------------------------
def test_every_decision_has_a_reason() -> None:
    done = plan(hourly(6), Policy(last=2), FREE, NOON, utc)
    assert [(each.name, each.keep, each.reasons) for each in done.decisions] == [
        ("h00", True, ("last", "newest verified")),
        ("h01", True, ("last",)),
        *((f"h0{number}", False, ("no rule keeps it",)) for number in range(2, 6)),
    ]
    assert done.removals == ("h02", "h03", "h04", "h05")


def test_only_what_was_verified_fills_a_place() -> None:
    seen = [made("new", state="unverified"), made("bad", HOUR, state="damaged"), *hourly(5)[2:]]
    done = plan(seen, Policy(last=1), FREE, NOON, utc)
    assert kept(done) == {"new", "bad", "h02"}
    assert why(done, "new") == ("not verified yet",)
    assert why(done, "bad") == ("damaged, and nothing better is newer",)


def test_a_damaged_one_goes_when_enough_newer_ones_are_good() -> None:
    seen = [*hourly(3), made("bad", 5 * HOUR, state="damaged")]
    assert kept(plan(seen, Policy(last=1), replace(FREE, verified_min=3), NOON, utc)) == {"h00", "h01", "h02"}
    done = plan(seen, Policy(last=1), replace(FREE, verified_min=4), NOON, utc)
    assert "bad" in kept(done)
    assert why(plan(seen, Policy(last=1), FREE, NOON, utc), "bad") == ("damaged, and there are enough newer ones",)


def test_the_newest_verified_ones_stay_whatever_the_policy_says() -> None:
    done = plan(hourly(5), Policy(last=1), replace(FREE, verified_min=3), NOON, utc)
    assert kept(done) == {"h00", "h01", "h02"}
    assert why(done, "h02") == ("newest verified",)


def test_what_others_need_stays_down_the_chain() -> None:
    seen = hourly(5)
    seen[0] = replace(seen[0], base="h03")
    seen[3] = replace(seen[3], base="h04")
    seen[1] = replace(seen[1], base="gone")
    done = plan(seen, Policy(last=2), FREE, NOON, utc)
    assert kept(done) == {"h00", "h01", "h03", "h04"}
    assert why(done, "h04") == ("base of a kept backup",)


def test_a_base_is_named_once_however_many_need_it() -> None:
    seen = [replace(each, base="h03") if each.name < "h03" else each for each in hourly(4)]
    assert why(plan(seen, Policy(last=3), FREE, NOON, utc), "h03") == ("base of a kept backup",)


def test_pins_stay_and_say_why() -> None:
    seen = hourly(4)
    seen[3] = replace(seen[3], pins=("for the audit", "before 2.0"))
    assert why(plan(seen, Policy(last=1), FREE, NOON, utc), "h03") == ("pinned: for the audit, before 2.0",)


def test_mass_deletion_is_refused_until_it_is_forced() -> None:
    guards = Guards(verified_min=1)
    done = plan(hourly(10), Policy(last=4), guards, NOON, utc)
    assert done.removals == ()
    assert "6 of 10 backups would go" in done.refusal
    assert sum(not each.keep for each in done.decisions) == 6
    assert len(plan(hourly(10), Policy(last=4), guards, NOON, utc, forced=True).removals) == 6
    assert len(plan(hourly(10), Policy(last=5), guards, NOON, utc).removals) == 5


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NOON - 301, "301 s in the future: the clock has jumped"),
        (NOON + 2 * HOUR + 1, "7201 s old, and one is due every 3600 s"),
    ],
)
def test_nothing_goes_when_the_clock_or_the_backups_have_stopped_making_sense(now: float, said: str) -> None:
    guards = replace(FREE, interval_s=HOUR)
    done = plan(hourly(10), Policy(last=8), guards, now, utc)
    assert said in done.refusal
    assert done.removals == ()
    assert plan(hourly(10), Policy(last=8), guards, now, utc, forced=True).removals


def test_a_little_ahead_and_a_little_late_are_fine() -> None:
    for now in (NOON - 300, NOON + 2 * HOUR):
        assert plan(hourly(10), Policy(last=8), replace(FREE, interval_s=HOUR), now, utc).refusal == ""
    assert plan(hourly(10), Policy(last=8), FREE, NOON + 1000 * DAY, utc).refusal == ""  # no interval, no lateness


@pytest.mark.parametrize("now", [float("nan"), float("inf")])
def test_a_time_that_is_no_number_is_refused(now: float) -> None:
    with pytest.raises(ValueError, match="now must be a finite number"):
        plan(hourly(2), Policy(last=1), FREE, now, utc)


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        plan([made("a"), made("a", 1)], Policy(last=1), FREE, NOON, utc)


def test_nothing_at_all_is_no_reason_to_complain() -> None:
    assert plan([], Policy(last=1), Guards(interval_s=1.0), NOON, utc) == Plan(decisions=())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "needs a name"),
        ({"at": float("nan")}, "finite"),
        ({"rows": -1}, "negative"),
        ({"state": "fine"}, "must be one of verified, unverified, damaged, got 'fine'"),
    ],
)
def test_a_backup_that_cannot_be_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(made("a"), **fields)  # type: ignore[arg-type]


# --- Suspicious -------------------------------------------------------------------------------------------------------
def test_a_sudden_loss_is_suspicious_until_somebody_accepts_it() -> None:
    good, lost, after = made("a", 3), made("b", 2, rows=69), made("c", 1, rows=69)
    assert find_suspicious([good, lost, after], 0.3) == {"b", "c"}
    assert find_suspicious([good, replace(lost, rows=70)], 0.3) == frozenset()
    assert find_suspicious([good, replace(lost, rows=100, raw_bytes=699)], 0.3) == {"b"}
    assert find_suspicious([good, replace(lost, accepted=True), after], 0.3) == frozenset()


def test_only_what_was_verified_is_compared_with() -> None:
    many = made("a", 3, rows=1000, state="unverified")
    broken = made("b", 2, rows=1, state="damaged")
    assert find_suspicious([many, broken, made("c", 1)], 0.3) == frozenset()


def test_junk_does_not_push_out_what_is_good() -> None:
    good = hourly(5)
    junk = [replace(made(f"j{number:02}", -number * 60.0, rows=3)) for number in range(1, 30)]
    done = plan([*good, *junk], Policy(last=5), FREE, NOON + HOUR, utc)
    assert kept(done) >= {each.name for each in good}
    assert sum(name.startswith("j") for name in kept(done)) == 5, "thinned among themselves: no growth without end"
    assert set(done.suspicious) == {each.name for each in junk}
    assert "newest suspicious" in why(done, "j29")


# --- The quota --------------------------------------------------------------------------------------------------------
def test_over_the_quota_the_least_valuable_go_first_and_the_oldest_of_them() -> None:
    seen = [made(f"d{number:02}", number * DAY) for number in range(5)]
    guards = replace(FREE, quota_bytes=30)
    done = plan(seen, Policy(last=4, daily=2, monthly=1), guards, NOON, utc)
    assert kept(done) == {"d00", "d01", "d02"}
    assert why(done, "d03") == ("last", "over the quota")
    assert why(done, "d04") == ("no rule keeps it",)
    # A month is worth more than a day.
    seen.append(made("m1", 40 * DAY))
    done = plan(seen, Policy(last=4, monthly=2), guards, NOON, utc)
    assert kept(done) == {"d00", "m1", "d01"}


def test_what_is_guarded_stays_and_what_is_too_much_is_said() -> None:
    guards = replace(FREE, verified_min=3, quota_bytes=15)
    done = plan(hourly(5), Policy(last=5), guards, NOON, utc)
    assert kept(done) == {"h00", "h01", "h02"}
    assert done.over_quota_bytes == 15


def test_over_the_quota_a_base_goes_only_after_what_needs_it() -> None:
    seen = hourly(4)
    seen[1] = replace(seen[1], base="h03")
    done = plan(seen, Policy(last=2), replace(FREE, quota_bytes=10), NOON, utc)
    assert kept(done) == {"h00"}
    done = plan(seen, Policy(last=2), replace(FREE, verified_min=2, quota_bytes=10), NOON, utc)
    assert kept(done) == {"h00", "h01", "h03"}
    assert done.over_quota_bytes == 20


def test_over_the_quota_the_suspicious_go_before_the_good() -> None:
    seen = [*hourly(3), made("j1", -60, rows=3), made("j2", -120, rows=3)]
    done = plan(seen, Policy(last=3), replace(FREE, quota_bytes=40), NOON + HOUR, utc)
    assert kept(done) == {"h00", "h01", "h02", "j2"}


# --- Everything at once -----------------------------------------------------------------------------------------------
class Life(RuleBasedStateMachine):
    """Backups are made, verified, lost and pruned while the clock does what clocks do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.all: dict[str, Snapshot] = {}
        self.rows = 1000
        self.number = 0

    @rule(wait_s=st.sampled_from([60.0, 1800.0, HOUR, 7 * HOUR, DAY, 20 * DAY, -600.0, -DAY]))
    def clock(self, wait_s: float) -> None:
        self.now += wait_s

    @rule(grow=st.sampled_from([0, 10, 100, -900]), base=st.booleans(), pin=st.integers(0, 9))
    def create(self, grow: int, *, base: bool, pin: int) -> None:
        self.number += 1
        self.rows = max(10, self.rows + grow)
        fulls = [each.name for each in self.all.values() if not each.base]
        self.all[f"b{self.number}"] = Snapshot(
            name=f"b{self.number}",
            at=self.now,
            stored_bytes=10 + self.number % 7,
            raw_bytes=100_000,
            rows=self.rows,
            base=fulls[-1] if base and fulls else "",
            pins=("why",) if pin == 0 else (),
        )

    @precondition(lambda self: self.all)
    @rule(data=st.data(), state=st.sampled_from(["verified", "verified", "verified", "damaged"]))
    def verify(self, data: st.DataObject, state: State) -> None:
        name = data.draw(st.sampled_from(sorted(self.all)))
        self.all[name] = replace(self.all[name], state=state)

    @rule(policy=POLICIES, quota=st.sampled_from([0, 60, 200]), forced=st.booleans(), least=st.integers(1, 3))
    def prune(self, policy: Policy, quota: int, *, forced: bool, least: int) -> None:
        guards = Guards(verified_min=least, interval_s=HOUR, quota_bytes=quota)
        before = dict(self.all)
        done = plan(before.values(), policy, guards, self.now, berlin, forced=forced)
        assert plan(before.values(), policy, guards, self.now, berlin, forced=forced) == done
        assert {each.name for each in done.decisions} == set(before)
        assert all(each.reasons for each in done.decisions)
        for name in done.removals:
            del self.all[name]
        suspicious = set(done.suspicious)
        trusted = [each for each in before.values() if each.state == "verified" and each.name not in suspicious]
        trusted.sort(key=lambda each: (each.at, each.name))
        assert {each.name for each in trusted[-least:]} <= set(self.all), "the newest verified ones stay"
        assert all(name in self.all for name, each in before.items() if each.pins or each.state == "unverified")
        assert all(each.base in self.all for each in self.all.values() if each.base in before)
        if not forced:
            assert 2 * len(done.removals) <= len(before)
            newest = max((each.at for each in before.values()), default=self.now)
            if newest > self.now + 300 or newest < self.now - 2 * HOUR:
                assert not done.removals
        if quota and not done.refusal:
            left = sum(each.stored_bytes for each in self.all.values())
            assert left <= quota + done.over_quota_bytes
        if not quota:
            assert kept(done) == wanted(before, suspicious, policy, least, self.now)

    @invariant()
    def suspicion_follows_the_rows(self) -> None:
        trusted: Snapshot | None = None
        found = set()
        for each in sorted(self.all.values(), key=lambda each: (each.at, each.name)):
            if each.state != "damaged" and trusted is not None and each.rows < 0.7 * trusted.rows:
                found.add(each.name)
            elif each.state == "verified":
                trusted = each
        oldest_first = sorted(self.all.values(), key=lambda each: (each.at, each.name))
        assert find_suspicious(oldest_first, 0.3) == found


def wanted(seen: dict[str, Snapshot], suspicious: set[str], policy: Policy, least: int, now: float) -> set[str]:
    """What stays, told in the plainest way."""
    newest_first = sorted(seen.values(), key=lambda each: (each.at, each.name), reverse=True)
    trusted = [each for each in newest_first if each.state == "verified" and each.name not in suspicious]
    odd = [each for each in newest_first if each.state == "verified" and each.name in suspicious]
    stay = {each.name for each in (*trusted[:least], *odd[:1])}
    for group in (trusted, odd):
        rules = naive([each.at for each in group], policy, now, ZoneInfo("Europe/Berlin"))
        stay |= {each.name for each, why in zip(group, rules, strict=True) if why}
    for each in newest_first:
        superseded = len(trusted) >= least and each.at < trusted[least - 1].at
        if each.pins or each.state == "unverified" or (each.state == "damaged" and not superseded):
            stay.add(each.name)
    while more := {seen[name].base for name in stay} & set(seen) - stay:
        stay |= more
    return stay


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
