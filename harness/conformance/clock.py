"""A clock that the suite moves: no scenario waits for a cooldown, and a clock can be set back.

In    how far to move; the packages of a breaker that cannot be given a clock
Out   monotonic seconds, wall-clock seconds; in those packages, time functions that show them
Rule  only names inside the given packages are replaced, only while a scenario plays
Why   most breakers read time.time or dt.now where they stand, and half of their faults are faults of time
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

LOCAL_OFFSET_S: Final = 9 * 3600
"""The wall clock hangs nine hours east of Greenwich, so that a mix-up of local time and UTC shows."""


class Clock:
    """Monotonic time and wall time, both standing still until they are moved."""

    def __init__(self) -> None:
        """Begin anywhere but at zero."""
        self._monotonic_s = 1_000.0
        self._wall_s = 1_800_000_000.0

    def __call__(self) -> float:
        """Monotonic seconds."""
        return self._monotonic_s

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._wall_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._monotonic_s += seconds
        self._wall_s += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock, as an operator or NTP does; no time passes."""
        self._wall_s += seconds

    @contextmanager
    def shown_to(self, packages: frozenset[str]) -> Iterator[None]:
        """Show this clock to all modules of some packages."""
        stand_ins = self._stand_ins()
        replaced: list[tuple[dict[str, Any], str, Any]] = []
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in packages and module is not None:
                names = vars(module)
                replaced += [(names, key, value) for key, value in names.items() if _key(value) in stand_ins]
        for names, key, value in replaced:
            names[key] = stand_ins[id(value)]
        try:
            yield
        finally:
            for names, key, value in replaced:
                names[key] = value

    def _stand_ins(self) -> dict[int, Any]:
        functions: dict[str, Callable[[], float]] = {
            "time": self.wall,
            "monotonic": self,
            "perf_counter": self,
            "time_ns": lambda: int(self.wall() * 1e9),
            "monotonic_ns": lambda: int(self() * 1e9),
            "perf_counter_ns": lambda: int(self() * 1e9),
        }
        moved = _moved_datetime(self.wall)
        return {
            **{id(getattr(time, name)): function for name, function in functions.items()},
            id(time): SimpleNamespace(**{**vars(time), **functions}),
            id(dt.datetime): moved,
            id(dt): SimpleNamespace(**{**vars(dt), "datetime": moved}),
        }


def _key(value: object) -> int:
    return id(value)


def _moved_datetime(wall: Callable[[], float]) -> type[dt.datetime]:
    class Moved(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            """Local time, naive, or the time in a zone."""
            utc = dt.datetime.fromtimestamp(wall(), dt.UTC)
            if tz is not None:
                return utc.astimezone(tz)
            return utc.replace(tzinfo=None) + dt.timedelta(seconds=LOCAL_OFFSET_S)

        @classmethod
        def utcnow(cls) -> Any:
            """UTC, naive."""
            return cls.now(dt.UTC).replace(tzinfo=None)

    return Moved
