"""Prometheus: series to the text format, version 0.0.4.

In    series, in the order in which they shall stand
Out   bytes; the media type to serve them with
Rule  a series without samples still has its HELP and TYPE lines; labels and help are escaped; same series, same bytes
Why   one scrape is one string: it can be compared, stored and tested without a server
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isinf, isnan
from typing import Final

from harness.services.metrics import Labels, Series

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(series: Iterable[Series]) -> bytes:
    """Write all series as one text."""
    return "".join(line for one in series for line in _lines(one)).encode()


def _lines(series: Series) -> Iterable[str]:
    words = series.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {series.name} {words}\n"
    yield f"# TYPE {series.name} {series.kind}\n"
    for sample in series.samples:
        yield f"{series.name}{sample.suffix}{_labels(sample.labels)} {_value(sample.value)}\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _value(value: float) -> str:
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value == inf else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
