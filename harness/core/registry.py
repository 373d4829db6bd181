"""Registry: families and their series, to count in and to read out.

In    families to declare; label values, for which it gives a handle; functions that know what only the moment knows
Out   handles that cost a few machine words to use; snapshots of everything, in a fixed order
Rule  for one thread (the service's event loop): nothing here locks. What is beyond a family's limit of series is
      counted together under overflow="true", so totals stay right, and that it happened is counted too
Why   whoever scrapes a service for months must not make it grow, and one label too many must not take the rest along

A handle is looked up once and used often: ``echo = registry.histogram("chat_reply_seconds", "echo")``, then
``echo.record(0.25)``. A handle of a series that was forgotten counts on, but nobody reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf, isfinite
from typing import Final

from harness.core.histogram import Histogram
from harness.core.series import OVERFLOW, Family, Kind, Labels, Snapshot, Value

OVERFLOWED: Final = "chat_metrics_overflow_total"
"""The family that counts what did not fit; label ``family``."""
Read = Callable[[], float | Mapping[tuple[str, ...], float]]
"""Gives one number, or one for each tuple of label values."""


class Counter:
    """A number that only grows. ``value`` may be added to directly where every nanosecond counts."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        """Start at 0."""
        self.value = 0.0

    def add(self, by: float = 1.0) -> None:
        """Count ``by`` more; ValueError if that is negative or no number."""
        if not 0.0 <= by < inf:
            raise ValueError(f"a counter only grows: by must be 0 or more, got {by}")
        self.value += by


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        """Start at 0."""
        self.value = 0.0

    def set(self, value: float) -> None:
        """Be ``value``; ValueError if it is no finite number: what is not known is left out, not made up."""
        if not isfinite(value):
            raise ValueError(f"a gauge must be a finite number, got {value}")
        self.value = value


Child = Counter | Gauge | Histogram
_MAKE: Final[Mapping[Kind, Callable[[], Child]]] = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class _Shelf:
    """One family's series."""

    __slots__ = ("children", "family", "ordered", "read")

    def __init__(self, family: Family) -> None:
        self.family = family
        self.children: dict[Labels, Child] = {}
        self.ordered: tuple[tuple[Labels, Child], ...] | None = ()
        self.read: Read | None = None

    def in_order(self) -> tuple[tuple[Labels, Child], ...]:
        if self.ordered is None:
            self.ordered = tuple(sorted(self.children.items(), key=_labels_of))
        return self.ordered


def _labels_of(item: tuple[Labels, Child]) -> Labels:
    return item[0]


class Registry:
    """All series of one service."""

    __slots__ = ("_shelves",)

    def __init__(self, families: Iterable[Family]) -> None:
        """Know these families; ValueError if a name comes twice."""
        self._shelves: dict[str, _Shelf] = {}
        for family in sorted(families, key=lambda family: family.name):
            if family.name in self._shelves:
                raise ValueError(f"family {family.name!r} is declared twice: choose another name")
            self._shelves[family.name] = _Shelf(family)

    def counter(self, name: str, *values: str) -> Counter:
        """Give the handle of a counter; it is there, at 0, from now on."""
        child = self._child(name, "counter", values)
        assert isinstance(child, Counter)
        return child

    def gauge(self, name: str, *values: str) -> Gauge:
        """Give the handle of a gauge."""
        child = self._child(name, "gauge", values)
        assert isinstance(child, Gauge)
        return child

    def histogram(self, name: str, *values: str) -> Histogram:
        """Give the handle of a histogram."""
        child = self._child(name, "histogram", values)
        assert isinstance(child, Histogram)
        return child

    def watch(self, name: str, read: Read) -> None:
        """Ask ``read`` for the numbers of a gauge or counter whenever somebody wants them; ValueError if unfit."""
        shelf = self._shelf(name)
        if shelf.family.kind == "histogram":
            raise ValueError(f"{name}: a histogram is recorded, not watched")
        if shelf.read is not None or shelf.children:
            raise ValueError(f"{name}: somebody gives its numbers already")
        shelf.read = read

    def forget(self, label: str, value: str) -> None:
        """Drop every series that has this label; watched families drop theirs when they are read."""
        pair = (label, value)
        for shelf in self._shelves.values():
            gone = [labels for labels in shelf.children if pair in labels]
            for labels in gone:
                del shelf.children[labels]
            if gone:
                shelf.ordered = None

    def collect(self) -> tuple[Snapshot, ...]:
        """Give every family with its series, ordered by name and labels."""
        return tuple(Snapshot(shelf.family, self._series(shelf)) for shelf in self._shelves.values())

    def _series(self, shelf: _Shelf) -> tuple[tuple[Labels, Value], ...]:
        if shelf.read is not None:
            return self._watched(shelf.family, shelf.read())
        return tuple(
            (labels, child if isinstance(child, Histogram) else child.value) for labels, child in shelf.in_order()
        )

    def _watched(
        self, family: Family, found: float | Mapping[tuple[str, ...], float]
    ) -> tuple[tuple[Labels, Value], ...]:
        values: Mapping[tuple[str, ...], float] = found if isinstance(found, Mapping) else {(): found}
        series: dict[Labels, float] = {}
        for names in sorted(values):
            if isfinite(values[names]):  # What is not known is left out.
                labels = _labelled(family, names)
                if len(series) >= family.series_max:
                    labels = OVERFLOW
                    self._overflowed(family)
                series[labels] = series.get(labels, 0.0) + values[names]
        return tuple(series.items())

    def _child(self, name: str, kind: Kind, values: tuple[str, ...]) -> Child:
        shelf = self._shelf(name)
        family = shelf.family
        if family.kind != kind:
            raise ValueError(f"{name} is a {family.kind}, not a {kind}")
        if shelf.read is not None:
            raise ValueError(f"{name}: its numbers are read by a function that was given to watch()")
        labels = _labelled(family, values)
        child = shelf.children.get(labels)
        if child is None:
            if len(shelf.children) - (OVERFLOW in shelf.children) >= family.series_max:
                labels = OVERFLOW
                self._overflowed(family)
            child = shelf.children.get(labels)
        if child is None:
            child = shelf.children[labels] = _MAKE[kind]()
            shelf.ordered = None
        return child

    def _overflowed(self, family: Family) -> None:
        # Its own labels are names of families, of which there is a fixed number: it cannot overflow itself.
        if OVERFLOWED in self._shelves and family.name != OVERFLOWED:
            self.counter(OVERFLOWED, family.name).value += 1.0

    def _shelf(self, name: str) -> _Shelf:
        shelf = self._shelves.get(name)
        if shelf is None:
            raise ValueError(f"there is no family {name!r}: declare it first (harness/core/families.py)")
        return shelf


def _labelled(family: Family, values: tuple[str, ...]) -> Labels:
    if len(values) != len(family.labels):
        said = ", ".join(family.labels) or "none"
        raise ValueError(f"{family.name} has the labels {said}: {len(values)} values do not fit")
    return tuple(zip(family.labels, values, strict=True))
