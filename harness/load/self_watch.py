"""Self-watch: whether the load generator itself is on time.

In    nothing but the clock, read a hundred times a second by a greenlet that wants to wake at set moments
Out   each second one ``GeneratorSeen``: how late it woke (99th percentile, ms), the share of a core that it used
Rule  the moments are fixed beforehand: one long hold-up counts for every moment that it covered
Why   a generator that is late measures itself; a run with such numbers must be called invalid, not slow
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import gevent

from harness.core.events import GeneratorSeen
from harness.core.stats import percentile

SOURCE: Final = "load"
_TICK_S: Final = 0.01
_TICKS: Final = 100


def watch(tell: Callable[[float, GeneratorSeen], None], users: Callable[[], int]) -> None:
    """Run until killed; the first fact comes at once and marks the start of the load."""
    tell(time.monotonic(), GeneratorSeen(0.0, 0.0, users()))
    while True:
        start, cpu = time.monotonic(), time.process_time()
        lags_s = []
        for tick in range(1, _TICKS + 1):
            due = start + tick * _TICK_S
            gevent.sleep(max(0.0, due - time.monotonic()))
            lags_s.append(time.monotonic() - due)
        now = time.monotonic()
        share = (time.process_time() - cpu) / (now - start)
        lag_ms_p99 = round(percentile(sorted(lags_s), 0.99) * 1000, 3)
        tell(now, GeneratorSeen(lag_ms_p99, round(share, 4), users()))
