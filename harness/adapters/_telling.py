"""Telling: listeners hear of changes in order, one at a time, and whatever they raise stays with them.

In    changes, noted under the lock of whoever changed
Out   calls of the listener, outside that lock; counts of what it raised and what it was too slow for
Rule  whoever finds somebody telling leaves it to them, so order is kept; at most UNTOLD_MAX changes wait
Why   a dashboard with a bug must cost the dashboard, not a call, and never the state
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

T = TypeVar("T")
UNTOLD_MAX: Final = 1000
"""Changes that wait for a slow listener; older ones are forgotten and counted."""
_LOG: Final = logging.getLogger("harness.guard")


class Teller(Generic[T]):
    """The listener of one guard, and the changes that it has not heard of yet."""

    __slots__ = ("_listener", "_lock", "_name", "_telling", "errors", "losses", "untold")

    def __init__(self, name: str, listener: Callable[[T], object] | None) -> None:
        """Start with nothing to tell."""
        self._name = name
        self._listener = listener
        self._lock = threading.Lock()
        self._telling = False
        self.untold: deque[T] = deque(maxlen=UNTOLD_MAX)
        self.errors = 0
        """What the listener, or another hook, raised."""
        self.losses = 0
        """Changes that the listener was too slow for."""

    def note(self, changes: Iterable[T]) -> None:
        """Remember changes, in the order in which they happened; the caller holds its own lock."""
        if self._listener is None:
            return
        for change in changes:
            self.losses += len(self.untold) == UNTOLD_MAX
            self.untold.append(change)

    def tell(self) -> None:
        """Tell what waits. Call it without any lock."""
        while self.untold and self._listener is not None:
            with self._lock:
                if self._telling or not self.untold:
                    return
                self._telling, change = True, self.untold.popleft()
            try:
                self._listener(change)
            except Exception as error:  # noqa: BLE001  # a listener is somebody else's code and changes no outcome
                self.report("listener", error)
            finally:
                self._telling = False

    def report(self, hook: str, error: Exception) -> None:
        """Say it in words: a kept exception would keep its frames, and what their variables hold, alive."""
        self.errors += 1
        _LOG.error("%s of guard %r raised %s: %s", hook, self._name, type(error).__name__, error)
