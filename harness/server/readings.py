"""Readings: what only the moment knows, one line for each gauge.

In    the service, when somebody collects its metrics
Out   numbers, by label values where a family has labels
Rule  a family is declared in core/families.py and read here, what the engine knows in chat/gauges.py; reading
      changes nothing and waits for nothing
Why   a new gauge must cost two lines, or it will not be added
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from harness.chat.gauges import READ
from harness.core.breaker import State
from harness.core.events import BotStatus
from harness.core.families import BOT_STATES

if TYPE_CHECKING:
    from harness.server.service import Service

BREAKER_VALUES: Final[Mapping[str, float]] = {
    State.CLOSED: 0.0,
    State.HALF_OPEN: 1.0,
    State.OPEN: 2.0,
    State.FORCED_OPEN: 3.0,
    State.DISABLED: -1.0,
    State.METRICS_ONLY: -2.0,
}
"""2 and more: messages are refused. Below 0: somebody lets them through unjudged."""


def watch(service: Service) -> None:
    """Have the service's metrics ask for these whenever they are collected."""
    since = monotonic()
    read = service.metrics.watch

    def by_bot(value: Callable[[BotStatus], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(status.bot,): value(status) for status in service.statuses()}

    read("chat_bots", lambda: _states(service))
    read("chat_breaker_state", by_bot(lambda status: BREAKER_VALUES[status.breaker]))
    read("chat_turns_in_flight", by_bot(lambda status: status.in_flight))
    read("chat_turns_queued", by_bot(lambda status: status.queued))
    read("chat_bot_restarts", by_bot(lambda status: status.restarts))
    read("chat_sockets", lambda: len(service.hub.connections))
    read("chat_sockets_paused", lambda: service.hub.paused)
    read("chat_reader_pauses_total", lambda: service.hub.tally.pauses)
    read("chat_readers_dropped_total", lambda: service.hub.tally.dropped)
    read("chat_unsaved_batches", lambda: service.waiting)
    read("chat_not_saved_total", lambda: service.not_saved)
    read("chat_loop_lag_seconds", lambda: service.loop_lag_s)
    read("chat_uptime_seconds", lambda: monotonic() - since)
    for name in READ:
        read(name, partial(service.gauge, name))


def _states(service: Service) -> dict[tuple[str, ...], float]:
    states = [status.state for status in service.statuses()]
    return {(state,): states.count(state) for state in BOT_STATES}
