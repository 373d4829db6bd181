"""Judge: a journal becomes a verdict.

In    the entries of a run
Out   a Verdict: for each case an outcome, every finding in words with its smallest evidence, all figures
Rule  first whether the run can prove anything at all (fault delivered, load sent, generator fit), then what holds
      at all times, then the scenario's own bounds. A run that proves nothing never passes; what is provably broken
      fails even then
Why   the worst test result is a green one that looked at nothing

    a case is                       when
    error        its own code       it could not be carried out (a problem in CaseEnded)
    no-verdict   4                  its journal is torn, or a fault was not delivered, or the generator was overloaded,
                                    or users stayed away, or the service left no trace, or a figure that a bound needs
                                    is missing
    fail         1                  an invariant or a bound is broken; broken bounds weigh only in a fit run
    pass         0                  everything else
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Final

from harness.core import story as stories
from harness.core.bounds import held, number
from harness.core.decode import suggest
from harness.core.events import Entry
from harness.core.figures import FIGURES
from harness.core.measure import measure
from harness.core.measures import Measures
from harness.core.scenario import Bound, Scenario
from harness.core.story import Story
from harness.core.verdict import CaseVerdict, Finding, Outcome, Verdict
from harness.errors import EXIT_FAILED, EXIT_NO_VERDICT, EXIT_PASS, ScenarioError

__all__ = ["CaseVerdict", "Finding", "Outcome", "Verdict", "check_expectations", "judge"]

INVARIANTS: Final[tuple[str, ...]] = (
    "messages_lost",
    "messages_doubled",
    "messages_changed",
    "replies_broken",
    "calls_while_open",
    "breaker_moves_wrong",
)
"""Must be 0 in every case, whether a scenario asks or not. Whoever breaks one of them fails in an unfit run too."""
LAG_MS_MAX: Final = 50.0
LAG_SHARE_MAX: Final = 0.25
"""A generator whose own delay is more than this share of a time that is bounded measures itself."""
CPU_SHARE_MAX: Final = 0.9
CPU_SAMPLES_MIN: Final = 3
CLOCK_SLACK_S: Final = 0.05
FIRST_MESSAGE_S: Final = 3.0
"""Seconds within which a crowd is connected; it then begins to speak within one think time."""
_ORDER: Final = (Outcome.FAIL, Outcome.ERROR, Outcome.NO_VERDICT, Outcome.PASS, None)
_ZERO: Final = Bound(max=0)


def judge(run: str, entries: Iterable[Entry]) -> Verdict:
    """Judge a whole run; ``run`` is its id."""
    told = stories.read(entries)
    cases = tuple(_case(story) for story in told.stories)
    outcome, exit_code = _sum_up(cases)
    return Verdict(
        run=run, machine=told.machine, cases=cases, outcome=outcome, exit_code=exit_code, notes=tuple(told.notes)
    )


def check_expectations(scenario: Scenario) -> None:
    """Refuse bounds on figures that do not exist or that this scenario never measures."""
    for name in scenario.expect:
        if name not in FIGURES:
            raise ScenarioError(f"$.expect: unknown figure {name!r}{suggest(name, FIGURES)}")
        figure = FIGURES[name]
        if figure.memory and scenario.memory is None:
            raise ScenarioError(f"$.expect.{name}: is measured by a leak check only, but there is no [memory]")
        if not set(figure.distances) & set(scenario.distances):
            raise ScenarioError(
                f"$.expect.{name}: is measured at {_listed(figure.distances)} only, "
                f"but the scenario runs at {_listed(scenario.distances)}"
            )


def _sum_up(cases: tuple[CaseVerdict, ...]) -> tuple[Outcome, int]:
    outcomes = {case.outcome for case in cases}
    if Outcome.FAIL in outcomes:
        return Outcome.FAIL, EXIT_FAILED
    if Outcome.ERROR in outcomes:
        return Outcome.ERROR, max(case.exit_code for case in cases if case.outcome is Outcome.ERROR)
    if Outcome.NO_VERDICT in outcomes or not cases:
        return Outcome.NO_VERDICT, EXIT_NO_VERDICT
    return Outcome.PASS, EXIT_PASS


def _case(story: Story) -> CaseVerdict:
    try:
        scenario = story.scenario()
    except ScenarioError as error:
        text = f"the scenario in the journal cannot be read by this version: {error}"
        return _verdict(story, None, Measures(), [Finding(figure="", text=text, outcome=Outcome.NO_VERDICT)])
    measures = measure(story, scenario)
    unfit = list(_unfit(story, scenario, measures))
    findings = [*unfit, *_invariants(story, scenario, measures)]
    for name, bound in {**scenario.expect, **_implied(story, scenario)}.items():
        finding = _expected(name, bound, story, scenario, measures)
        if unfit and finding.outcome is Outcome.FAIL:
            finding = Finding(
                figure=name,
                text=f"{finding.text} (weighs nothing in this run)",
                outcome=Outcome.NO_VERDICT,
                bound=finding.bound,
                value=finding.value,
                evidence=finding.evidence,
            )
        if not (name in INVARIANTS and bound.max == 0 and bound.min is None):
            findings.append(finding)
    if story.ended and story.ended.problem:
        # The problem says why nothing could be measured; saying it again for every bound buries it.
        findings = [finding for finding in findings if finding.value is not None]
    return _verdict(story, scenario, measures, findings)


def _verdict(story: Story, scenario: Scenario | None, measures: Measures, findings: list[Finding]) -> CaseVerdict:
    findings.sort(key=lambda finding: _ORDER.index(finding.outcome))
    problem = story.ended.problem if story.ended else ""
    outcome, exit_code = _weigh(story, findings)
    return CaseVerdict(
        case=story.started.case,
        distance=story.started.distance,
        seed=story.started.seed,
        scenario=scenario,
        outcome=outcome,
        exit_code=exit_code,
        problem=problem,
        findings=tuple(findings),
        figures=measures.values,
        notes=tuple(story.notes),
        leaks=measures.leaks,
        culprits=tuple(story.culprits),
        response=measures.response,
        duration_s=story.end - story.began,
    )


def _weigh(story: Story, findings: list[Finding]) -> tuple[Outcome, int]:
    ended = story.ended
    if ended is None:
        return Outcome.NO_VERDICT, EXIT_NO_VERDICT
    if ended.problem:
        if ended.exit_code == EXIT_NO_VERDICT:
            return Outcome.NO_VERDICT, EXIT_NO_VERDICT
        return Outcome.ERROR, ended.exit_code or EXIT_FAILED
    outcomes = {finding.outcome for finding in findings}
    if Outcome.FAIL in outcomes:
        return Outcome.FAIL, EXIT_FAILED
    if Outcome.NO_VERDICT in outcomes:
        return Outcome.NO_VERDICT, EXIT_NO_VERDICT
    return Outcome.PASS, EXIT_PASS


# --- Can this run prove anything? -----------------------------------------------------------------------------------
def _unfit(story: Story, scenario: Scenario, measures: Measures) -> Iterator[Finding]:
    """Every reason why a bound that holds or breaks here would mean nothing."""
    if story.ended is None:
        yield _no_verdict("the journal ends in the middle of the case: whoever wrote it was stopped")
        return
    if story.ended.problem:
        return  # The problem itself is the reason.
    yield from _undelivered(story, scenario)
    if story.distance == "browser":
        if not story.steps:
            yield _no_verdict("no step was taken in a browser")
    elif _is_leak_check(story, scenario):
        if not story.memory:
            yield _no_verdict("no process was measured")
        return  # Its load is no timed load: nobody looks at the generator.
    elif not story.sent():
        yield _no_verdict("no message was sent, although the scenario has a load")
    else:
        yield from _unheard(story, scenario)
    yield from _overloaded(story, scenario, measures)


def _unheard(story: Story, scenario: Scenario) -> Iterator[Finding]:
    """What makes a load that was sent worth nothing: no answer at all, no word of the service, too few users."""
    if not any(message.accepted or message.refused is not None for message in story.messages.values()):
        why = f": {story.broken[0][1].why}" if story.broken else ""
        yield _no_verdict(f"the service neither accepted nor refused any message{why}")
    elif "messages_answered" not in scenario.expect and not any(m.replied is not None for m in story.sent()):
        yield _no_verdict("no message was answered; bound messages_answered if that is what you expect")
    if not story.service_seen:
        yield _no_verdict("the service wrote no facts: nobody knows what its breakers did")
    users, took_part = scenario.load.users_in_all, _took_part(story, scenario)
    if story.distance == "wired" and took_part < users:
        heard = {message.session for message in story.sent()}
        why = next((f": {broke.why}" for _, broke in story.broken if broke.session not in heard), "")
        yield _no_verdict(f"only {took_part} of {users} users took part{why}")


def _took_part(story: Story, scenario: Scenario) -> int:
    """Count the users that were there; where time was short, one may still have been thinking of a first message."""
    load, senders = scenario.load, len({message.session for message in story.sent()})
    shortest_s = min([scenario.duration_s] + ([load.burst.for_s] if load.burst is not None else []))
    if shortest_s >= 2 * load.say_every_s + FIRST_MESSAGE_S:
        return senders
    return max([senders, *(seen.users for _, seen in story.generator)])


def _undelivered(story: Story, scenario: Scenario) -> Iterator[Finding]:
    planned = Counter((fault.kind, fault.bot) for fault in scenario.faults)
    for (kind, bot), times in planned.items():
        hit = sum(1 for fault in story.faults if (fault.kind, fault.bot) == (kind, bot) and fault.hits)
        if hit < times:
            count = "" if times == 1 else f" ({hit} of {times} times)"
            yield _no_verdict(f"the fault {kind!r} on {bot!r} was planned, but not delivered{count}")


def _overloaded(story: Story, scenario: Scenario, measures: Measures) -> Iterator[Finding]:
    if story.distance == "simulated":
        return
    ahead = [m for m in story.sent() if m.intended is not None and m.sent is not None]
    if any(m.intended > m.sent + CLOCK_SLACK_S for m in ahead if m.intended is not None and m.sent is not None):
        yield _no_verdict("messages were sent before they were meant to be: sender and journal use different clocks")
        return
    # What it sent, and what it saw of itself all the time: one that hangs sends little, and that little in time.
    watched = median([seen.lag_ms_p99 for _, seen in story.generator] or [0.0])
    lag, limit = max(measures.values.get("generator_lag_ms_p99") or 0.0, watched), _lag_limit(scenario)
    if lag > limit:
        yield _no_verdict(
            f"the load generator was overloaded: it sent up to {number(lag)} ms late (p99), "
            f"at most {number(limit)} ms is fit to measure with"
        )
    shares = [seen.cpu_share for _, seen in story.generator]
    if len(shares) >= CPU_SAMPLES_MIN and median(shares) > CPU_SHARE_MAX:
        yield _no_verdict(
            f"the load generator was overloaded: it used {median(shares):.0%} of its processor core most of the time, "
            f"at most {CPU_SHARE_MAX:.0%} is fit to measure with"
        )


def _lag_limit(scenario: Scenario) -> float:
    """How late a generator may send: a late one adds its own delay to every time, but loses and doubles nothing.

    A quarter of the tightest bound on a time, at least LAG_MS_MAX. Where no time is bounded, a whole think time and a
    second: whoever is later does not put the load on that the scenario tells of.
    """
    bounds = [bound.max for name, bound in scenario.expect.items() if FIGURES[name].unit == "ms" and bound.max]
    return max(LAG_MS_MAX, min(bounds) * LAG_SHARE_MAX) if bounds else 1000.0 * (1.0 + scenario.load.say_every_s)


def _no_verdict(text: str) -> Finding:
    return Finding(figure="", text=text, outcome=Outcome.NO_VERDICT)


# --- What holds at all times ----------------------------------------------------------------------------------------
def _invariants(story: Story, scenario: Scenario, measures: Measures) -> Iterator[Finding]:
    torn = story.ended is None
    for name in INVARIANTS:
        value = measures.values.get(name)
        if value is None:
            if (
                name == "messages_lost"
                and _loaded(story, scenario)
                and any(m.accepted for m in story.messages.values())
            ):
                yield _missing(name, _ZERO, measures)
            continue
        finding = held(FIGURES[name], _ZERO, value, measures)
        if torn and finding.outcome is Outcome.FAIL:
            # Half a journal may lack the half that explains it.
            finding = Finding(figure=name, text=finding.text, outcome=Outcome.NO_VERDICT, value=value, bound=_ZERO)
        yield finding


def _implied(story: Story, scenario: Scenario) -> dict[str, Bound]:
    """Bounds that nobody has to write down; a scenario that names the figure has its own way."""
    implied: dict[str, Bound] = {}
    if story.steps:
        implied["steps_failed"] = _ZERO
    if _loaded(story, scenario) and story.sent():
        # Percentiles know only messages that were answered: whoever answers one of a hundred would be fast.
        implied["messages_unanswered"] = _ZERO
    if _is_leak_check(story, scenario) and not any(FIGURES[name].memory for name in scenario.expect if name in FIGURES):
        implied["leaks_found"] = _ZERO
    return {name: bound for name, bound in implied.items() if name not in scenario.expect}


# --- The scenario's own bounds --------------------------------------------------------------------------------------
def _expected(name: str, bound: Bound, story: Story, scenario: Scenario, measures: Measures) -> Finding:
    figure = FIGURES.get(name)
    if figure is None:
        return Finding(
            figure=name, text=f"{name} is no figure of this version", outcome=Outcome.NO_VERDICT, bound=bound
        )
    if story.distance not in figure.distances:
        return Finding(figure=name, text=f"{name}: not measured at this distance", outcome=None, bound=bound)
    leak_check = _is_leak_check(story, scenario)
    value = measures.values.get(name)
    if figure.memory and not leak_check:
        return Finding(figure=name, text=f"{name}: not measured, this is no leak check", outcome=None, bound=bound)
    if value is None:
        if leak_check and not figure.memory:
            return Finding(figure=name, text=f"{name}: not measured in a leak check", outcome=None, bound=bound)
        return _missing(name, bound, measures)
    return held(figure, bound, value, measures)


def _missing(name: str, bound: Bound, measures: Measures) -> Finding:
    why = measures.missing.get(name, "its facts are missing")
    return Finding(figure=name, text=f"{name} could not be measured: {why}", outcome=Outcome.NO_VERDICT, bound=bound)


def _is_leak_check(story: Story, scenario: Scenario) -> bool:
    return scenario.memory is not None and story.distance == "wired"


def _loaded(story: Story, scenario: Scenario) -> bool:
    return story.distance != "browser" and not _is_leak_check(story, scenario)


def _listed(distances: Iterable[str]) -> str:
    return ", ".join(distances)
