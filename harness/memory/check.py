"""Leak check: cycles of load, drain, collection and measurement, on the service and on every bot.

In    a scenario with ``[memory]``, the journal, a way to open the service (this room may not start one itself)
Out   one MemorySampled for each process and cycle, warm-up cycles below 0; with ``profile`` also one AllocatorFound
      for each line that keeps allocating
Rule  nothing is in flight while a process is measured; nothing is judged here: core/leak.py reads the samples
Why   what a process keeps of each message, after it had every chance to let go, is what will fill the machine

The driver hands over ``open_service``. Called with a ``Wrapping`` it starts the service with that environment and
those commands, launches the scenario's bots, yields the address once they are online, and ends everything on leaving::

    await check(case.scenario, book, watch, seed=case.seed, folder=case.folder, profile=case.profile,
                open_service=open_service)

With ``profile`` it is called three times: once as it is for the measurement, twice under memray.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from harness.adapters.counters import ENV_DIR, SERVICE, Probed, bot_socket_path, probe, socket_path
from harness.adapters.journal import Book
from harness.adapters.processes import Guardian
from harness.core.events import AllocatorFound, MemorySampled, Noted
from harness.core.scenario import MemoryPlan, Scenario
from harness.errors import NoVerdictError
from harness.memory import culprits
from harness.memory.cycles import Load

SETTLE_TRIES: Final = 5
SETTLE_S: Final = 0.03
RETURN_TRIES: Final = 300
"""Looks for a process that is being started again, before it is said to be gone."""
SETTLING: Final = ("tasks", "handles", "threads")
SOURCE: Final = "memory"
TUNABLES: Final = "GLIBC_TUNABLES"
"""Read by glibc as a process starts; other C libraries ignore it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapping:
    """How the driver shall start the service for one pass of the check."""

    env: Mapping[str, str]
    """Added to the environment of the service, and so of its bots."""
    service_command: tuple[str, ...] = ()
    """What to put before ``serve`` instead of PYTHON -m harness; empty: as always."""
    bot_command: tuple[str, ...] = ()
    """What to hand to ``--bot-command``; empty: as always."""


class Watch(Protocol):
    """Somebody who looks on (the drivers' Watch, named again because this room stands below theirs)."""

    def stage(self, text: str) -> None:
        """Say what happens now."""

    def counted(self, sent: int, answered: int, failed: int) -> None:
        """Say how the messages stand."""


Opener = Callable[[Wrapping], AbstractAsyncContextManager[str]]


async def check(
    scenario: Scenario, book: Book, watch: Watch, *, seed: int, folder: Path, profile: bool, open_service: Opener
) -> None:
    """Measure the service and its bots cycle by cycle; with ``profile`` find the lines that keep allocating."""
    assert scenario.memory is not None, "the driver asks for a check only if the scenario has [memory]"
    one = _Check(scenario, scenario.memory, book, watch, seed, open_service)
    await one.measure()
    if profile:
        await one.profile(folder)


