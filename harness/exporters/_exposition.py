"""Exposition: the lines that the Prometheus text format and OpenMetrics have in common.

In    snapshots, in the order in which they shall stand
Out   the lines of samples
Rule  labels are escaped; the bound of a bucket is written as a float ("1.0") in both, so that a series is one series
      whichever format was asked for
Why   two formats that differ in a few lines must not differ in anything else
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isinf, isnan

from harness.core.histogram import Histogram
from harness.core.series import Labels, Snapshot


def sample_lines(snapshot: Snapshot) -> Iterable[str]:
    """Give one line for each value; a histogram has its cumulative buckets, then sum and count."""
    name = snapshot.family.name
    for labels, value in snapshot.series:
        if isinstance(value, Histogram):
            yield from _histogram_lines(name, snapshot.family.bounds, labels, value)
        else:
            yield f"{name}{_braced(_pairs(labels))} {number(value)}\n"


def _histogram_lines(name: str, bounds: tuple[float, ...], labels: Labels, value: Histogram) -> Iterable[str]:
    pairs = _pairs(labels)
    head = f"{name}_bucket{{{pairs}{',' if pairs else ''}le="
    for bound, count in zip(bounds, value.cumulative(bounds), strict=True):
        yield f'{head}"{bound!r}"}} {count}\n'
    yield f'{head}"+Inf"}} {value.n}\n'
    yield f"{name}_count{_braced(pairs)} {value.n}\n"
    yield f"{name}_sum{_braced(pairs)} {number(value.total)}\n"


def number(value: float) -> str:
    """Write a number: whole ones without a point, as long as a float tells them apart."""
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value == inf else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _pairs(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _braced(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
