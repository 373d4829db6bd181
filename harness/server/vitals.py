"""Vitals: what is looked at in this service, how often, and from where on it is bad.

In    the service, its guardian, its state directory, the loop watch
Out   rounds for checks.py; what /health/live says
Rule  what only real traffic can tell (the breaker) and what a look can tell (the process) are checks of their own
Why   a bot whose process is well and whose every answer fails is not well, and the other way round
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from harness.adapters.processes import Guardian
from harness.adapters.sqlite import Pulse
from harness.adapters.usage import OwnUsage, resident_bytes, space
from harness.core.breaker import PASSING
from harness.core.events import BotStatus, CheckMoved, Felt
from harness.server.checks import Round, Seen, in_thread
from harness.server.leak_watch import LeakWatch
from harness.server.loop_watch import LOST_MAX, LoopWatch
from harness.server.service import Service
from harness.services.health_check import CheckConfig, HealthCheck, HealthMoved, Level

BEAT_S: Final = 1.0
SLOW_BEAT_S: Final = 5.0
STALE_BEATS: Final = 5
_BREAKERS: Final[Mapping[str, Level]] = {
    "closed": "pass",
    "half-open": "warn",
    "disabled": "warn",
    "metrics-only": "warn",
}
"""What calls go through by order is worth a look; any other state refuses them."""
LAG_WARN_S: Final = 0.25
LAG_FAIL_S: Final = 5.0
STORE_IDLE_S: Final = 15.0
"""An idle store is written to this often."""
MOVES_KEPT: Final = 20
MB: Final = 1_048_576
FREE_WARN_BYTES, FREE_FAIL_BYTES = 1_024 * MB, 64 * MB
MEMORY_WARN, MEMORY_FAIL = 0.80, 0.95
"""Shares of the limit."""
STORE, LOOP, BOTS, DISK = "store:write", "loop:lag", "bots:available", "state:disk"
MEMORY, GUARDIAN, LEAKS = "process:memory", "guardian:process", "process:leaks"
BOT_PROCESS, BOT_BREAKER = "bot:process", "bot:breaker"


def _check(
    name: str, *, beat_s: float = BEAT_S, required: bool = False, instance: str = "", fact: bool = False
) -> CheckConfig:
    """Announce a check; ``fact``: one observation is enough, for it cannot be true by chance."""
    return CheckConfig(
        name=name,
        instance=instance,
        required=required,
        stale_after_s=STALE_BEATS * beat_s,
        fail_at_once=fact,
        fall=1 if fact else 3,
        rise=1 if fact else 2,
    )


CHECKS: Final = (
    _check(STORE, required=True, fact=True),
    _check(LOOP),
    _check(BOTS, fact=True),
    _check(DISK, beat_s=SLOW_BEAT_S),
    _check(MEMORY, beat_s=SLOW_BEAT_S),
    _check(GUARDIAN),
    _check(LEAKS, beat_s=SLOW_BEAT_S, fact=True),
)


class Vitals:
    """The looks at one service."""

    def __init__(
        self, service: Service, health: HealthCheck, *, guardian: Guardian, state_dir: Path, loop_watch: LoopWatch
    ) -> None:
        """Look at ``service``; ``health`` gets a check for every bot that comes, for as long as it is there."""
        self._service, self._guardian, self._state_dir = service, guardian, state_dir
        self.health, self.loop_watch = health, loop_watch
        self.leaks = LeakWatch(service)
        self._usage = OwnUsage()
        self._bots: frozenset[str] = frozenset()
        self._moves: deque[tuple[float, HealthMoved]] = deque(maxlen=MOVES_KEPT)
        for check in CHECKS:
            health.announce(check)

    def rounds(self) -> tuple[Round, ...]:
        """Say what to look at, and how often."""
        return (
            Round(keys=(STORE,), look=self._store, every_s=BEAT_S),
            Round(keys=(LOOP, BOTS), look=self._loop_and_bots, every_s=BEAT_S),
            Round(keys=(GUARDIAN,), look=self._helper, every_s=BEAT_S),
            Round(keys=(DISK,), look=self._disk, every_s=SLOW_BEAT_S),
            Round(keys=(MEMORY, LEAKS), look=self._process, every_s=SLOW_BEAT_S),
        )

    def moved(self, move: HealthMoved) -> None:
        """Write down that a check has changed its level; people need not be told of the first look at it."""
        why = move.evidence.output if move.evidence is not None else ""
        self._service.note(CheckMoved(move.seq, move.check, move.before, move.after, why))
        if move.before != "unknown" or move.observations == 0:
            self._moves.append((monotonic(), move))

    def notes(self) -> list[str]:
        """Say what has changed lately, the newest first."""
        now = monotonic()
        return [
            f"{now - at:.0f} s ago {move.check}: {move.before} -> {move.after}"
            + (f" ({move.evidence.output})" if move.evidence is not None and move.evidence.output else "")
            for at, move in reversed(self._moves)
        ]

    def live(self) -> tuple[bool, str]:
        """Whether the process is worth keeping; nothing but the process is asked."""
        lost, worst_s = self.loop_watch.lost_share(), self.loop_watch.worst_s()
        said = (
            f"the event loop was blocked for up to {worst_s:.1f} s in the last minute" if worst_s > LAG_WARN_S else ""
        )
        return lost <= LOST_MAX, said

    async def _store(self) -> Mapping[str, Seen]:
        service = self._service
        if service.store_problem or monotonic() - service.saved_at > STORE_IDLE_S:
            await service.save(Pulse())
        # A write that went well is not the end of a problem: something small may still find room.
        if service.store_problem:
            return {STORE: Seen("fail", output=service.store_problem)}
        return {STORE: Seen("pass", round(monotonic() - service.saved_at, 3), "s", "")}

    async def _loop_and_bots(self) -> Mapping[str, Seen]:
        lag_s = self.loop_watch.worst_s(within_s=2)
        self._service.loop_lag_s = lag_s
        late = f"the event loop was {lag_s * 1000:.0f} ms late" if lag_s > LAG_WARN_S else ""
        level: Level = "fail" if lag_s > LAG_FAIL_S else "warn" if late else "pass"
        statuses = self._service.statuses()
        self._feel(lag_s)
        self._announce(frozenset(status.bot for status in statuses))
        return {LOOP: Seen(level, round(lag_s * 1000, 1), "ms", late), **_of_bots(statuses)}

    def _feel(self, lag_s: float) -> None:
        """Tell the engine what the machine feels like: its score and its limit of memory live on it."""
        service = self._service
        memory_bytes = self._usage.read().memory_bytes + resident_bytes(service.bot_pids())
        service.handle(Felt(not service.store_problem, lag_s, memory_bytes, self._usage.cpu_share()))

    def _announce(self, bots: frozenset[str]) -> None:
        for name in (BOT_PROCESS, BOT_BREAKER):
            for bot in sorted(self._bots - bots):
                self.health.withdraw(f"{name}/{bot}")
            for bot in sorted(bots - self._bots):
                self.health.announce(_check(name, instance=bot, fact=True))
        self._bots = bots

    async def _helper(self) -> Mapping[str, Seen]:
        if self._guardian.alive:
            return {GUARDIAN: Seen("pass", self._guardian.pid)}
        return {
            GUARDIAN: Seen("fail", output="the guardian is gone: should this process be killed, its bots would stay")
        }

    async def _disk(self) -> Mapping[str, Seen]:
        left = await in_thread(lambda: space(self._state_dir))
        free, low = left.free_bytes, left.free_bytes < FREE_WARN_BYTES
        level: Level = "fail" if free < FREE_FAIL_BYTES else "warn" if low else "pass"
        said = f"{self._state_dir}: {free // MB:,} MB are left: make room" if low else ""
        return {DISK: Seen(level, free, "bytes", said)}

    async def _process(self) -> Mapping[str, Seen]:
        usage = self._usage.read()
        share = usage.memory_bytes / usage.memory_bytes_max
        level: Level = "fail" if share > MEMORY_FAIL else "warn" if share > MEMORY_WARN else "pass"
        said = f"{share:.0%} of {usage.memory_bytes_max // MB:,} MB are used" if level != "pass" else ""
        found = self.leaks.look(usage)
        worst: Level = "pass" if not found else "fail" if found[0].severity == "critical" else "warn"
        return {
            MEMORY: Seen(level, usage.memory_bytes, "bytes", said),
            LEAKS: Seen(worst, len(found), "", "; ".join(leak.text for leak in found)),
        }


def _of_bots(statuses: Sequence[BotStatus]) -> dict[str, Seen]:
    """Judge all bots together, and each by itself."""
    away = [
        f"{one.bot} ({one.why or one.state})" for one in statuses if one.state != "online" or one.breaker not in PASSING
    ]
    said = f"not available: {', '.join(away)}" if away else ""
    found = {BOTS: Seen("warn" if away else "pass", f"{len(statuses) - len(away)} of {len(statuses)}", "", said)}
    for one in statuses:
        process: Level = "pass" if one.state == "online" else "warn" if one.state == "starting" else "fail"
        breaker: Level = _BREAKERS.get(one.breaker, "fail")
        wait = f"tried again in {one.retry_after_s:.1f} s" if one.retry_after_s is not None else ""
        found[f"{BOT_PROCESS}/{one.bot}"] = Seen(process, one.state, "", "" if process == "pass" else one.why)
        found[f"{BOT_BREAKER}/{one.bot}"] = Seen(breaker, one.breaker, "", wait)
    return found
