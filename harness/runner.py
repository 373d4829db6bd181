"""Runner: a queue of cases, one after the other, into one journal; then the verdict and the reports from it.

In    an ``Order``: which scenarios at which distances, where results go; observers who are told how it stands
Out   ``reports/runs/<id>/`` with journal.jsonl, the attachments of each case and every report; an ``Outcome``
Rule  a case that cannot be carried out is written down and the queue goes on; the verdict reads only the disk
Why   what a person sees afterwards is what happened, also after Ctrl-C, and can be judged again at any time
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from harness import drivers, plugins, reporters
from harness.adapters import journal, machine, runs
from harness.adapters.breaker_log import BreakerLog
from harness.adapters.interrupts import Interrupts
from harness.adapters.scenarios import Named
from harness.adapters.status import Current, Finished, Result, Standing
from harness.core.events import BreakerMoved, CaseEnded, CaseStarted, Entry, Noted
from harness.core.judge import judge
from harness.core.scenario import Distance, Scenario
from harness.core.verdict import Outcome as CaseOutcome
from harness.core.verdict import Verdict
from harness.drivers import Case, Driver
from harness.errors import EXIT_INTERRUPTED, EXIT_NO_VERDICT, HarnessError

BOT_LOGS: Final = "bot-logs"
"""In the state folder: logs of bots, and the transitions of their breakers."""
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
            queue.work(interrupts)
            outcome = report(folder, interrupted=interrupts.asked)
        queue.say(note=f"{outcome.verdict.title()}: {outcome.folder / 'report.html'}")
        return outcome
    finally:
        for observer in observers:
            observer.close()


def report(folder: Path, *, interrupted: bool = False) -> Outcome:
    """Judge the journal of a run that is over and write every report into its folder."""
    entries = tuple(journal.read(folder / runs.JOURNAL))
    verdict = judge(folder.name, entries)
    for name in plugins.names(reporters):
        reporter = plugins.build(reporters, name, _options(name, folder))
        for file, content in reporter.render(verdict, entries).items():
            (folder / file).write_bytes(content)
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

    def work(self, interrupts: Interrupts) -> None:
        """Run every case, until somebody wishes to stop."""
        with _book(self._journal) as book:
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
            folder=self._folder.resolve() / "cases" / f"{job.named.name.replace('/', '-')}-{job.distance}",
            state_dir=self._order.state_dir.resolve(),
            profile=self._order.profile,
        )
        case.folder.mkdir(parents=True)
        began_s, began_byte = time.monotonic(), self._journal.stat().st_size
        # Simulated time begins at 0 by itself; the other distances stamp with the clock that runs.
        t0 = 0.0 if job.distance == "simulated" else began_s
        with _book(self._journal, t0=t0, interrupts=interrupts) as book:
            book.write(t0, "runner", CaseStarted(job.named.name, job.distance, seed, asdict(scenario)))
            ended = _carry_out(case, book, _Watch(self), interrupts)
            entries = list(journal.read(self._journal, start=began_byte))
            # A simulated case ends at its last moment, or two runs with one seed would not be the same journal.
            end = max(entry.t for entry in entries) if job.distance == "simulated" else time.monotonic() - t0
            self._end = end
            book.write(end + t0, "runner", ended)
            entries.append(Entry(end, "runner", ended))
        if job.distance == "simulated":
            _keep_transitions(entries, self._order.state_dir)
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
    if distance == "simulated":
        return 1.0 + scenario.duration_s * scenario.load.users / 2_000
    if scenario.memory is not None:
        return 4.0 + (scenario.memory.cycles + scenario.memory.warm_up) * scenario.memory.messages / 500
    return scenario.duration_s + (3.0 if distance == "wired" else 7.0)


def _carry_out(case: Case, book: journal.Book, watch: _Watch, interrupts: Interrupts) -> CaseEnded:
    """Let the driver work; whatever ends it early becomes words for the journal."""
    try:
        driver: Driver = plugins.build(drivers, case.distance, {})
        interrupts.run(driver.drive(case, book, watch))
    except asyncio.CancelledError:
        return CaseEnded("interrupted", EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001  # a driver's bug costs its own case, not the queue behind it
        known = _meant(error)
        if known is not None:
            return CaseEnded(str(known), known.exit_code)
        kept = case.folder / "traceback.txt"
        kept.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return CaseEnded(
            f"the {case.distance} driver broke: {type(error).__name__}: {error} (cases/{case.folder.name}/{kept.name})",
            EXIT_NO_VERDICT,
        )
    return CaseEnded()


def _meant(error: BaseException) -> HarnessError | None:
    """The error that was raised on purpose, also from inside a group of tasks; None for a bug."""
    if isinstance(error, HarnessError):
        return error
    if isinstance(error, BaseExceptionGroup):
        inner = [_meant(each) for each in error.exceptions]
        return inner[0] if inner and all(inner) else None
    return None


def _keep_transitions(entries: Sequence[Entry], state_dir: Path) -> None:
    """Write simulated transitions where a real service would have written its own."""
    folder = state_dir / BOT_LOGS
    folder.mkdir(parents=True, exist_ok=True)
    log = BreakerLog(folder)
    try:
        for entry in entries:
            if isinstance(entry.fact, BreakerMoved):
                log.write(entry.t, entry.fact)
    finally:
        log.close()


def _result(verdict: Verdict) -> tuple[Result, tuple[str, ...]]:
    """One case's verdict in the words of a status: its mark, and what stands against it."""
    case = verdict.cases[-1]
    if case.outcome is CaseOutcome.PASS:
        return "passed", ()
    broken = tuple(finding.text for finding in case.findings if finding.outcome not in (None, CaseOutcome.PASS))
    # A case that could not be carried out misses every figure: its reason says more than their list.
    why = (case.problem,) if case.problem else broken or (case.why(),)
    return ("failed" if case.outcome is CaseOutcome.FAIL else "no verdict"), why


def _options(reporter: str, folder: Path) -> dict[str, object]:
    """What a reporter needs besides verdict and entries: the HTML page carries its pictures within itself."""
    if reporter != "html":
        return {}
    pictures = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("cases/*/*.png")}
    return {"pictures": pictures} if pictures else {}


class _StoppableBook(journal.Book):
    """A simulation never waits, so there is no place to cancel it but where it writes."""

    def __init__(self, path: Path, interrupts: Interrupts) -> None:
        super().__init__(path)
        self._interrupts = interrupts

    def write_all(self, entries: Iterable[Entry]) -> None:
        """Write, unless somebody wishes to stop."""
        super().write_all(entries)
        self._interrupts.check()


@contextmanager
def _book(path: Path, *, t0: float = 0.0, interrupts: Interrupts | None = None) -> Iterator[journal.Book]:
    book = journal.Book(path, t0=t0) if t0 or interrupts is None else _StoppableBook(path, interrupts)
    try:
        yield book
    finally:
        book.close()
