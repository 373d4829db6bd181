"""Wired: the real service, real bot processes, and a real Locust run beside them.

In    a case
Out   the facts of three witnesses on one clock: the service, the Locust users, this driver (faults, transcripts)
Rule  everything runs in processes of its own and ends with the case; what was seen is written down even after a bad end
Why   what holds in simulated time must hold over sockets, pipes, disks and signals, with users who do not wait for us

A scenario with ``[memory]`` is a leak check instead (harness/memory).
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from harness.adapters import shipped
from harness.adapters.journal import Book
from harness.core.events import Entry, Noted, RunFact
from harness.core.scenario import Scenario
from harness.core.settings import TASKS_PER_S_MAX
from harness.drivers import Case, Watch, _faults
from harness.drivers._gather import answering, read_transcripts, write_down
from harness.drivers._tail import Tail
from harness.errors import EXIT_FAILED, EXIT_NO_VERDICT, EXIT_PASS, HarnessError, NoVerdictError, TargetDownError
from harness.memory.check import Wrapping, check
from harness.targets._api import Api
from harness.targets._child import Child, child_env
from harness.targets.reference import Reference, RunningService

__all__ = ["Wired"]

UNPACED: Final = 1_000_000
"""Messages a second that no session sends."""
_POLL_S: Final = 0.05
_COUNT_EVERY_S: Final = 0.5
_BEGIN_MAX_S: Final = 60.0
_OVERTIME_S: Final = 30.0
_PROFILED_S: Final = 60.0
"""Under memray everything starts and ends later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """The distance of real processes."""

    async def drive(self, case: Case, book: Book, watch: Watch) -> None:
        """Carry the case out and write down what three witnesses saw."""
        if case.scenario.memory is not None:
            await _leak_check(case, book, watch)
            return
        locustfile = find_locustfile()
        await _faults.prove(case.scenario.faults)
        async with _on_stage(case, Reference(), watch) as service:
            trial = _Trial(case, service, watch)
            try:
                await trial.run(locustfile)
            finally:
                trial.write(book)


@asynccontextmanager
async def _on_stage(case: Case, target: Reference, watch: Watch) -> AsyncIterator[RunningService]:
    """Start the service, and every bot of the cast."""
    scenario = case.scenario
    watch.stage("starting the service")
    async with target.open(
        folder=case.folder, bot_logs=case.state_dir / "bot-logs", settings=scenario.service
    ) as service:
        api = Api(service.url)
        names = scenario.bot_names()
        try:
            watch.stage(f"starting {len(names)} bot{'s' if len(names) > 1 else ''}")
            for bot in scenario.bots:
                for name in bot.names():
                    await api.launch(bot.behaviour, name, bot.options, case.seed)
            await api.online(names, limit_s=scenario.service.bot_start_max_s + target.start_max_s)
        finally:
            api.close()
        yield service


async def _leak_check(case: Case, book: Book, watch: Watch) -> None:
    # Few sessions send everything, as fast as they are answered: their pace is not what is looked at. Nor is the
    # history of metrics, which fills with time and is bounded (tests/memory/test_engine_keeps_nothing.py).
    service = replace(
        case.scenario.service,
        session_rate_per_s=float(UNPACED),
        session_burst=UNPACED,
        tasks_per_s_max=TASKS_PER_S_MAX,
        history=False,
    )
    case = replace(case, scenario=replace(case.scenario, service=service))

    @asynccontextmanager
    async def open_service(wrapping: Wrapping) -> AsyncIterator[str]:
        limits = {"start_max_s": _PROFILED_S, "end_max_s": _PROFILED_S} if wrapping.service_command else {}
        target = Reference(
            service_command=wrapping.service_command,
            bot_command=wrapping.bot_command,
            extra_env=wrapping.env,
            **limits,
        )
        async with _on_stage(case, target, watch) as service:
            yield service.url
        for path in service.journals:
            path.unlink(missing_ok=True)  # Megabytes that nobody judges; after a bad end they stay.

    await check(
        case.scenario,
        book,
        watch,
        seed=case.seed,
        folder=case.folder,
        profile=case.profile,
        open_service=open_service,
    )


def find_locustfile() -> Path:
    """Find the locustfile; TargetDownError says what to install."""
    if importlib.util.find_spec("locust") is None:
        raise TargetDownError("the wired distance needs Locust: pip install 'hive-harness[load]'")
    path = shipped.find().scenarios / "locustfile.py"
    if not path.is_file():
        raise TargetDownError(f"{path} is missing: the wired distance runs it with Locust")
    return path


