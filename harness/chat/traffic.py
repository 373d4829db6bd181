"""Traffic: how many messages, how many errors, how slow, of each bot and of all together.

In    the aggregator's history, and a window of it
Out   messages per minute, the share that failed; percentiles of the reply's seconds
Rule  a turn counts when it ends; one that its user cancelled is no failure. No turn, no share: it is no number then
Why   three figures that everybody asks for first, made from the one record that every turn leaves
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Final

from harness.core.series import Labels, Observation
from harness.services.aggregator import Aggregator

WINDOW_S: Final = 60
FINE: Final = ("done", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one bot, or all of them, did in a window."""

    messages_per_minute: float
    error_ratio: float
    """Failed turns of all that ended; no number if none did."""


def traffic(aggregator: Aggregator, now: float, window_s: float = WINDOW_S) -> Mapping[str, Traffic]:
    """Give each bot's figures by its name, and those of all under "" (which is always there)."""
    found: dict[str, Traffic] = {}
    for by in ((), ("bot",)):
        ended = _named(aggregator.query("chat_turns_total", {}, "increase", window_s, now, by=by))
        failed = _named(
            aggregator.query("chat_turns_total", {}, "increase", window_s, now, unless={"outcome": FINE}, by=by)
        )
        for bot, turns in ended.items():
            found[bot] = Traffic(
                messages_per_minute=turns * 60.0 / window_s, error_ratio=failed.get(bot, 0.0) / turns if turns else nan
            )
    return {"": Traffic(messages_per_minute=0.0, error_ratio=nan), **found}


def latency(aggregator: Aggregator, now: float, window_s: float = WINDOW_S) -> Mapping[str, Mapping[str, float]]:
    """Give the p50, p95 and p99 of each bot's replies in seconds, and those of all under ""."""
    found: dict[str, dict[str, float]] = {}
    for by in ((), ("bot",)):
        for agg in ("p50", "p95", "p99"):
            for bot, value in _named(aggregator.query("chat_reply_seconds", {}, agg, window_s, now, by=by)).items():
                found.setdefault(bot, {})[agg] = value
    return found


def _named(found: Mapping[Labels, Observation]) -> dict[str, float]:
    return {dict(labels).get("bot", ""): observation.value for labels, observation in found.items()}
