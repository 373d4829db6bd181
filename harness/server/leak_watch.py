"""Leak watch: count what the service holds every few seconds, and let the leak guard judge.

In    the service, the process
Out   findings for the health report; gauges for /metrics
Rule  counts are taken where they are kept; nothing is collected or walked through that grows with the messages
Why   the guard can only see what somebody counts
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Final

from harness.adapters.usage import Usage
from harness.server.service import Service
from harness.server.websocket import CONNECTIONS_MAX
from harness.services.leak_guard import Leak, LeakGuard, Watch

TURNS_MAX: Final = 32_000
"""As many as the queues of all bots hold at their defaults."""
TASKS_OF_A_SOCKET: Final = 2
HANDLES_OF_A_BOT: Final = 4
"""Its three pipes, and its log."""


def _watches() -> tuple[Watch, ...]:
    """Say what is watched."""
    return (
        Watch(name="turns_open", growth_min=64, load=True, limit=TURNS_MAX),
        Watch(name="turns_overdue", growth_min=1, zero=True),
        Watch(name="sessions_abandoned", growth_min=4, zero=True),
        Watch(name="batches_waiting", growth_min=64),
        Watch(name="timers", growth_min=64),
        Watch(name="sockets", growth_min=64, load=True, limit=CONNECTIONS_MAX),
        Watch(name="frames_waiting", growth_min=1_000),
        Watch(name="processes_unwanted", growth_min=2, zero=True),
        Watch(name="tasks_unexplained", growth_min=16),
        Watch(name="handles_unexplained", growth_min=16),
        Watch(name="threads", growth_min=8),
    )


class LeakWatch:
    """The counts of one service, judged."""

    def __init__(self, service: Service, guard: LeakGuard | None = None) -> None:
        """Watch ``service``."""
        self._service = service
        self._guard = guard or LeakGuard()
        self._counts: dict[str, float] = {}
        for watch in _watches():
            self._guard.watch(watch)
        service.metrics.watch("chat_watched", lambda: {(name,): count for name, count in self._counts.items()})
        service.metrics.watch("chat_leaks", self._leaking)

    def look(self, usage: Usage) -> tuple[Leak, ...]:
        """Count everything once; give what is found."""
        now, counts = monotonic(), dict[str, float](self._service.census())
        tasks, sockets = len(asyncio.all_tasks()), counts["sockets"]
        processes, wanted = counts.pop("bot_processes"), counts.pop("processes_wanted")
        # What sockets and bots explain is taken off; below 0 is one that is just coming or going.
        counts["processes_unwanted"] = processes - wanted
        counts["tasks_unexplained"] = tasks - TASKS_OF_A_SOCKET * sockets
        counts["handles_unexplained"] = usage.handles - sockets - HANDLES_OF_A_BOT * processes
        counts["threads"] = usage.threads
        counts = {name: max(0.0, count) for name, count in counts.items()}
        for name, count in counts.items():
            self._guard.note(name, now, count)
        self._counts = counts
        return self._guard.findings()

    def _leaking(self) -> Mapping[tuple[str, ...], float]:
        return {(leak.name, leak.severity): 1.0 for leak in self._guard.findings()}
