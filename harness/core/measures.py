"""Measures: the figures of one case as they are found, each with its evidence or the reason why it is missing.

In    values, culprits, reasons
Out   name -> value, name -> evidence ("u3-17 (session s3)"), name -> why it could not be computed
Rule  only figures that figures.py names; six digits, as journals keep them
Why   whoever reads "messages_lost is 2" wants to know which two
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.core.figures import FIGURES
from harness.core.histogram import Histogram
from harness.core.leak import LeakVerdict
from harness.core.stats import percentile
from harness.core.story import Message


@dataclass(slots=True)
class Measures:
    """What was measured in one case."""

    values: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a figure could not be computed."""
    samples: dict[str, int] = field(default_factory=dict)
    """Of how many values a percentile was taken."""
    leaks: tuple[LeakVerdict, ...] = ()
    response: Histogram | None = None

    def put(self, name: str, value: float, evidence: Iterable[str] = ()) -> None:
        """Keep a figure."""
        assert name in FIGURES, f"{name} is not in figures.py"
        self.values[name] = round(value, 6)  # Journals keep microseconds; more digits are noise of floats.
        found = tuple(evidence)
        if found:
            self.evidence[name] = found

    def count(self, name: str, culprits: Sequence[str]) -> None:
        """Keep a figure that counts these culprits."""
        self.put(name, len(culprits), culprits)

    def percentiles(self, base: str, values: list[float], ranks: Iterable[str], *, missing: str) -> None:
        """Keep the percentiles of ``values`` (seconds) in milliseconds."""
        values.sort()
        for rank in ranks:
            name = f"{base}_{rank}"
            if values:
                self.put(name, ms(values[-1] if rank == "max" else percentile(values, int(rank[1:]) / 100)))
                self.samples[name] = len(values)
            else:
                self.missing[name] = missing


def named(message: Message) -> str:
    """Name a message for a reader."""
    return f"{message.cid} (session {message.session})" if message.session else message.cid


def few(items: Sequence[str], most: int = 5) -> str:
    """Name the first few, and say how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def ms(seconds: float) -> float:
    """Give milliseconds, with the microseconds that journals keep."""
    return round(seconds * 1000.0, 3)
