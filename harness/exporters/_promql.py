"""PromQL: an indicator as the expression by which Prometheus tells the same number.

In    an indicator of core/indicator.py
Out   an expression; another for the number of events that it rests on
Rule  one indicator, one expression; values of labels are quoted, and escaped where they stand in a pattern
Why   a chart here and a chart in Grafana that differ are two truths

What Prometheus sees at its scrapes it extrapolates to the edges of the window (``rate``, ``increase``); ours are the
differences that were really recorded. Over windows of many scrapes the two meet.
"""

from __future__ import annotations

import json
import re
from typing import Final

from harness.core.indicator import RATIO, Indicator, Match

_ACROSS: Final = {"min": "min", "max": "max"}
_OVER_TIME: Final = {"min": "min_over_time", "max": "max_over_time", "avg": "avg_over_time"}
_SPECIAL: Final = frozenset("\\.+*?()|[]{}^$")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not take as it is."""


def promql(of: Indicator) -> str:
    """Write the number itself."""
    chosen, window = selector(of.metric, of.match, of.unless), duration(of.window_s)
    if of.over is not None:
        above = _grouped("sum", of.by, f"increase({chosen}[{window}])")
        below = _grouped("sum", of.by, f"increase({selector(of.over.metric, of.over.match, of.over.unless)}[{window}])")
        # The first error must not be needed for the share to be 0 before it.
        return f"({above} or 0 * {below}) / {below}"
    if of.percentile is not None:
        buckets = f"rate({selector(f'{of.metric}_bucket', of.match, of.unless)}[{window}])"
        kept = buckets if of.by is None else f"sum by ({', '.join(('le', *of.by))}) ({buckets})"
        return f"histogram_quantile({of.percentile / 100:g}, {kept})"
    if of.agg in ("rate", "increase"):
        inner = f"{of.agg}({chosen}[{window}])"
    else:
        inner = f"{_OVER_TIME[of.agg]}({chosen}[{window}])" if of.agg in _OVER_TIME else chosen
    return inner if of.by is None else _grouped(_ACROSS.get(of.agg, "sum"), of.by, inner)


def count(of: Indicator) -> str:
    """Write how many events, or samples of a gauge, the number rests on."""
    window = duration(of.window_s)
    if of.agg == RATIO and of.over is not None:
        inner = f"increase({selector(of.over.metric, of.over.match, of.over.unless)}[{window}])"
    elif of.percentile is not None:
        inner = f"increase({selector(f'{of.metric}_count', of.match, of.unless)}[{window}])"
    else:
        function = "increase" if of.agg in ("rate", "increase") else "count_over_time"
        inner = f"{function}({selector(of.metric, of.match, of.unless)}[{window}])"
    return inner if of.by is None else _grouped("sum", of.by, inner)


def selector(metric: str, match: Match, unless: Match) -> str:
    """Write a metric with its conditions on labels."""
    conditions = [
        *(_condition(label, values, "=") for label, values in match.items()),
        *(_condition(label, values, "!") for label, values in unless.items()),
    ]
    return f"{metric}{{{', '.join(conditions)}}}" if conditions else metric


def duration(seconds: float) -> str:
    """Write seconds as Prometheus reads them: whole units only."""
    milliseconds = round(seconds * 1000)
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms"


def number(value: float) -> str:
    """Write a number so that it is read back as the same."""
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def quoted(text: str) -> str:
    """Write a text in quotes, with escapes that JSON, YAML and PromQL read alike."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _grouped(function: str, by: tuple[str, ...] | None, inner: str) -> str:
    return f"{function} by ({', '.join(by)}) ({inner})" if by else f"{function}({inner})"


def _condition(label: str, values: tuple[str, ...], sign: str) -> str:
    if len(values) == 1:
        return f"{label}{'=' if sign == '=' else '!='}{quoted(values[0])}"
    pattern = "|".join("".join(f"\\{c}" if c in _SPECIAL else c for c in value) for value in values)
    return f"{label}{sign}~{quoted(pattern)}"