@dataclass(slots=True)
class _Trial:
    """One load, with its faults."""

    case: Case
    service: RunningService
    watch: Watch
    entries: list[Entry] = field(default_factory=list)
    """What the driver itself saw; times are CLOCK_MONOTONIC."""

    @property
    def journal(self) -> Path:
        """What the Locust users saw; absolute, for Locust works in another folder than we do."""
        return self.case.folder.resolve() / "load.jsonl"

    async def run(self, locustfile: Path) -> None:
        """Let the users in, let the faults loose, see everybody out, read what was stored."""
        scenario = self.case.scenario
        self.watch.stage("starting Locust")
        load = await Child.start(
            load_command(scenario, self.case.seed, locustfile, self.service.url, self.journal),
            guardian=self.service.guardian,
            log=self.case.folder / "load.log",
            env=_load_env(self.service),
            cwd=self.case.folder,  # A locust.conf of whoever runs us is not meant for this load.
        )
        try:
            tail = Tail(self.journal)
            began = await self._began(load, tail)
            users = scenario.load.users_in_all
            self.watch.stage(f"{users} user{'s' if users > 1 else ''} for {scenario.duration_s:g} s")
            faults = asyncio.create_task(_faults.carry_out(scenario.faults, self.service, began, self._fault))
            try:
                await self._attend(load, faults, tail)
            finally:
                faults.cancel()
                with suppress(asyncio.CancelledError):
                    await faults
        finally:
            await load.end(grace_s=_POLL_S)  # It has ended by itself, or what it still has to say is not wanted.
        self._account(load, tail)
        self.watch.stage("reading the stored sessions")
        await read_transcripts(self.service.url, tail.sessions, self.entries)

    def write(self, book: Book) -> None:
        """Put everything that was seen into the case's journal."""
        write_down(book, self.entries, [*self.service.journals, self.journal])

    async def _began(self, load: Child, tail: Tail) -> float:
        """Wait for the first line of the users' journal: it is written as the load begins."""
        deadline = time.monotonic() + _BEGIN_MAX_S
        while tail.began is None:
            if load.ended:
                raise TargetDownError(f"Locust ended with {load.ended}:\n{load.last_words()}")
            if time.monotonic() > deadline:
                raise TargetDownError(f"Locust does not begin after {_BEGIN_MAX_S:g} s:\n{load.last_words()}")
            await asyncio.sleep(_POLL_S)
            tail.look()
        return tail.began

    async def _attend(self, load: Child, faults: asyncio.Task[None], tail: Tail) -> None:
        """Watch until the users have left and every fault is healed."""
        scenario = self.case.scenario
        deadline = time.monotonic() + math.ceil(scenario.duration_s) + drain_s(scenario) + _OVERTIME_S
        told = 0.0
        while not load.ended or not faults.done():
            if faults.done():
                _proven(faults)
            if self.service.ended:
                words = self.service.last_words()
                raise HarnessError(f"the service ended with {self.service.ended} under load:\n{words}")
            if time.monotonic() > deadline:
                raise NoVerdictError(f"the load did not end in time:\n{load.last_words()}")
            if time.monotonic() - told >= _COUNT_EVERY_S:
                told = time.monotonic()
                tail.look()
                self.watch.counted(tail.sent, tail.answered, tail.failed)
            await asyncio.sleep(_POLL_S)
        _proven(faults)

    def _account(self, load: Child, tail: Tail) -> None:
        """See whether the load was one."""
        tail.look()
        self.watch.counted(tail.sent, tail.answered, tail.failed)
        code = load.process.returncode
        if code == EXIT_NO_VERDICT:
            raise NoVerdictError(
                f"the load's own code broke, so it was not the load that was planned:\n{load.last_words()}"
            )
        if not tail.sent or code not in (EXIT_PASS, EXIT_FAILED):
            raise NoVerdictError(f"Locust sent {tail.sent} messages and ended with {load.ended}:\n{load.last_words()}")
        if code != EXIT_PASS:
            text = "Locust reports more than refused and failed messages: see load.log"
            self.entries.append(Entry(time.monotonic(), "driver", Noted(text)))

    def _fault(self, t: float, fact: RunFact) -> None:
        self.entries.append(Entry(t, _faults.SOURCE, fact))


def _proven(faults: asyncio.Task[None]) -> None:
    """Raise what ended the faults before their time."""
    with answering():
        faults.result()


def load_command(scenario: Scenario, seed: int, locustfile: Path, url: str, journal_path: Path) -> list[str]:
    """Give the command line of the load; every setting is on it, so that it can be repeated by hand."""
    users = str(scenario.load.users_in_all)
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--host", url, "--headless", "--only-summary"]
    command += ["--users", users, "--spawn-rate", users, "--run-time", f"{math.ceil(scenario.duration_s)}s"]
    command += ["--stop-timeout", f"{drain_s(scenario)}s", "--harness-journal", str(journal_path)]
    command += ["--harness-bots", ",".join(scenario.bot_names()), "--harness-seed", str(seed)]
    command += ["--harness-say-every", str(scenario.load.say_every_s), "--harness-words", str(scenario.load.words)]
    if (burst := scenario.load.burst) is not None:
        command += ["--harness-burst", f"{burst.users}@{burst.at_s}+{burst.for_s}"]
    return command


def drain_s(scenario: Scenario) -> int:
    """Seconds after which the service has failed every silent turn by itself, and a little more."""
    return math.ceil(scenario.service.reply_silence_max_s + scenario.service.bot_start_max_s) + 5


def _load_env(service: RunningService) -> dict[str, str]:
    env = child_env(service.guardian)
    return {name: value for name, value in env.items() if not name.startswith("LOCUST_")}
