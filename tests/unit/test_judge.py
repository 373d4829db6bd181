"""Judge: what passes, what fails, what proves nothing, and in which words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fake_bots import Heard, Say, behaviours, dice
from harness import plugins
from harness.core.events import (
    Admitted,
    BotSeen,
    BreakerMoved,
    CaseEnded,
    CaseStarted,
    ClientBroke,
    Entry,
    FaultArmed,
    FaultDelivered,
    FaultHealed,
    GeneratorSeen,
    GotAccepted,
    GotFailure,
    GotRefusal,
    GotReply,
    MemorySampled,
    Noted,
    RunFact,
    Sent,
    Stepped,
    TranscriptRead,
)
from harness.core.judge import CaseVerdict, Outcome, judge
from harness.core.measure_texts import ECHOES, PREFIX
from harness.core.scenario import Bound, FaultPlan, Load, Scenario
from harness.core.texts import crc_of

if TYPE_CHECKING:
    from tests.sample_journals import Samples

Fact = tuple[float, str, RunFact]


SERVED: Fact = (0.1, "service", BotSeen("echo", "ready", 4711))
"""Without a word of the service no load has a verdict."""


def one(entries: Iterable[Entry]) -> CaseVerdict:
    (case,) = judge("run", entries).cases
    return case


def texts(case: CaseVerdict, outcome: Outcome | None) -> list[str]:
    return [finding.text for finding in case.findings if finding.outcome is outcome]


# --- Outcomes -------------------------------------------------------------------------------------------------------
def test_a_chat_that_works_passes(samples: Samples) -> None:
    verdict = judge("run-1", samples.run(samples.chat()))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.PASS, 0)
    assert verdict.title() == "passed: the only case"
    assert verdict.machine == samples.machine
    assert verdict.cases[0].figures["messages_answered"] == 200
    assert verdict.cases[0].figures["messages_lost"] == 0


def test_lost_messages_fail_and_are_named(samples: Samples) -> None:
    case = one(samples.chat(lost=2))
    assert (case.outcome, case.exit_code) == (Outcome.FAIL, 1)
    assert case.why() == "messages_lost is 2, must be at most 0: u0-13 (session s0), u1-13 (session s1)"


def test_only_the_first_few_culprits_are_named(samples: Samples) -> None:
    case = one(samples.chat(lost=8))
    assert case.why().endswith("u4-13 (session s4) and 3 more")
    assert len(case.findings[0].evidence) == 5


def test_every_outcome_weighs_as_it_should(samples: Samples) -> None:
    good, bad = samples.chat(), samples.chat(lost=1)
    down = samples.case(ended=CaseEnded("nothing listens", 3))
    wrong = samples.case(ended=CaseEnded("no such bot", 2))
    torn = samples.chat()[:-1]
    table: list[tuple[list[list[Entry]], Outcome, int]] = [
        ([good], Outcome.PASS, 0),
        ([good, torn], Outcome.NO_VERDICT, 4),
        ([good, torn, down], Outcome.ERROR, 3),
        ([wrong, down, torn], Outcome.ERROR, 3),
        ([wrong], Outcome.ERROR, 2),
        ([bad, down, torn, good], Outcome.FAIL, 1),
        ([], Outcome.NO_VERDICT, 4),
    ]
    for cases, outcome, code in table:
        verdict = judge("run", samples.run(*cases))
        assert (verdict.outcome, verdict.exit_code) == (outcome, code)


def test_the_title_counts_what_went_wrong(samples: Samples) -> None:
    assert judge("run", samples.everything()).title() == (
        "failed: 1 of 8 cases, 1 could not be carried out, 1 without a verdict"
    )
    assert judge("run", []).title() == "no verdict: the journal holds no case"
    torn = samples.chat()[:-1]
    assert judge("run", samples.run(torn, torn)).title() == "no verdict: 2 of 2 cases prove nothing"


def test_a_case_that_could_not_be_carried_out_says_why_and_nothing_else(samples: Samples) -> None:
    case = one(samples.case(ended=CaseEnded("port 8000 is taken", 3)))
    assert (case.outcome, case.exit_code, case.why()) == (Outcome.ERROR, 3, "port 8000 is taken")
    assert case.findings == ()


@pytest.mark.parametrize(
    ("ended", "outcome", "code"),
    [
        pytest.param(CaseEnded("interrupted", 130), Outcome.ERROR, 130, id="interrupted"),
        pytest.param(CaseEnded("the driver broke", 4), Outcome.NO_VERDICT, 4, id="no verdict possible"),
        pytest.param(CaseEnded("a problem without a code", 0), Outcome.ERROR, 1, id="never 0"),
    ],
)
def test_problems_keep_their_exit_code(samples: Samples, ended: CaseEnded, outcome: Outcome, code: int) -> None:
    verdict = judge("run", samples.case(ended=ended))
    assert (verdict.cases[0].outcome, verdict.exit_code) == (outcome, code)


# --- A run that proves nothing never passes -------------------------------------------------------------------------
def test_a_torn_journal_has_no_verdict(samples: Samples) -> None:
    case = one(samples.chat(lost=3)[:-1])
    assert case.outcome is Outcome.NO_VERDICT
    assert "ends in the middle" in case.why()


def test_a_load_that_sends_nothing_has_no_verdict(samples: Samples) -> None:
    case = one(samples.case(scenario=samples.scenario(expect={})))
    assert (case.outcome, case.exit_code) == (Outcome.NO_VERDICT, 4)
    assert case.why() == "no message was sent, although the scenario has a load"


def without(entries: list[Entry], *kinds: type[RunFact]) -> list[Entry]:
    return [entry for entry in entries if not isinstance(entry.fact, kinds)]


def test_a_load_that_nobody_answered_has_no_verdict(samples: Samples) -> None:
    facts: list[Fact] = [(n / 10, "client", Sent("s1", "echo", f"m{n}", n / 10)) for n in range(50)]
    facts += [(n / 10 + 0.01, "client", ClientBroke("s1", "closed without a goodbye")) for n in range(50)]
    case = one(samples.case(SERVED, *sorted(facts, key=lambda fact: fact[0]), scenario=samples.scenario(expect={})))
    assert (case.outcome, case.exit_code) == (Outcome.NO_VERDICT, 4)
    assert case.why() == "the service neither accepted nor refused any message: closed without a goodbye"


def test_a_service_that_answers_one_of_a_hundred_is_not_fast(samples: Samples) -> None:
    facts: list[Fact] = [(n / 10, "client", Sent("s1", "echo", f"m{n}", n / 10)) for n in range(99)]
    facts += [*samples.exchange("fast", 10.0), (11.0, "store", samples.stored("s1", ["fast"]))]
    bounds = {"response_ms_p99": Bound(max=500)}
    case = one(samples.case(SERVED, *facts, scenario=samples.scenario(expect=bounds)))
    assert (case.outcome, case.exit_code) == (Outcome.FAIL, 1)
    assert case.why().startswith("messages_unanswered is 99, must be at most 0: m0 (session s1)")
    # Whoever asks for something else gets that.
    loose = samples.scenario(expect={**bounds, "messages_unanswered": Bound(max=99)})
    assert one(samples.case(SERVED, *facts, scenario=loose)).outcome is Outcome.PASS


def test_users_that_stayed_away_leave_no_verdict(samples: Samples) -> None:
    entries = samples.chat(distance="wired")
    gone = {entry.fact.cid for entry in entries if isinstance(entry.fact, Sent) and entry.fact.session in ("s6", "s7")}
    few = [entry for entry in entries if getattr(entry.fact, "cid", "") not in gone]
    case = one(few)
    assert case.outcome is Outcome.NO_VERDICT
    assert case.why() == "only 6 of 8 users took part"
    refused = Entry(1.0, "client", ClientBroke("", "no session with 'echo': 503"))
    assert one([*few[:1], refused, *few[1:]]).why() == "only 6 of 8 users took part: no session with 'echo': 503"


def test_a_user_who_still_thought_when_a_short_load_ended_took_part(samples: Samples) -> None:
    entries = samples.chat(distance="wired")
    gone = {entry.fact.cid for entry in entries if isinstance(entry.fact, Sent) and entry.fact.session == "s7"}
    few = [entry for entry in entries if getattr(entry.fact, "cid", "") not in gone]
    load = samples.scenario(load=Load(users=8, say_every_s=15.0), expect={})
    few[0] = samples.case(scenario=load, distance="wired")[0]
    assert one(few).outcome is Outcome.PASS
    fewer = [replace(e, fact=replace(e.fact, users=7)) if isinstance(e.fact, GeneratorSeen) else e for e in few]
    assert one(fewer).why() == "only 7 of 8 users took part"


def test_a_fault_that_was_not_delivered_leaves_no_verdict_and_comes_first(samples: Samples) -> None:
    case = one(without(samples.breaker(), FaultDelivered, BreakerMoved))
    assert (case.outcome, case.exit_code) == (Outcome.NO_VERDICT, 4)
    assert case.why() == "the fault 'crash-loop' on 'echo' was planned, but not delivered"
    assert "breaker_opened is 0, must be at least 1 (weighs nothing in this run)" in texts(case, Outcome.NO_VERDICT)


def test_every_planned_fault_must_be_delivered(samples: Samples) -> None:
    entries = samples.breaker()
    twice = [FaultPlan(kind="crash-loop", bot="echo", at_s=at, for_s=2.0) for at in (6.0, 20.0)]
    started = entries[0].fact
    assert isinstance(started, CaseStarted)
    scenario = {
        **started.scenario,
        "faults": [{"kind": f.kind, "bot": f.bot, "at_s": f.at_s, "for_s": 2.0} for f in twice],
    }
    entries[0] = replace(entries[0], fact=replace(started, scenario=scenario))
    assert "not delivered (1 of 2 times)" in one(entries).why()
    second: list[Entry] = [
        Entry(20.0, "fault", FaultArmed("crash-loop", "echo")),
        Entry(20.1, "fault", FaultDelivered("crash-loop", "echo", "pid 1")),
        Entry(22.0, "fault", FaultHealed("crash-loop", "echo", 1)),
    ]
    assert one([*entries[:-1], *second, entries[-1]]).outcome is Outcome.PASS


def test_what_is_provably_broken_fails_even_in_a_run_that_proves_nothing(samples: Samples) -> None:
    entries = without(samples.breaker(), FaultDelivered)
    entries.insert(-1, Entry(30.8, "store", TranscriptRead("s0", (), ())))
    case = one(entries)
    assert case.outcome is Outcome.FAIL
    assert case.why().startswith("messages_lost is ")


def late(entries: list[Entry], by_s: float) -> list[Entry]:
    return [
        replace(entry, fact=replace(entry.fact, intended=entry.fact.intended - by_s))
        if isinstance(entry.fact, Sent)
        else entry
        for entry in entries
    ]


def test_a_generator_that_sends_late_leaves_no_verdict(samples: Samples) -> None:
    case = one(late(samples.chat(distance="wired"), 0.4))
    assert case.outcome is Outcome.NO_VERDICT
    assert case.why().startswith("the load generator was overloaded: it sent up to 403")
    assert texts(case, Outcome.FAIL) == []


def test_a_little_lateness_is_forgiven(samples: Samples) -> None:
    assert one(late(samples.chat(distance="wired"), 0.03)).outcome is Outcome.PASS


def test_lateness_does_not_matter_where_only_counts_are_bounded(samples: Samples) -> None:
    entries = late(samples.chat(distance="wired"), 0.4)
    started = next(place for place, entry in enumerate(entries) if isinstance(entry.fact, CaseStarted))
    fact = entries[started].fact
    assert isinstance(fact, CaseStarted)
    bounds = {"messages_lost": {"max": 0}}
    entries[started] = replace(entries[started], fact=replace(fact, scenario={**fact.scenario, "expect": bounds}))
    assert one(entries).outcome is Outcome.PASS


def test_a_generator_without_a_moment_to_spare_leaves_no_verdict(samples: Samples) -> None:
    busy = [
        replace(entry, fact=replace(entry.fact, cpu_share=0.97)) if isinstance(entry.fact, GeneratorSeen) else entry
        for entry in samples.chat(distance="wired")
    ]
    case = one(busy)
    assert case.outcome is Outcome.NO_VERDICT
    assert "used 97% of its processor core most of the time" in case.why()


def test_one_busy_second_is_forgiven(samples: Samples) -> None:
    entries = samples.chat(distance="wired")
    entries.insert(-1, Entry(18.0, "load", GeneratorSeen(900.0, 1.0, 8)))
    assert one(entries).outcome is Outcome.PASS


def test_two_clocks_in_one_journal_leave_no_verdict(samples: Samples) -> None:
    case = one(late(samples.chat(distance="wired"), -50_000.0))
    assert "different clocks" in case.why()


def test_an_unreadable_scenario_leaves_no_verdict(samples: Samples) -> None:
    entries = samples.chat()
    started = entries[0].fact
    assert isinstance(started, CaseStarted)
    entries[0] = replace(entries[0], fact=replace(started, scenario={**started.scenario, "from_the_future": 1}))
    case = one(entries)
    assert case.outcome is Outcome.NO_VERDICT
    assert "unknown field 'from_the_future'" in case.why()
    assert case.scenario is None


def test_a_bound_on_a_figure_that_is_missing_leaves_no_verdict(samples: Samples) -> None:
    scenario = samples.scenario(expect={"recovery_s": Bound(max=5)})
    case = one(
        samples.case(
            SERVED,
            *samples.exchange("u1-1", 1.0),
            (2.0, "store", TranscriptRead("s1", ("u1-1",), ())),
            scenario=scenario,
        )
    )
    assert case.outcome is Outcome.NO_VERDICT
    assert case.why() == ("recovery_s could not be measured: no fault was healed on a bot whose breaker had opened")


def test_accepted_messages_that_nobody_looked_up_leave_no_verdict(samples: Samples) -> None:
    case = one(without(samples.chat(), TranscriptRead))
    assert case.outcome is Outcome.NO_VERDICT
    assert case.why() == (
        "messages_lost could not be measured: the stored session was not read: s0, s1, s2, s3, s4 and 3 more"
    )


def test_a_bound_that_belongs_to_another_distance_weighs_nothing(samples: Samples) -> None:
    scenario = samples.scenario(expect={"steps_done": Bound(min=3)})
    case = one([replace(samples.chat()[0], fact=samples.case(scenario=scenario)[0].fact), *samples.chat()[1:]])
    assert case.outcome is Outcome.PASS
    assert texts(case, None) == ["steps_done: not measured at this distance"]


# --- Figures --------------------------------------------------------------------------------------------------------
def test_times_count_from_the_intended_moment_and_after_the_warm_up(samples: Samples) -> None:
    scenario = samples.scenario(load=Load(users=1, warm_up_s=1.0), expect={})
    case = one(
        samples.case(
            *samples.exchange("early", 1.0, took=9.0),
            *samples.exchange("late", 2.5, took=0.2, lag=0.3),
            scenario=scenario,
            distance="simulated",
        )
    )
    assert case.figures["response_ms_max"] == pytest.approx(500)
    assert case.figures["first_token_ms_p50"] == pytest.approx(400)
    assert case.figures["messages_answered"] == 2
    assert case.response is not None
    assert case.response.n == 1


def test_every_message_has_one_fate(samples: Samples) -> None:
    sent = [(float(n), "client", Sent("s1", "echo", f"m{n}", float(n))) for n in range(5)]
    facts: list[Fact] = [
        *sent,
        (5.0, "client", GotReply("m0", 3)),
        (5.1, "client", GotRefusal("m1", "busy")),
        (5.2, "client", GotFailure("m2", "bot-gone")),
        (5.3, "client", GotRefusal("m3", "circuit-open")),
        (5.4, "client", GotReply("m3", 3)),
        (5.5, "store", TranscriptRead("s1", ("m0", "m2", "m3"), ("m0", "m3"))),
        (5.6, "client", ClientBroke("s1", "gap: frame 7 after 5")),
    ]
    figures = one(samples.case(*facts)).figures
    found = [figures[f"messages_{fate}"] for fate in ("sent", "answered", "refused", "failed", "unanswered", "lost")]
    assert found == [5, 2, 1, 1, 1, 0]
    assert figures["clients_broken"] == 1


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        pytest.param(
            [(9.0, "store", TranscriptRead("s1", ("m", "m"), ("m",)))],
            "m (stored 2 times in session s1)",
            id="stored twice",
        ),
        pytest.param(
            [(9.0, "store", TranscriptRead("s1", ("m",), ("m", "m")))],
            "m (answered 2 times in session s1)",
            id="answered twice",
        ),
        pytest.param(
            [(8.0, "client", GotReply("m", 24))], "m (session s1) got 2 replies", id="two replies at the client"
        ),
    ],
)
def test_doubled_messages_fail(samples: Samples, change: list[Fact], culprit: str) -> None:
    stored: Fact = (7.0, "store", TranscriptRead("s1", ("m",), ("m",)))
    case = one(samples.case(*samples.exchange("m", 1.0), stored, *change, scenario=samples.scenario(expect={})))
    assert case.why() == f"messages_doubled is 1, must be at most 0: {culprit}"


ECHOED = "You said: m............."


@pytest.mark.parametrize(
    ("reply", "stored", "why"),
    [
        pytest.param("#" * 24, "", "the stored reply is not what was read", id="garbage shown, nothing kept"),
        pytest.param("#" * 24, "#" * 24, "the bot echoes, but the reply is not the message", id="garbage, and kept"),
        pytest.param(ECHOED, "", "the stored reply is not what was read", id="an empty reply is kept"),
        pytest.param(ECHOED, None, "its reply was read, but no complete one is stored", id="no reply is kept"),
        pytest.param(None, "#" * 24, "the bot echoes, but the reply is not the message", id="garbage on a page"),
        pytest.param(ECHOED[:5], ECHOED[:5], "the bot echoes, but the reply is not the message", id="cut, and kept"),
        pytest.param(ECHOED, ECHOED, "", id="as it should be"),
        pytest.param(None, ECHOED, "", id="as it should be, on a page"),
    ],
)
def test_a_reply_is_what_was_said_read_and_kept(
    samples: Samples, reply: str | None, stored: str | None, why: str
) -> None:
    message, chars = "m".ljust(14, "."), 24 if reply is None else len(reply)
    kept = () if stored is None else (stored,)
    facts: list[Fact] = [
        SERVED,
        (1.0, "client", Sent("s1", "echo", "m", 1.0, crc_of(message))),
        (1.2, "client", GotReply("m", chars, crc=None if reply is None else crc_of(reply))),
        (2.0, "store", TranscriptRead("s1", ("m",), ("m",) * len(kept), (crc_of(message),), tuple(map(crc_of, kept)))),
    ]
    case = one(samples.case(*facts, scenario=samples.scenario(expect={})))
    assert case.figures["messages_changed"] == bool(why)
    assert case.outcome is (Outcome.FAIL if why else Outcome.PASS)
    if why:
        assert case.why() == f"messages_changed is 1, must be at most 0: m (session s1): {why}"


def test_a_message_that_is_kept_otherwise_than_it_was_sent_fails(samples: Samples) -> None:
    read = replace(samples.stored("s1", ["m"]), crcs=(crc_of("something else"),))
    facts: list[Fact] = [SERVED, *samples.exchange("m", 1.0), (2.0, "store", read)]
    case = one(samples.case(*facts, scenario=samples.scenario(expect={})))
    assert case.why().endswith("m (session s1): the stored message is not what was sent")


def test_a_text_without_a_checksum_is_unknown_and_not_equal(samples: Samples) -> None:
    read: Fact = (2.0, "store", TranscriptRead("s1", ("m",), ("m",)))
    sent: Fact = (1.0, "client", Sent("s1", "echo", "m", 1.0))
    case = one(
        samples.case(SERVED, sent, (1.2, "client", GotReply("m", 24)), read, scenario=samples.scenario(expect={}))
    )
    assert case.outcome is Outcome.PASS
    assert "messages_changed" not in case.figures


@pytest.mark.parametrize("behaviour", ECHOES)
def test_the_bots_that_echo_are_known_by_what_they_do(behaviour: str) -> None:
    heard = Heard(text="every word", session="s", turn="t", nth=1)
    steps = plugins.build(behaviours, behaviour, {}, "test").hear(heard, dice(7, heard))
    assert "".join(step.text for step in steps if isinstance(step, Say)) == f"{PREFIX}every word"


def test_a_reply_right_after_the_warm_up_is_no_rate(samples: Samples) -> None:
    scenario = samples.scenario(duration_s=11.0, load=Load(users=1, warm_up_s=1.0), expect={})
    facts = [SERVED, *samples.exchange("m0", 1.0), *samples.exchange("m1", 1.9, took=0.100001)]
    assert one(samples.case(*facts, scenario=scenario)).figures["messages_per_s"] == pytest.approx(0.1)
    short = samples.scenario(duration_s=1.5, load=Load(users=1, warm_up_s=1.0), expect={})
    assert "messages_per_s" not in one(samples.case(*facts, scenario=short)).figures


def test_a_broken_reply_fails(samples: Samples) -> None:
    facts: list[Fact] = [
        (1.0, "client", Sent("s1", "echo", "m", 1.0)),
        (1.2, "client", GotReply("m", 3, intact=False)),
        (2.0, "store", TranscriptRead("s1", ("m",), ("m",))),
    ]
    case = one(samples.case(*facts, scenario=samples.scenario(expect={})))
    assert case.why() == "replies_broken is 1, must be at most 0: m (session s1)"


def test_facts_of_several_processes_are_put_in_order(samples: Samples) -> None:
    entries = samples.breaker()
    shuffled = [entries[0], *sorted(entries[1:-1], key=lambda entry: entry.source), entries[-1]]
    assert one(shuffled) == one(entries)


def test_a_value_never_reads_like_its_bound_when_it_breaks_it(samples: Samples) -> None:
    scenario = samples.scenario(expect={"response_ms_max": Bound(max=100)})
    case = one(
        samples.case(
            SERVED,
            *samples.exchange("m", 1.0, took=0.100002),
            (2.0, "store", TranscriptRead("s1", ("m",), ())),
            scenario=scenario,
        )
    )
    assert "response_ms_max is 100.002 ms, must be at most 100 ms" in case.why()


def test_percentiles_of_few_values_say_so(samples: Samples) -> None:
    scenario = samples.scenario(expect={"response_ms_p95": Bound(max=50)})
    case = one(
        samples.case(
            SERVED, *samples.exchange("m", 1.0), (2.0, "store", TranscriptRead("s1", ("m",), ())), scenario=scenario
        )
    )
    assert case.why() == "response_ms_p95 is 100 ms, must be at most 50 ms (of one value)"


# --- Breakers -------------------------------------------------------------------------------------------------------
def breaker(*steps: tuple[float, str, str, int] | tuple[float, str]) -> list[Fact]:
    """(time, before, after, seq) is a transition, (time, turn) a call that was let through."""
    facts: list[Fact] = []
    for step in steps:
        if len(step) == 2:
            facts.append((step[0], "service", Admitted("echo", step[1], probe=False)))
        else:
            t, before, after, seq = step
            facts.append((t, "service", BreakerMoved("echo", seq, before, after, "", 5, 3.0)))
    return facts


def judged(samples: Samples, facts: list[Fact]) -> CaseVerdict:
    stored: Fact = (50.0, "store", TranscriptRead("s1", ("m",), ("m",)))
    return one(samples.case(*samples.exchange("m", 0.5), *facts, stored, scenario=samples.scenario(expect={})))


OPEN = (1.0, "closed", "open", 1)
HALF = (4.0, "open", "half-open", 2)


@pytest.mark.parametrize(
    ("steps", "figures"),
    [
        pytest.param(
            [OPEN, HALF, (4.0, "probe"), (4.1, "half-open", "closed", 3)],
            {"breaker_opened": 1, "breaker_half_opened": 1, "breaker_closed": 1, "breaker_probes_max": 1},
            id="opens and recovers",
        ),
        pytest.param([OPEN, (2.0, "t1"), (3.0, "t2")], {"calls_while_open": 2}, id="calls while open"),
        pytest.param([OPEN, HALF, (4.1, "t1"), (4.2, "t2")], {"breaker_probes_max": 2}, id="two probes"),
        pytest.param([OPEN, HALF], {"breaker_cooldown_s": 3.0, "breaker_moves_wrong": 0}, id="cooldown kept"),
        pytest.param([OPEN, (2.9, "open", "half-open", 2)], {"breaker_moves_wrong": 1}, id="cooldown cut short"),
        pytest.param([OPEN, (4.0, "open", "closed", 2)], {"breaker_moves_wrong": 1}, id="an edge that cannot be"),
        pytest.param([OPEN, (4.0, "open", "half-open", 3)], {"breaker_moves_wrong": 1}, id="a gap in the numbering"),
        pytest.param([OPEN, (4.0, "half-open", "closed", 2)], {"breaker_moves_wrong": 1}, id="a broken chain"),
        pytest.param([(1.0, "t1"), (2.0, "t2")], {"breaker_opened": 0, "calls_while_open": 0}, id="never opened"),
    ],
)
def test_breakers_are_followed(samples: Samples, steps: list[tuple[float, str]], figures: dict[str, float]) -> None:
    case = judged(samples, breaker(*steps))
    assert {name: case.figures[name] for name in figures} == figures
    broken = figures.get("calls_while_open", 0) + figures.get("breaker_moves_wrong", 0)
    assert case.outcome is (Outcome.FAIL if broken else Outcome.PASS)


def test_without_facts_of_the_service_nothing_is_said_of_breakers_and_nothing_is_proved(samples: Samples) -> None:
    case = judged(samples, [])
    assert not [name for name in case.figures if name.startswith(("breaker", "calls"))]
    assert case.outcome is Outcome.NO_VERDICT
    assert case.why() == "the service wrote no facts: nobody knows what its breakers did"


def test_a_breaker_that_never_closed_again_breaks_any_bound_on_recovery(samples: Samples) -> None:
    entries = [
        entry
        for entry in samples.breaker()
        if not (isinstance(entry.fact, BreakerMoved) and entry.fact.after == "closed")
    ]
    case = one(entries)
    assert case.outcome is Outcome.FAIL
    assert "recovery_s never happened, must be at most 6 s" in texts(case, Outcome.FAIL)


def test_the_breaker_story_passes_with_its_figures(samples: Samples) -> None:
    case = one(samples.breaker())
    assert case.outcome is Outcome.PASS
    figures = case.figures
    assert figures["time_to_open_s"] == pytest.approx(2.08)
    assert figures["recovery_s"] == pytest.approx(3.45)
    assert figures["breaker_cooldown_s"] == pytest.approx(3.0)
    assert figures["faults_delivered"] == 9
    assert figures["fail_fast_ms_p99"] == pytest.approx(4.0)


def test_bystanders_are_the_bots_without_a_fault(samples: Samples) -> None:
    entries = samples.breaker()
    spared = next(e.fact.cid for e in entries if isinstance(e.fact, Sent) and e.fact.bot == "slow")
    changed = [
        replace(entry, fact=GotFailure(spared, "bot-silent"))
        if isinstance(entry.fact, GotReply) and entry.fact.cid == spared
        else entry
        for entry in entries
    ]
    case = one(changed)
    assert case.why() == f"bystanders_failed is 1, must be at most 0: {spared} (session s1) to slow: bot-silent"


# --- Memory and browser ---------------------------------------------------------------------------------------------
def test_the_planted_leak_is_found_and_the_service_is_clean(samples: Samples) -> None:
    case = one(samples.leak())
    assert case.outcome is Outcome.PASS
    assert {name: case.figures[name] for name in ("leaks_found", "leaking_service", "leaking_bots")} == {
        "leaks_found": 1,
        "leaking_service": 0,
        "leaking_bots": 1,
    }
    assert case.figures["blocks_per_message"] == pytest.approx(4.0, abs=0.01)
    assert {(leak.subject, leak.counter) for leak in case.leaks if leak.leaking} == {
        ("leaky", "blocks"),
        ("leaky", "heap_bytes"),
    }


def test_a_leak_that_nobody_expected_fails(samples: Samples) -> None:
    case = one(samples.leak(expect={"messages_lost": Bound(max=0)}))
    assert case.outcome is Outcome.FAIL
    assert case.why().startswith("leaks_found is 1, must be at most 0: leaky blocks leaks: +4 a message")


def test_too_few_cycles_leave_no_verdict(samples: Samples) -> None:
    entries = [e for e in samples.leak() if not (isinstance(e.fact, MemorySampled) and e.fact.cycle > 6)]
    case = one(entries)
    assert case.outcome is Outcome.NO_VERDICT
    assert case.why() == "leaking_service could not be measured: 7 of 10 cycles were measured"


def test_a_leak_check_that_measured_nothing_leaves_no_verdict(samples: Samples) -> None:
    assert one(without(samples.leak(), MemorySampled)).why() == "no process was measured"


def test_a_failed_step_fails_without_being_asked_for(samples: Samples) -> None:
    case = one(samples.page(failing=True))
    assert case.outcome is Outcome.FAIL
    assert case.why() == (
        "steps_failed is 1, must be at most 0: reload: the history is there: the list of messages is empty after 5 s"
    )


def test_a_page_that_nobody_used_leaves_no_verdict(samples: Samples) -> None:
    assert one(without(samples.page(), Stepped)).why() == "no step was taken in a browser"


def test_a_page_case_passes(samples: Samples) -> None:
    case = one(samples.page())
    assert case.outcome is Outcome.PASS
    assert case.figures["page_reply_ms_p50"] == pytest.approx(210)


# --- The frame ------------------------------------------------------------------------------------------------------
def test_notes_are_kept_where_they_belong(samples: Samples) -> None:
    entries = [Entry(0.0, "runner", Noted("before")), *samples.case((0.1, "runner", Noted("inside")))]
    verdict = judge("run", entries)
    assert (verdict.notes, verdict.cases[0].notes) == (("before",), ("inside",))


def test_cases_keep_their_order_and_their_facts(samples: Samples) -> None:
    verdict = judge("run", samples.everything())
    assert [case.title() for case in verdict.cases] == [
        "smoke/chat simulated",
        "smoke/chat wired",
        "faults/crash-loop simulated",
        "faults/crash-loop wired",
        "leaks/leaky-bot wired",
        "smoke/page browser",
        "load/fifty-users wired",
        "smoke/port wired",
    ]
    assert verdict.cases[2].scenario == verdict.cases[3].scenario
    assert isinstance(verdict.cases[0].scenario, Scenario)


def test_a_figure_that_this_version_does_not_know_leaves_no_verdict(samples: Samples) -> None:
    entries = [samples.case(scenario=samples.scenario(expect={"from_later": Bound(min=1)}))[0], *samples.chat()[1:]]
    assert one(entries).why() == "from_later is no figure of this version"


def test_a_memory_bound_weighs_nothing_where_no_memory_is_measured(samples: Samples) -> None:
    scenario = samples.scenario(expect={"leaks_found": Bound(max=0)})
    case = one([samples.case(scenario=scenario, distance="wired")[0], *samples.chat()[1:]])
    assert texts(case, None) == ["leaks_found: not measured, this is no leak check"]


def test_a_timing_weighs_nothing_in_a_leak_check(samples: Samples) -> None:
    case = one(samples.leak(expect={"response_ms_p95": Bound(max=5), "leaking_service": Bound(max=0)}))
    assert texts(case, None) == ["response_ms_p95: not measured in a leak check"]


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (Bound(min=201), "messages_answered is 200, must be at least 201"),
        (Bound(max=100), "messages_answered is 200, must be at most 100"),
        (Bound(min=1, max=100), "messages_answered is 200, must be from 1 to 100"),
        (Bound(min=3, max=3), "messages_answered is 200, must be 3"),
        (Bound(min=200.4), "messages_answered is 200, must be at least 200.4"),
        (Bound(min=12_345.6), "messages_answered is 200, must be at least 12,346"),
    ],
)
def test_a_broken_bound_in_words(samples: Samples, bound: Bound, text: str) -> None:
    scenario = samples.scenario(expect={"messages_answered": bound})
    case = one([samples.case(scenario=scenario)[0], *samples.chat()[1:]])
    assert (case.outcome, case.why()) == (Outcome.FAIL, text)


def test_findings_come_worst_first(samples: Samples) -> None:
    order = [Outcome.FAIL, Outcome.NO_VERDICT, Outcome.PASS, None]
    for case in judge("run", samples.everything()).cases:
        places = [order.index(finding.outcome) for finding in case.findings]
        assert places == sorted(places)


def test_judging_a_slice_that_begins_inside_a_case_does_not_fail(samples: Samples) -> None:
    assert judge("run", samples.chat()[5:]).cases == ()


def test_facts_of_unknown_messages_are_no_reason_to_stop(samples: Samples) -> None:
    facts: list[Fact] = [
        (1.0, "client", GotAccepted("never-sent")),
        (1.1, "service", BotSeen("echo", "gone", None, "signal 9")),
        (1.2, "fault", FaultHealed("crash-loop", "echo", 0)),
    ]
    assert one(samples.case(*facts)).outcome is Outcome.NO_VERDICT


def test_a_load_that_nobody_answers_proves_nothing(samples: Samples) -> None:
    entries = without(samples.chat(distance="wired"), GotReply)
    refused = [
        replace(entry, fact=GotRefusal(entry.fact.cid, "busy")) if isinstance(entry.fact, GotAccepted) else entry
        for entry in entries
    ]
    started = next(place for place, entry in enumerate(refused) if isinstance(entry.fact, CaseStarted))
    fact = refused[started].fact
    assert isinstance(fact, CaseStarted)
    refused[started] = replace(refused[started], fact=replace(fact, scenario={**fact.scenario, "expect": {}}))
    assert "no message was answered" in " ".join(texts(one(refused), Outcome.NO_VERDICT))


def test_a_generator_that_hangs_leaves_no_verdict_though_no_time_is_bounded(samples: Samples) -> None:
    hanging = [
        replace(entry, fact=replace(entry.fact, lag_ms_p99=90_000.0))
        if isinstance(entry.fact, GeneratorSeen)
        else entry
        for entry in samples.chat(distance="wired")
    ]
    started = next(place for place, entry in enumerate(hanging) if isinstance(entry.fact, CaseStarted))
    fact = hanging[started].fact
    assert isinstance(fact, CaseStarted)
    hanging[started] = replace(hanging[started], fact=replace(fact, scenario={**fact.scenario, "expect": {}}))
    case = one(hanging)
    assert case.outcome is Outcome.NO_VERDICT
    assert "90,000 ms late" in case.why()
