"""Heartbeat: look at the service once a second, so that a probe only has to read.

In    the service
Out   observations for services/health_check.py
Rule  real commits count as observations of the store; only an idle or failing store is written to on purpose
Why   a health page that works harder the more often it is asked makes a bad moment worse
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from harness.adapters.sqlite import Pulse
from harness.errors import StoreError
from harness.server.service import Service
from harness.services.health_check import CheckConfig, HealthCheck

BEAT_S: Final = 1.0
LAG_WARN_S: Final = 0.25
STORE_IDLE_S: Final = 15.0
"""An idle store is written to this often."""
STORE, LOOP, BOTS = "store:write", "loop:lag", "bots:available"
CHECKS: Final = (
    CheckConfig(name=STORE, required=True, stale_after_s=3 * STORE_IDLE_S, fail_at_once=True, rise=1),
    CheckConfig(name=LOOP, required=False, stale_after_s=5 * BEAT_S),
    CheckConfig(name=BOTS, required=False, stale_after_s=5 * BEAT_S),
)


class Heartbeat:
    """One look a second."""

    def __init__(self, service: Service, health: HealthCheck) -> None:
        """Observe ``service``, note in ``health``."""
        self._service, self._health = service, health

    async def beat_on(self) -> None:
        """Run until cancelled."""
        self._look(0.0)
        while True:
            before = monotonic()
            await asyncio.sleep(BEAT_S)
            await self._try_store()
            self._look(max(0.0, monotonic() - before - BEAT_S))

    async def _try_store(self) -> None:
        idle = monotonic() - self._service.saved_at > STORE_IDLE_S
        if idle or self._service.store_problem:
            try:
                await self._service.save(Pulse())
            except StoreError:
                return  # The service keeps the reason.

    def _look(self, lag_s: float) -> None:
        service, note, now = self._service, self._health.note, monotonic()
        service.loop_lag_s = lag_s
        lag_ms = round(lag_s * 1000, 1)
        slow = f"the event loop was {lag_ms} ms late" if lag_s > LAG_WARN_S else ""
        note(LOOP, now, "warn" if slow else "pass", observed=lag_ms, unit="ms", output=slow)
        if service.store_problem:
            note(STORE, now, "fail", output=service.store_problem)
        else:
            note(STORE, service.saved_at, "pass")
        statuses = service.statuses()
        away = [
            f"{status.bot} ({status.why or status.state})" for status in statuses if _away(status.state, status.breaker)
        ]
        note(
            BOTS,
            now,
            "warn" if away else "pass",
            observed=f"{len(statuses) - len(away)} of {len(statuses)}",
            output=f"not available: {', '.join(away)}" if away else "",
        )


def _away(state: str, breaker: str) -> bool:
    return state != "online" or breaker != "closed"
