"""Tasks: the stage with coroutine functions, all in one event loop.

In    what the stage asks for
Out   guarded awaits, in the driver's own task or in tasks of their own
Rule  nothing blocks the loop; a call that hangs is cut off from outside, with its thread
Why   cancellation and half-open crowds in a loop are where breakers for asyncio go wrong
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from harness.conformance.stage import End, Flight, Stage
from harness.conformance.values import Kind


class Tasks(Stage):
    """Coroutine functions in one event loop."""

    kind = Kind.TASKS

    def dress(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Make a coroutine function."""

        async def function(*args: Any, **kwargs: Any) -> Any:
            """Do what a dependency does."""
            await asyncio.sleep(0)
            return body(*args, **kwargs)

        return function

    def dress_nested(self, guarded: Callable[..., Awaitable[Any]], end: End) -> Callable[..., Any]:
        """Make a coroutine function that awaits a guarded one."""

        async def function() -> Any:
            end.called = True
            return await guarded()

        return function

    async def churn(self, count: int, *bodies: Callable[[], Any]) -> None:
        """Await many guarded calls, one after the other."""
        guarded = [self.adapter.guard(self.breaker, self.dress(body)) for body in bodies]
        for number in range(count):
            with contextlib.suppress(Exception):
                await guarded[number % len(guarded)]()

    async def stream(self, items: int, *, error: BaseException | None = None, take: int | None = None) -> End:
        """Read an async generator."""
        end = End(value=[])

        async def numbers() -> Any:
            end.called = True
            for number in range(items):
                yield number
            if error is not None:
                raise error

        try:
            source = self.adapter.guard(self.breaker, numbers)()
            async for item in source:
                end.value.append(item)
                if len(end.value) == take:
                    await source.aclose()
                    break
        except BaseException as raised:  # noqa: BLE001  # whatever the caller gets is what is judged
            end.error = raised
        return end

    def cancel(self, flight: Flight) -> None:
        """Cancel the task that is in a call."""
        flight.told = True
        flight.worker.cancel()

    async def cancelled(self) -> Flight:
        """Make a call and cancel it in the middle."""
        flight = await self.launch_one("a call that was to be cancelled")
        self.cancel(flight)
        self.expect(await self._until(lambda: flight.ended), "a cancelled task did not end")
        return flight

    async def _run(self, guarded: Callable[..., Any], end: End, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            end.value = await guarded(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001  # whatever the caller gets is what is judged
            end.error = error

    def _start(self, flights: Sequence[Flight]) -> None:
        for flight in flights:
            flight.gate = asyncio.Event()
            flight.worker = asyncio.get_running_loop().create_task(self._fly(flight))

    async def _fly(self, flight: Flight) -> None:
        async def held() -> Any:
            flight.end.called = True
            await flight.gate.wait()
            return flight.finish()

        try:
            await self._run(self.adapter.guard(self.breaker, held), flight.end, (), {})
        finally:
            flight.ended = True

    def _wake(self, flight: Flight) -> None:
        flight.gate.set()

    async def _pause(self) -> None:
        await asyncio.sleep(0.001)
