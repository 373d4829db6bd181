"""Guard: a circuit breaker around anybody's sync or async code.

In    a name, a BreakerConfig; functions, coroutine functions, generators and blocks to guard
Out   what they return, raise and yield, unchanged; CircuitOpenError instead of a call that must not be made
Rule  the machine decides, this only asks it; no lock is held while guarded code or a hook runs
Why   the same breaker that the chat service trusts can guard a database client, in threads and in tasks

    guard = Guard("payments")
    @guard                                  guard.call(charge, order)            with guard.admit() as lease:
    async def charge(order): ...            await guard.acall(charge, order)         ...
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar, cast

from harness.adapters._guarded_streams import guarded_async_generator, guarded_generator
from harness.adapters._lease import PROBES, Lease, Verdict
from harness.adapters._locked_breaker import UNASKED_MAX, Limit, LockedBreaker
from harness.services.circuit_breaker import BreakerConfig, Outcome, Transition

__all__ = ["Guard", "Lease", "Limit", "Verdict"]

P = ParamSpec("P")
R = TypeVar("R")


class Guard(LockedBreaker):
    """One breaker for one dependency, for any number of threads and tasks.

    ``clock`` gives seconds and never goes back. ``judge_error`` says what an exception proves (default: every
    ``Exception`` is a failure), ``judge_result`` what a returned value proves (default: success); a judge that raises
    makes the call a failure, and is counted and logged. ``listener`` is told every change of state, in order, one at a
    time, by the thread that caused it or the one that is telling already; what it raises is counted and logged.

    In the same pass (the fused guard): ``limit`` gives each call a place (BusyError if there is none) and gets the
    seconds to its first answer; ``record`` gets outcome and seconds of each call that was made. Both work under the
    guard's lock, so they must be quick; guards that share one of them share a ``lock``, too.
    """

    __slots__ = ("_judge_error", "_judge_result")

    def __init__(
        self,
        name: str,
        config: BreakerConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        judge_error: Callable[[Exception], Verdict] | None = None,
        judge_result: Callable[[Any], Verdict] | None = None,
        listener: Callable[[Transition], object] | None = None,
        limit: Limit | None = None,
        record: Callable[[Outcome, float], object] | None = None,
        lock: threading.Lock | None = None,
    ) -> None:
        """Start closed."""
        super().__init__(name, config, clock=clock, listener=listener, limit=limit, record=record, lock=lock)
        self._judge_error = judge_error
        self._judge_result = judge_result
        self._fused = self._fused or judge_result is not None

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, coroutine function, generator function or async generator function; it stays one."""
        if not callable(function):
            raise TypeError(
                f"a guard decorates what can be called, not {type(function).__name__}: "
                "it goes below @classmethod and @property"
            )
        kind, made = _bare(function), cast("Callable[..., Any]", function)
        call, acall = self._call, self._acall
        wrapper: Callable[..., Any]
        if inspect.isasyncgenfunction(kind):
            wrapper = guarded_async_generator(self.admit, made)
        elif inspect.iscoroutinefunction(kind):

            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                return await acall(made, args, kwargs)

        elif inspect.isgeneratorfunction(kind):
            wrapper = guarded_generator(self.admit, made)
        else:

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return call(made, args, kwargs)

        return cast("Callable[P, R]", functools.wraps(made)(wrapper))

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it if the breaker lets it through; a coroutine that comes back is guarded when it is awaited."""
        return cast("R", self._call(function, args, kwargs))

    async def acall(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it and await what it returns, if the breaker lets it through."""
        return cast("R", await self._acall(function, args, kwargs))

    def admit(self) -> Lease:
        """Ask for one call that is made elsewhere: a block (``with guard.admit() as lease``) or a chain of events."""
        for lease in PROBES.get():
            if lease.belongs_to(self):
                return Lease(self, None, part_of=lease)
        return Lease(self, self._enter())

    # --- one call: unasked while it is calm, else with a lease --------------------------------------------------------
    def _call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        era, since = self._era, self._clock()
        if since >= era.calm_until:
            return self._call_leased(function, args, kwargs)
        key = object()
        try:
            era.flying[key] = since
            result = function(*args, **kwargs)
            if (
                type(result) is not CoroutineType
                and self._clock() < era.calm_until
                and era.flying.pop(key, None) is not None
            ):
                era.good.append(None)
                if len(era.good) > UNASKED_MAX:
                    self.tick()
                return result
        except BaseException as error:
            Lease(self, self._landed(era, key, since)).failed(error)
            raise
        return self._returned(Lease(self, self._landed(era, key, since)), result)

    async def _acall(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        era, since = self._era, self._clock()
        if since >= era.calm_until:
            return await self._acall_leased(function, args, kwargs)
        key = object()
        try:
            era.flying[key] = since
            result = await function(*args, **kwargs)
            if self._clock() < era.calm_until and era.flying.pop(key, None) is not None:
                era.good.append(None)
                if len(era.good) > UNASKED_MAX:
                    self.tick()
                return result
        except BaseException as error:
            Lease(self, self._landed(era, key, since)).failed(error)
            raise
        Lease(self, self._landed(era, key, since)).returned(result)
        return result

    def _call_leased(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if PROBES.get():  # It may be part of one.
            with self.admit() as lease:
                return self._returned(lease, function(*args, **kwargs))
        admission = self._enter()
        if admission[0].probe:
            with Lease(self, admission) as lease:
                return self._returned(lease, function(*args, **kwargs))
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            Lease(self, admission).failed(error)
            raise
        if self._judge_result is None and type(result) is not CoroutineType:
            self._leave(admission, Outcome.SUCCESS, 0.0, None)
            return result
        return self._returned(Lease(self, admission), result)

    async def _acall_leased(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self.admit() as lease:
            result = await function(*args, **kwargs)
            lease.returned(result)
            return result

    def _returned(self, lease: Lease, result: Any) -> Any:
        if type(result) is not CoroutineType:
            lease.returned(result)
            return result
        lease.settle(Outcome.IGNORED)  # Nothing was called yet.
        return self._acall(_itself, (result,), {})


async def _itself(awaitable: Any) -> Any:
    return await awaitable


def _bare(function: Any) -> Any:
    """What decides whether a call returns a coroutine: under partials, or the ``__call__`` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__
