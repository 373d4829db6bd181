"""Gauges: what the engine's machines are like at this moment, one line for each gauge.

In    the desk, a moment
Out   one number, or one for each tuple of label values
Rule  a family is declared in core/families.py and read here; what is not known is no number, and is left out
Why   every limit, queue and verdict that decides about a message must be seen where one looks afterwards
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import Final

from harness.chat.desk import Desk
from harness.chat.roster import BotRecord
from harness.chat.steward import FEATURES
from harness.core.headroom import Use

Numbers = float | Mapping[tuple[str, ...], float]
MODES: Final[Mapping[str, float]] = {"full": 0.0, "degraded": 1.0, "maintenance": 2.0}


def _by_bot(value: Callable[[BotRecord, float], float]) -> Callable[[Desk, float], Numbers]:
    return lambda desk, now: {(record.bot,): value(record, now) for record in desk.bots.values()}


def _by_limit(value: Callable[[Use], float | None]) -> Callable[[Desk, float], Numbers]:
    return lambda desk, now: {(use.limit,): _number(value(use)) for use in _uses(desk, now)}


def _uses(desk: Desk, now: float) -> Iterable[Use]:
    return desk.steward.capacity.report(now).uses


def _places(record: BotRecord) -> int:
    return sum(instance.limit.limit for instance in record.active if instance.state == "online")


def _number(value: float | None) -> float:
    return nan if value is None else float(value)


READ: Final[Mapping[str, Callable[[Desk, float], Numbers]]] = {
    "chat_bot_processes": _by_bot(lambda record, _: len(record.active)),
    "chat_turns_limit": _by_bot(lambda record, _: _places(record)),
    "chat_turns_resting": _by_bot(lambda record, _: len(record.resting)),
    "chat_queue_wait_seconds": _by_bot(lambda record, now: record.queue.eta_s(now)),
    "chat_queue_age_seconds": _by_bot(lambda record, now: record.queue.oldest_age_s(now)),
    "chat_capacity_used": _by_limit(lambda use: use.used),
    "chat_capacity_allowed": _by_limit(lambda use: use.allowed),
    "chat_mode": lambda desk, now: MODES[desk.steward.mode(now).mode],
    "chat_health_score": lambda desk, _: nan if desk.steward.score is None else _number(desk.steward.score.score),
    "chat_feature_on": lambda desk, _: {(each.name,): desk.steward.enabled(each.name) for each in FEATURES},
}
