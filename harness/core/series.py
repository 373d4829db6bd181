"""Series: the words that everybody who counts, keeps, exports or judges numbers shares.

In    the declaration of a family: name, kind, unit, help, labels, how many series it may have
Out   frozen values; ValueError names what a declaration has wrong
Rule  a family that no exporter could write truly is refused when it is declared, not when it is scraped
Why   the same number goes to Prometheus, OTLP, Datadog, the history and the alert rules: one shape for all

    family    a name with its kind, unit, help and label names           chat_reply_seconds
    series    one family with one set of label values                    chat_reply_seconds{bot="echo"}
    snapshot  all series of one family at one moment                     a counter's and a gauge's value, or a histogram
    observation  what a question about a window of time is answered with
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import frexp, inf
from typing import Final, Literal

from harness.core.histogram import Histogram

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]
"""Names and values of labels, in the order in which the family declares them."""
Value = float | Histogram

KINDS: Final = ("counter", "gauge", "histogram")
UNITS: Final = ("", "bytes", "ratio", "seconds")
"""Base units, as they end a name; none where things are counted."""
LABELS: Final = frozenset(
    {"bot", "check", "code", "family", "feature", "from", "kind", "outcome", "reason", "route", "rule", "severity"}
    | {"state", "strategy", "tier", "to", "what"}
)
"""What a series may be told apart by. Never a session, a user or a message: there is no end to those."""
OVERFLOW: Final[Labels] = (("overflow", "true"),)
"""Where label sets beyond a family's limit are counted together."""
SERIES_MAX: Final = 50
SECONDS_BOUNDS: Final = tuple(2.0**power for power in range(-10, 7))
"""Classic upper bounds for times: about 1 ms to 64 s, each double the one before."""
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a metric is called and what it may hold."""

    name: str
    """``chat_<noun>_<unit>``, a counter with ``_total`` behind it."""
    kind: Kind
    help: str
    """One sentence."""
    unit: str = ""
    """A base unit (bytes, ratio, seconds), which the name must end with; empty for things that are counted."""
    labels: tuple[str, ...] = ()
    series_max: int = SERIES_MAX
    """More label sets than this are counted together under overflow="true"."""
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's classic buckets: powers of two, ascending. Default: 1/1024 to 64."""

    def __post_init__(self) -> None:
        """Refuse what could not be exported truly."""
        where = f"family {self.name!r}"
        stem = self.name.removesuffix("_total")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{where}: a name is lower-case words joined by single underscores")
        if self.kind not in KINDS:
            raise ValueError(f"{where}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if (self.kind == "counter") != (stem != self.name):
            raise ValueError(f"{where}: a counter's name ends in _total, and no other's does")
        if self.name.endswith(("_bucket", "_count", "_sum", "_created", "_info")):
            raise ValueError(f"{where}: _bucket, _count, _sum, _created and _info belong to the format")
        if self.unit not in UNITS:
            raise ValueError(f"{where}: unit must be one of {', '.join(UNITS[1:])} or empty, got {self.unit!r}")
        if self.unit and not stem.endswith(f"_{self.unit}"):
            raise ValueError(f"{where}: a name ends with its unit, here _{self.unit}")
        if not self.help or "\n" in self.help:
            raise ValueError(f"{where}: help must be one line")
        unknown = set(self.labels) - LABELS
        if unknown or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"{where}: labels must be different ones of {', '.join(sorted(LABELS))}")
        if self.series_max < 1:
            raise ValueError(f"{where}: series_max must be 1 or more, got {self.series_max}")
        if self.kind == "histogram":
            object.__setattr__(self, "bounds", _checked(where, self.bounds or SECONDS_BOUNDS))
        elif self.bounds:
            raise ValueError(f"{where}: only a histogram has bounds")


def _checked(where: str, bounds: tuple[float, ...]) -> tuple[float, ...]:
    for bound in bounds:
        # At every scale that can occur, a power of two is the bound of a bucket: what is up to it is counted exactly.
        if not (0.0 < bound < inf and frexp(bound)[0] == 0.5):  # noqa: PLR2004 - how frexp shows a power of two
            raise ValueError(
                f"{where}: {bound!r} is no bound of a bucket, so its count would be a guess; take powers of two"
            )
    if list(bounds) != sorted(set(bounds)):
        raise ValueError(f"{where}: bounds must ascend")
    return bounds


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All series of one family at one moment, ordered by their labels.

    A histogram in it is the living one: whoever keeps it for later keeps a copy.
    """

    family: Family
    series: tuple[tuple[Labels, Value], ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a question about a window of time is answered with, for one label set.

    ``n``: the events that it rests on (samples of a gauge); ``coverage``: ticks seen of those expected, 0 to 1.
    """

    value: float
    n: float = 1.0
    coverage: float = 1.0
