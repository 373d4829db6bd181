"""Pushing: send the metrics every few seconds to where ``--export`` says.

In    words like "dogstatsd", "datadog=https://api.datadoghq.eu", "otlp=http://collector:4318/v1/metrics"
Out   the same numbers as /metrics, in the words of the other side
Rule  numbers are collected on the event loop and sent beside it, one push at a time; one that fails is said once,
      and the next one carries what it did not. Whatever cannot be started is refused at the start
Why   a collector that is slow or away must cost its charts, never a reply
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from time import time
from typing import Final, Protocol

from harness.adapters.datadog_push import ApiPush, StatsdPush
from harness.adapters.otlp_push import OtlpPush
from harness.core.decode import suggest
from harness.core.series import Snapshot
from harness.errors import HarnessError, UsageError
from harness.exporters import datadog, otlp
from harness.services.metrics import Metrics

EVERY_S: Final = 10.0
KINDS: Final = ("dogstatsd", "datadog", "otlp")


class Sink(Protocol):
    """One place to which metrics go."""

    kind: str

    def prepare(self, snapshots: Iterable[Snapshot], at: float) -> Callable[[], None]:
        """Take the numbers now; what is given back sends them, from any thread."""

    def close(self) -> None:
        """Let go of whatever is held."""


class _Datadog:
    """An agent, or the series API."""

    def __init__(self, kind: str, push: StatsdPush | ApiPush) -> None:
        self.kind, self._push, self._changes = kind, push, datadog.Changes()

    def prepare(self, snapshots: Iterable[Snapshot], at: float) -> Callable[[], None]:
        readings = self._changes.readings(snapshots)

        def send() -> None:
            self._push.push(readings, at)
            self._changes.sent()

        return send

    def close(self) -> None:
        self._push.close()


class _Otlp:
    """A collector."""

    kind = "otlp"

    def __init__(self, push: OtlpPush) -> None:
        self._push = push

    def prepare(self, snapshots: Iterable[Snapshot], at: float) -> Callable[[], None]:
        metrics = otlp.metrics(snapshots)

        def send() -> None:
            self._push.push(metrics, at)

        return send

    def close(self) -> None:
        self._push.close()


def sinks(words: Sequence[str]) -> tuple[Sink, ...]:
    """Read ``--export``; UsageError for an unknown kind, a bad address, a missing key or a missing extra."""
    return tuple(_sink(word) for word in words)


def _sink(word: str) -> Sink:
    kind, _, address = word.partition("=")
    match kind:
        case "dogstatsd":
            return _Datadog(kind, StatsdPush(address))
        case "datadog":
            return _Datadog(kind, ApiPush(address))
        case "otlp":
            return _Otlp(OtlpPush(address, time()))
        case _:
            raise UsageError(f"--export {word}: unknown kind{suggest(kind, KINDS)}")


async def push_on(
    made: Sequence[Sink], metrics: Metrics, stack: AsyncExitStack, complain: Callable[[str], None]
) -> None:
    """Push to all of them until ``stack`` is left, and once more then."""
    for sink in made:
        pusher = _Pusher(sink, metrics, complain)
        task = asyncio.get_running_loop().create_task(pusher.push_on(), name=f"export-{sink.kind}")
        stack.push_async_callback(pusher.close, task)


class _Pusher:
    """The loop of one sink."""

    def __init__(self, sink: Sink, metrics: Metrics, complain: Callable[[str], None]) -> None:
        self._sink, self._metrics, self._complain = sink, metrics, complain
        self._failing = False

    async def push_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.push()

    async def push(self) -> None:
        send = self._sink.prepare(self._metrics.collect(), time())
        try:
            await asyncio.to_thread(send)
        except HarnessError as error:
            if not self._failing:
                self._complain(f"--export {self._sink.kind}: {error}; it is tried again every {EVERY_S:g} s")
            self._failing = True
        else:
            self._failing = False

    async def close(self, task: asyncio.Task[None]) -> None:
        """Send what was counted last."""
        task.cancel()
        await asyncio.wait([task])
        await self.push()
        await asyncio.to_thread(self._sink.close)
