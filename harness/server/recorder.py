"""Recorder: a tick a second of everything that is counted, kept in memory and, once a minute, on disk.

In    the service's metrics; a store for history, if there is one
Out   an aggregator that can be asked; rows on disk, also at the end
Rule  ticks come at the beginning of a second of the time of day, and never go back: when the clock is set back, time
      goes on as it was. The disk is written to beside the event loop, one write at a time; what waits is bounded
Why   rules and charts need even steps; and a slow disk must cost history a minute, never a reply a millisecond
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from itertools import islice
from pathlib import Path
from time import monotonic, time
from typing import Final

from harness.adapters.series_store import FILE_NAME, SeriesStore
from harness.chat.traffic import Traffic, traffic
from harness.core.families import FAMILIES
from harness.core.point import HOURS, MINUTES, STEPS_S, Row
from harness.errors import StoreError
from harness.services.aggregator import Aggregator, AggregatorConfig
from harness.services.metrics import Metrics

ROWS_MAX: Final = 50_000
"""Rows that may wait for the disk; beyond, the oldest are dropped."""
ROWS_AT_ONCE: Final = 5_000
PRUNE_S: Final = 3_600.0
RETRY_S: Final = 60.0


async def open_recorder(metrics: Metrics, state_dir: Path, stack: AsyncExitStack, *, ticks: bool = True) -> Recorder:
    """Open the history in a state directory and tick until ``stack`` is left; without the file if it will not open."""
    store = None
    try:
        store = SeriesStore(state_dir / FILE_NAME, FAMILIES)
    except StoreError as error:
        _say(str(error))
    recorder = Recorder(metrics, store, _say)
    stack.push_async_callback(recorder.close)
    await recorder.resume()
    if not ticks:
        return recorder
    ticking = asyncio.get_running_loop().create_task(recorder.record_on(), name="recorder")
    ticking.add_done_callback(_mourn)
    stack.push_async_callback(_cancel, ticking)
    return recorder


def _mourn(ticking: asyncio.Task[None]) -> None:
    """A recorder that died must not look like a service where nothing happens."""
    if not ticking.cancelled() and (error := ticking.exception()) is not None:
        _say(f"metrics are not kept any more: {error!r}")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _say(words: str) -> None:
    """Tell the operator; where the disk is full, that may be impossible too."""
    with suppress(OSError):
        print(f"chat: {words}", file=sys.stderr, flush=True)


class Recorder:
    """Keeps the history of one service."""

    def __init__(self, metrics: Metrics, store: SeriesStore | None, complain: Callable[[str], None]) -> None:
        """Record ``metrics``; without a store, in memory only. ``complain`` gets one line when the disk will not."""
        self._metrics, self.store, self._complain = metrics, store, complain
        config = AggregatorConfig()
        self.aggregator = Aggregator(config)
        self._kept = ((MINUTES, config.minutes_kept), (HOURS, config.hours_kept))
        self._offset = time() - monotonic()
        self._waiting: deque[Row] = deque(maxlen=ROWS_MAX)
        self._writing: asyncio.Task[None] | None = None
        self._prune_at = self._write_at = monotonic()
        self._failures, self._failing, self._stored, self._last = 0, False, 0, 0
        watch = metrics.watch
        watch("chat_recorder_series", lambda: self.aggregator.series)
        watch("chat_recorder_refused_total", lambda: self.aggregator.refused)
        watch("chat_recorder_late_total", lambda: self.aggregator.late)
        watch("chat_recorder_failures_total", lambda: self._failures)
        watch("chat_recorder_stored_bytes", lambda: self._stored)
        watch("chat_messages_per_minute", lambda: {(bot,): one.messages_per_minute for bot, one in self._by_bot()})
        watch("chat_error_ratio", lambda: {(bot,): one.error_ratio for bot, one in self._by_bot()})
        watch("chat_service_messages_per_minute", lambda: self.traffic().messages_per_minute)
        watch("chat_service_error_ratio", lambda: self.traffic().error_ratio)

    def now(self) -> float:
        """The time of day (Unix seconds), which never goes back."""
        self._offset = max(self._offset, time() - monotonic())
        return self._offset + monotonic()

    def traffic(self) -> Traffic:
        """What all bots together did in the last minute."""
        return traffic(self.aggregator, self.now())[""]

    async def resume(self) -> None:
        """Go on from what is on disk."""
        if self.store is None:
            return
        self._say(self.store)
        now = self.now()
        first = {tier: int(now) - steps * STEPS_S[tier] for tier, steps in self._kept}
        try:
            rows = [
                row
                for tier, ts in first.items()
                for row in await asyncio.to_thread(self.store.read, tier, ts, int(now))
            ]
        except StoreError as error:
            self._failed(error)
        else:
            self._waiting.extend(self.aggregator.restore(now, rows))

    async def record_on(self) -> None:
        """Tick until cancelled."""
        while True:
            now = self.now()
            await asyncio.sleep(1.0 - now % 1.0)
            self._tick()

    async def close(self) -> None:
        """Write what is left, the open minute and hour included."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._waiting.extend(self.aggregator.remains())
        if self.store is not None:
            await self._write(self.store)
            await asyncio.to_thread(self.store.close)

    def _tick(self) -> None:
        now = self.now()
        if int(now) <= self._last:
            return  # The sleep was rounded down: too early by a moment.
        self._last = int(now)
        self._waiting.extend(self.aggregator.tick(now, self._metrics.collect()))
        idle = self._writing is None or self._writing.done()
        if self.store is not None and self._waiting and idle and monotonic() >= self._write_at:
            self._writing = asyncio.get_running_loop().create_task(self._write(self.store), name="series-writer")

    async def _write(self, store: SeriesStore) -> None:
        """Write what waits, a part at a time; what could not be written waits on."""
        try:
            while self._waiting:
                rows = list(islice(self._waiting, ROWS_AT_ONCE))
                await asyncio.to_thread(store.write, rows)
                # Those that came meanwhile stand behind; those that had no room fell out in front.
                for _ in range(min(len(rows), len(self._waiting))):
                    self._waiting.popleft()
            if monotonic() >= self._prune_at:
                self._prune_at = monotonic() + PRUNE_S
                await asyncio.to_thread(store.prune, time())
            self._stored = await asyncio.to_thread(store.bytes_used)
        except StoreError as error:
            self._failed(error)
        else:
            self._failing = False
        self._say(store)

    def _failed(self, error: StoreError) -> None:
        self._failures += 1
        self._write_at = monotonic() + RETRY_S
        if not self._failing:
            self._complain(str(error))
        self._failing = True

    def _say(self, store: SeriesStore) -> None:
        if store.told:
            self._complain(store.told)
            store.told = ""

    def _by_bot(self) -> list[tuple[str, Traffic]]:
        return [(bot, one) for bot, one in traffic(self.aggregator, self.now()).items() if bot]
