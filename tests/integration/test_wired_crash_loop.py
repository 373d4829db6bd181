"""The first injector, on processes that the test started itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness import injectors, plugins
from harness.injectors import Delivery
from harness.injectors.crash_loop import CrashLoop, descendant


@dataclass
class Family:
    """Stands for the service: its "bots" are children of this test."""

    pid: int = field(default_factory=os.getpid)
    status: dict[str, Any] = field(default_factory=lambda: {"bot": "echo", "pid": None})

    async def bots(self) -> list[dict[str, Any]]:
        return [{"bot": "other", "pid": None}, self.status]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


async def deliveries(loop: CrashLoop, family: Family, *, limit_s: float, enough: int) -> list[Delivery]:
    found: list[Delivery] = []
    try:
        async with asyncio.timeout(limit_s), aclosing(loop.inject(family)) as hits:
            async for hit in hits:
                found.append(hit)
                if len(found) == enough:
                    break
    except TimeoutError:
        pass
    return found


def test_it_is_found_by_its_name() -> None:
    assert "crash-loop" in plugins.names(injectors)
    assert plugins.build(injectors, "crash-loop", {"bot": "echo"}) == CrashLoop(bot="echo")


def test_it_can_prove_itself() -> None:
    asyncio.run(CrashLoop(bot="echo").prove())


def test_each_process_is_killed_once(sleeper: subprocess.Popen[bytes]) -> None:
    family = Family(status={"bot": "echo", "pid": sleeper.pid})
    found = asyncio.run(deliveries(CrashLoop(bot="echo"), family, limit_s=1.0, enough=2))
    assert [hit.detail for hit in found] == [f"pid {sleeper.pid}, SIGKILL"]
    assert sleeper.wait(30) == -signal.SIGKILL


def test_other_bots_are_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    family = Family(status={"bot": "echo", "pid": sleeper.pid})
    assert asyncio.run(deliveries(CrashLoop(bot="victim"), family, limit_s=0.3, enough=1)) == []
    assert sleeper.poll() is None


def test_nobody_elses_process_is_ever_hit(sleeper: subprocess.Popen[bytes]) -> None:
    # The service names a pid that is no descendant of its own: a stale number, now somebody else's.
    family = Family(pid=sleeper.pid, status={"bot": "echo", "pid": os.getpid()})
    assert asyncio.run(deliveries(CrashLoop(bot="echo"), family, limit_s=0.3, enough=1)) == []


def test_descendants(sleeper: subprocess.Popen[bytes]) -> None:
    found = descendant(sleeper.pid, os.getpid())
    assert found is not None
    assert found.pid == sleeper.pid
    assert descendant(os.getpid(), sleeper.pid) is None
    assert descendant(os.getpid(), os.getpid()) is None
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # Dead, but not yet collected: a zombie.
    assert descendant(sleeper.pid, os.getpid()) is None
