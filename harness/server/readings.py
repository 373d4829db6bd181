"""Readings: what only the moment knows, one line for each gauge.

In    the service, when somebody collects its metrics
Out   numbers, by label values where a family has labels
Rule  a family is declared in core/families.py and read here; reading changes nothing and waits for nothing
Why   a new gauge must cost two lines, or it will not be added
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final

from harness.core.events import BotStatus
from harness.core.families import BOT_STATES

if TYPE_CHECKING:
    from harness.server.service import Service

BREAKER_VALUES: Final[Mapping[str, float]] = {"closed": 0.0, "half-open": 1.0, "open": 2.0}


def watch(service: Service) -> None:
    """Have the service's metrics ask for these whenever they are collected."""
    since = monotonic()
    read = service.metrics.watch

    def by_bot(value: Callable[[BotStatus], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(status.bot,): value(status) for status in service.statuses()}

    read("chat_bots", lambda: _states(service))
    read("chat_breaker_state", by_bot(lambda status: BREAKER_VALUES.get(status.breaker, float("nan"))))
    read("chat_turns_in_flight", by_bot(lambda status: status.in_flight))
    read("chat_turns_queued", by_bot(lambda status: status.queued))
    read("chat_bot_restarts", by_bot(lambda status: status.restarts))
    read("chat_sockets", lambda: len(service.hub.connections))
    read("chat_unsaved_batches", lambda: service.waiting)
    read("chat_not_saved_total", lambda: service.not_saved)
    read("chat_loop_lag_seconds", lambda: service.loop_lag_s)
    read("chat_uptime_seconds", lambda: monotonic() - since)


def _states(service: Service) -> dict[tuple[str, ...], float]:
    states = [status.state for status in service.statuses()]
    return {(state,): states.count(state) for state in BOT_STATES}
