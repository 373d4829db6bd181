"""Threads: the stage with plain functions, each call in a thread of its own.

In    what the stage asks for
Out   guarded calls whose threads can be held, let go and given up
Rule  threads are daemons and every join has a limit; nothing is awaited, so the driver can be stepped by hand
Why   a breaker that locks around the call, or loses a permit between threads, shows only with real threads
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.conformance.stage import CALL_MAX_S, End, Flight, Stage
from harness.conformance.values import Kind


class Threads(Stage):
    """Plain functions, each call in a thread of its own."""

    kind = Kind.THREADS

    def dress(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Make a plain function."""

        def function(*args: Any, **kwargs: Any) -> Any:
            """Do what a dependency does."""
            return body(*args, **kwargs)

        return function

    def dress_nested(self, guarded: Callable[..., Any], end: End) -> Callable[..., Any]:
        """Make a plain function that calls a guarded one."""

        def function() -> Any:
            end.called = True
            return guarded()

        return function

    async def churn(self, count: int, *bodies: Callable[[], Any]) -> None:
        """Make many guarded calls, one after the other, in one thread."""
        guarded = [self.adapter.guard(self.breaker, self.dress(body)) for body in bodies]
        for number in range(count):
            with contextlib.suppress(Exception):
                guarded[number % len(guarded)]()

    async def stream(self, items: int, *, error: BaseException | None = None, take: int | None = None) -> End:
        """Read a generator."""
        end = End(value=[])

        def numbers() -> Any:
            end.called = True
            yield from range(items)
            if error is not None:
                raise error

        try:
            source = self.adapter.guard(self.breaker, numbers)()
            for item in source:
                end.value.append(item)
                if len(end.value) == take:
                    source.close()
                    break
        except BaseException as raised:  # noqa: BLE001  # whatever the caller gets is what is judged
            end.error = raised
        return end

    async def _run(self, guarded: Callable[..., Any], end: End, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        def run() -> None:
            try:
                end.value = guarded(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # whatever the caller gets is what is judged
                end.error = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(CALL_MAX_S)
        self.expect(
            not thread.is_alive(), f"a call did not come back within {CALL_MAX_S:g} s: it waits for another one"
        )

    def _start(self, flights: Sequence[Flight]) -> None:
        together = threading.Barrier(len(flights))
        for flight in flights:
            flight.gate = threading.Event()
            threading.Thread(target=self._fly, args=(flight, together), daemon=True).start()

    def _fly(self, flight: Flight, together: threading.Barrier) -> None:
        def held() -> Any:
            flight.end.called = True
            flight.gate.wait()
            return flight.finish()

        guarded = self.adapter.guard(self.breaker, held)
        together.wait()
        try:
            flight.end.value = guarded()
        except BaseException as error:  # noqa: BLE001  # whatever the caller gets is what is judged
            flight.end.error = error
        finally:
            flight.ended = True

    def _wake(self, flight: Flight) -> None:
        flight.gate.set()

    async def _pause(self) -> None:
        time.sleep(0.001)  # noqa: ASYNC251  # with threads nothing is awaited: every wait blocks
