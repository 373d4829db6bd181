"""Runner: a queue of cases, one after the other, into one journal; then the verdict and the reports from it.

In    an ``Order``: which scenarios at which distances, where results go; observers who are told how it stands
Out   ``reports/runs/<id>/`` with journal.jsonl, the attachments of each case and every report; an ``Outcome``
Rule  a case that cannot be carried out is written down and the queue goes on; the verdict reads only the disk
Why   what a person sees afterwards is what happened, also after Ctrl-C, and can be judged again at any time
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from harness.adapters import disk, journal, machine, reports, runs
from harness.adapters.interrupts import Interrupts
from harness.adapters.scenarios import Named
from harness.adapters.status import Current, Finished, Result, Standing
from harness.core.events import CaseEnded, CaseStarted, Entry, Noted
from harness.core.judge import judge
from harness.core.scenario import Distance, Scenario, folder_of
from harness.core.verdict import Outcome as CaseOutcome
from harness.core.verdict import Verdict
from harness.drivers import Case
from harness.drivers._carrying import carry_out, keep_transitions, opened, virtual
from harness.errors import EXIT_INTERRUPTED, EXIT_NO_VERDICT, HarnessError, NoVerdictError

SUMMARY: Final = "summary.txt"
"""The report for terminals, which the command line prints."""
COUNTS_EVERY_S: Final = 0.1
"""Between two counts that observers are told."""


class Observer(Protocol):
    """Somebody who looks on: the terminal, the status file."""

    def changed(self, standing: Standing) -> None:
        """Be told how the run stands now."""

    def close(self) -> None:
        """Let go of terminal or file."""


@dataclass(frozen=True, slots=True)
class Job:
    """One place in the queue."""

    named: Named
    distance: Distance

    def title(self) -> str:
        """What people call it."""
        return f"{self.named.name} {self.distance}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be run."""

    what: str
    """The scenario, file or suite as it was asked for; the run's id ends with it."""
    jobs: tuple[Job, ...]
    state_dir: Path
    reports_dir: Path
    seed: int | None = None
    profile: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run left behind."""

    folder: Path
    verdict: Verdict
    entries: tuple[Entry, ...]
    exit_code: int


def run(order: Order, observers: Sequence[Observer] = ()) -> Outcome:
    """Carry the whole queue out, then judge and report what the journal says."""
    folder = runs.new(order.reports_dir, order.what)
    queue = _Queue(order, folder, observers)
    try:
        with Interrupts() as interrupts:
            outcome = _worked(queue, folder, interrupts)
    except HarnessError as error:
        queue.say(current=None, note=f"no verdict: {error}")
        raise
    else:
        queue.say(note=f"{outcome.verdict.title()}: {outcome.folder / 'report.html'}")
        return outcome
    finally:
        for observer in observers:
            observer.close()


def _worked(queue: _Queue, folder: Path, interrupts: Interrupts) -> Outcome:
    try:
        queue.work(interrupts)
        outcome = report(folder, interrupted=interrupts.asked)
    except OSError as error:
        raise NoVerdictError(queue.full or disk.told(error, folder)) from None
    if queue.full:
        raise NoVerdictError(queue.full)
    return outcome


def report(folder: Path, *, interrupted: bool = False) -> Outcome:
    """Judge the journal of a run that is over and write every report into its folder."""
    entries = tuple(journal.read(folder / runs.JOURNAL))
    verdict = judge(folder.name, entries)
    reports.write(folder, verdict, entries)
    runs.point_latest(folder)
    code = EXIT_INTERRUPTED if interrupted else verdict.exit_code
    return Outcome(folder=folder, verdict=verdict, entries=entries, exit_code=code)


class _Queue:
    """The cases of one run, from the first to the last."""

    def __init__(self, order: Order, folder: Path, observers: Sequence[Observer]) -> None:
        self._order, self._folder, self._observers = order, folder, observers
        self._journal = folder / runs.JOURNAL
        self._standing = Standing(run=folder.name, total=len(order.jobs))
        self._end = 0.0
        self.full = ""
        """Why the journal could not be written to its end, in words; nothing is carried out after that."""

    def work(self, interrupts: Interrupts) -> None:
        """Run every case, until somebody wishes to stop."""
        with opened(self._journal) as book:
            book.write(0.0, "runner", machine.seen())
            for place, job in enumerate(self._order.jobs):
                waiting = tuple(later.title() for later in self._order.jobs[place:])
                if interrupts.asked:
                    book.write(self._end, "runner", Noted(f"interrupted; not started: {', '.join(waiting)}"))
                    self.say(waiting=waiting)
                    return
                current = Current(
                    case=job.named.name,
                    distance=job.distance,
                    began_s=time.monotonic(),
                    expected_s=expected_s(job.named.scenario, job.distance),
                )
                self.say(current=current, waiting=waiting[1:])
                self._case(job, interrupts)
                if self.full:
                    return

    def say(self, **changes: object) -> None:
        """Change the standing and tell everybody."""
        self._standing = replace(self._standing, **changes)  # type: ignore[arg-type]  # replace() checks the names
        for observer in self._observers:
            observer.changed(self._standing)

    def _case(self, job: Job, interrupts: Interrupts) -> None:
        scenario = job.named.scenario
        seed = scenario.seed if self._order.seed is None else self._order.seed
        case = Case(
            scenario=scenario,
            distance=job.distance,
            seed=seed,
            # Whole paths: what a driver starts may work in another folder.
            folder=self._folder.resolve() / "cases" / folder_of(job.named.name, job.distance),
            state_dir=self._order.state_dir.resolve(),
            profile=self._order.profile,
        )
        case.folder.mkdir(parents=True)
        began_s, began_byte = time.monotonic(), self._journal.stat().st_size
        # Virtual time begins at 0 by itself; the other distances stamp with the clock that runs.
        own_time = virtual(job.distance)
        t0 = 0.0 if own_time else began_s
        with opened(self._journal, t0=t0, stop=interrupts if own_time else None) as book:
            book.write(t0, "runner", CaseStarted(job.named.name, job.distance, seed, asdict(scenario)))
            ended = carry_out(case, book, _Watch(self), interrupts)
            entries = list(journal.read(self._journal, start=began_byte))
            if own_time and not ended.problem:
                ended = keep_transitions(entries, self._order.state_dir)
            # A simulated case ends at its last moment, or two runs with one seed would not be the same journal.
            end = max(entry.t for entry in entries) if own_time else time.monotonic() - t0
            self._end = end
            with suppress(OSError):  # The book keeps it.
                book.write(end + t0, "runner", ended)
            if book.failed is not None:
                self.full = disk.told(book.failed, self._folder)
                ended = CaseEnded(self.full, EXIT_NO_VERDICT)
            entries.append(Entry(end, "runner", ended))
        with suppress(OSError):
            case.folder.rmdir()  # Only if nothing was put into it.
        self._finish(job, judge(self._folder.name, entries), time.monotonic() - began_s)

    def _finish(self, job: Job, verdict: Verdict, took_s: float) -> None:
        result, why = _result(verdict)
        finished = Finished(case=job.named.name, distance=job.distance, result=result, took_s=took_s, why=why)
        self.say(current=None, done=(*self._standing.done, finished))

    @property
    def standing(self) -> Standing:
        """How the run stands."""
        return self._standing


class _Watch:
    """What a driver tells, passed on; counts at most every tenth of a second."""

    def __init__(self, queue: _Queue) -> None:
        self._queue, self._told_s = queue, float("-inf")

    def stage(self, text: str) -> None:
        """Pass on what happens now."""
        self._change(stage=text)

    def counted(self, sent: int, answered: int, failed: int) -> None:
        """Pass on how the messages stand, unless that was said just now."""
        now = time.monotonic()
        if now - self._told_s >= COUNTS_EVERY_S:
            self._told_s = now
            self._change(sent=sent, answered=answered, failed=failed)

    def _change(self, **changes: object) -> None:
        current = self._queue.standing.current
        assert current is not None, "a driver spoke outside its case"
        self._queue.say(current=replace(current, **changes))  # type: ignore[arg-type]  # replace() checks the names


def expected_s(scenario: Scenario, distance: Distance) -> float:
    """Guess how long a case takes, for whoever waits: its load, and what starts and stops around it."""
    if virtual(distance):
        return 1.0 + scenario.duration_s * scenario.load.users / 2_000
    if scenario.memory is not None:
        return 4.0 + (scenario.memory.cycles + scenario.memory.warm_up) * scenario.memory.messages / 500
    return scenario.duration_s + (3.0 if distance == "wired" else 7.0)


def _result(verdict: Verdict) -> tuple[Result, tuple[str, ...]]:
    """One case's verdict in the words of a status: its mark, and what stands against it."""
    case = verdict.cases[-1]
    if case.outcome is CaseOutcome.PASS:
        return "passed", ()
    broken = tuple(finding.text for finding in case.findings if finding.outcome not in (None, CaseOutcome.PASS))
    # A case that could not be carried out misses every figure: its reason says more than their list.
    why = (case.problem,) if case.problem else broken or (case.why(),)
    return ("failed" if case.outcome is CaseOutcome.FAIL else "no verdict"), why
