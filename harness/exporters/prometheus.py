"""Prometheus: snapshots to the text format, version 0.0.4.

In    snapshots, in the order in which they shall stand
Out   bytes; the media type to serve them with
Rule  a family without series still has its HELP and TYPE lines; labels and help are escaped; same snapshots, same bytes
Why   one scrape is one string: it can be compared, stored and tested without a server
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.core.series import Snapshot
from harness.exporters._exposition import sample_lines

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(snapshots: Iterable[Snapshot]) -> bytes:
    """Write all families as one text."""
    return "".join(line for snapshot in snapshots for line in _lines(snapshot)).encode()


def _lines(snapshot: Snapshot) -> Iterable[str]:
    family = snapshot.family
    words = family.help.replace("\\", r"\\")
    yield f"# HELP {family.name} {words}\n# TYPE {family.name} {family.kind}\n"
    yield from sample_lines(snapshot)
