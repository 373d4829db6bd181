"""OpenMetrics: snapshots to the text format of OpenMetrics 1.0, and whether a client asks for it.

In    snapshots; the Accept header of a request
Out   bytes that end in "# EOF"; the media type to serve them with
Rule  a counter's family is called without ``_total``, its sample with it; a family with a unit says so
Why   a text that was cut off in the middle cannot be taken for a whole one
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.core.series import Snapshot
from harness.exporters._exposition import sample_lines

MEDIA_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_OURS: Final = "application/openmetrics-text"
_OTHERS: Final = ("text/plain", "text/*", "*/*")


def render(snapshots: Iterable[Snapshot]) -> bytes:
    """Write all families as one text."""
    lines = [line for snapshot in snapshots for line in _lines(snapshot)]
    return "".join((*lines, "# EOF\n")).encode()


def wanted(accept: str) -> bool:
    """Whether a client would rather have OpenMetrics 1.0 than the older text, by its Accept header (RFC 9110, 12.5.1).

    It must be named: "*/*" gets the older text, which everybody reads.
    """
    ours = others = 0.0
    for item in accept.lower().split(","):
        media, *words = (word.strip() for word in item.split(";"))
        options = dict(word.partition("=")[::2] for word in words)
        weight = _weight(options.get("q", "1"))
        if media == _OURS and options.get("version", "1.0.0").strip('"') == "1.0.0":
            ours = max(ours, weight)
        elif media in _OTHERS:
            others = max(others, weight)
    return ours > 0.0 and ours >= others


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def _lines(snapshot: Snapshot) -> Iterable[str]:
    family = snapshot.family
    name = family.name.removesuffix("_total")
    words = family.help.replace("\\", r"\\").replace('"', r"\"")
    yield f"# TYPE {name} {family.kind}\n"
    if family.unit:
        yield f"# UNIT {name} {family.unit}\n"
    yield f"# HELP {name} {words}\n"
    yield from sample_lines(snapshot)