@dataclass(frozen=True, slots=True)
class _Check:
    scenario: Scenario
    plan: MemoryPlan
    book: Book
    watch: Watch
    seed: int
    open_service: Opener

    async def measure(self) -> None:
        """Run the cycles and write down what every process holds after each."""
        subjects = (SERVICE, *self.scenario.bot_names())
        last: dict[str, Probed] = {}
        async with AsyncExitStack() as stack:
            probes = stack.enter_context(_probe_dir())
            load = await self._open(stack, Wrapping(env={ENV_DIR: str(probes), **_exact_heap()}))
            for cycle in range(-self.plan.warm_up, self.plan.cycles):
                self.watch.stage(f"memory: {_called(cycle, self.plan)}")
                await self._run(load)
                for subject in subjects:
                    seen = last[subject] = await _settled(_socket(probes, subject), last.get(subject))
                    messages = load.sent.get(subject, load.total())
                    answered = load.answered.get(subject, load.heard.answered)
                    self._write(MemorySampled(subject, cycle, messages, seen.counters, pid=seen.pid, answered=answered))
        if load.heard.failed:
            failed = f"{load.heard.failed} of {load.total()} messages failed ({load.heard.first_failure})"
            self._write(Noted(f"leak check: {failed}"))

    async def profile(self, folder: Path) -> None:
        """Run under memray with N and with 2N messages: what grew in between, the messages cost."""
        problem = culprits.problem()
        if problem:
            self._write(Noted(f"--profile: {problem}"))
            return
        short = await self._profiled(_emptied(folder / "memray-1"), cycles=self.plan.cycles)
        long = await self._profiled(_emptied(folder / "memray-2"), cycles=2 * self.plan.cycles)
        self.watch.stage("memory: reading the profiles")
        for fact in await asyncio.to_thread(culprits.compare, short, long, folder):
            self._write(fact)
        for done in (short, long):
            shutil.rmtree(done.folder)

    async def _profiled(self, folder: Path, *, cycles: int) -> culprits.Pass:
        subjects = (SERVICE, *self.scenario.bot_names())
        async with AsyncExitStack() as stack:
            probes = stack.enter_context(_probe_dir())
            wrapping = Wrapping(
                env={ENV_DIR: str(probes)},
                service_command=culprits.profiled_command(folder, "harness"),
                bot_command=culprits.profiled_command(folder, "fake_bots"),
            )
            load = await self._open(stack, wrapping)
            for cycle in range(-self.plan.warm_up, cycles):
                self.watch.stage(f"memory: under memray, {_called(cycle, self.plan, cycles)}")
                await self._run(load)
            for subject in subjects:
                await _settled(_socket(probes, subject), None)
            await culprits.finish(folder, subjects)
        return culprits.Pass(folder, {SERVICE: load.total(), **load.sent})

    async def _open(self, stack: AsyncExitStack, wrapping: Wrapping) -> Load:
        service = await stack.enter_async_context(self.open_service(wrapping))
        bots = self.scenario.bot_names()
        load = await Load.open(stack, service, bots, words=self.scenario.load.words, seed=self.seed)
        self.watch.stage("memory: filling caches")
        limits = self.scenario.service
        await load.fill(min(limits.text_chars_max, limits.frame_bytes_max // 2))
        return load

    async def _run(self, load: Load) -> None:
        heard = await load.run(self.plan.messages)
        self.watch.counted(load.total(), load.heard.answered, load.heard.failed)
        if not heard.answered:
            raise NoVerdictError(f"leak check: of a whole cycle no message was answered ({heard.first_failure})")

    def _write(self, fact: MemorySampled | AllocatorFound | Noted) -> None:
        self.book.write(time.monotonic(), SOURCE, fact)


def _socket(probes: Path, subject: str) -> Path:
    return socket_path(probes, SERVICE) if subject == SERVICE else bot_socket_path(probes, subject)


async def _settled(path: Path, before: Probed | None) -> Probed:
    """Probe; again after a moment if more tasks or handles are there than last time, for they may be about to go."""
    for _ in range(RETURN_TRIES):
        if await asyncio.to_thread(path.exists):
            break
        await asyncio.sleep(SETTLE_S)  # It died with the last message of the cycle, and is being started again.
    seen = await probe(path)
    for _ in range(SETTLE_TRIES):
        if before is None or all(seen.counters[name] <= before.counters[name] for name in SETTLING):
            break
        await asyncio.sleep(SETTLE_S)
        seen = await probe(path)
    return seen


def _exact_heap() -> dict[str, str]:
    """Make glibc count right: what its per-thread cache holds it calls in use, and that cache fills for a long time."""
    given = os.environ.get(TUNABLES, "")
    return {TUNABLES: ":".join(filter(None, (given, "glibc.malloc.tcache_count=0")))}


@contextmanager
def _probe_dir() -> Iterator[Path]:
    """Give a short-lived directory with a short name: a Unix socket's path may have about 100 bytes."""
    guardian = Guardian.start()
    folder = Path(tempfile.mkdtemp(prefix="hive-"))
    guardian.watch_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        guardian.close()


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _called(cycle: int, plan: MemoryPlan, cycles: int | None = None) -> str:
    if cycle < 0:
        return f"warm-up {cycle + plan.warm_up + 1} of {plan.warm_up}"
    return f"cycle {cycle + 1} of {plan.cycles if cycles is None else cycles}"
