"""Retry: the thin shell around Recovery, for any function, with or without ``await``.

In    a function to call, the dependency that it calls, what it may fall back to
Out   its result; or the last error, the very object, as if nobody had stood between
Rule  one retry layer a chain of calls: within a call that is retried, the inner ones pass errors through;
      what is no Exception (a cancelled task, Ctrl-C) passes at once and settles the call
Why   two layers of three tries are nine calls for one, exactly when there is no room for them

No error outlives its handling here: between two tries, and after the last, nothing of this file refers to the frames in
which it failed, and no reference goes in a circle. Whatever they held is free before the next try begins.

    retrying = Retrying(recovery, "store", keyed=True, within_s=5.0)
    rows = retrying.run(read, "SELECT ...")              # or: await retrying.run_async(fetch, url)

    @Retrying(recovery, "bot", within_s=30.0)            # def or async def
    async def ask(text: str) -> str: ...
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar, cast

from harness.adapters.classify import everything
from harness.services.recovery import Call, GiveUp, Recovery, RecoveryConfig, Retry

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_LAYER: Final[ContextVar[Call | None]] = ContextVar("harness_retry_layer", default=None)


def make_recovery(config: RecoveryConfig | None = None) -> Recovery:
    """Make the one object that a process shares: it knows every library's errors, and threads may use it."""
    return Recovery(config or RecoveryConfig(), everything(), dice=random.Random(), lock=threading.Lock())


class Retrying:
    """How one dependency is called; made once, used for any number of calls, tasks and threads."""

    def __init__(
        self,
        recovery: Recovery,
        dependency: str,
        *,
        keyed: bool = False,
        within_s: float = math.inf,
        fallbacks: Mapping[str, Callable[..., Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        sleep_async: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Recover calls to ``dependency`` as its policy says.

        ``keyed``: made twice, a call does no more than once. ``within_s``: no sleep ends later than this after the
        begin of a call. ``fallbacks``: for each rung of the policy's ladder below the first, what answers in the
        place of the function, with the same arguments.
        """
        if not within_s > 0:
            raise ValueError(f"within_s must be above 0, got {within_s}")
        config = recovery.config
        rungs = config.policies.get(dependency, config.policy).ladder.rungs[1:]
        missing = [rung.name for rung in rungs if rung.name not in (fallbacks or {})]
        if missing:
            raise ValueError(f"{dependency!r} may fall back to {', '.join(missing)}: fallbacks needs a function for it")
        self._recovery, self._dependency, self._keyed, self._within_s = recovery, dependency, keyed, within_s
        self._fallbacks = dict(fallbacks or {})
        self._clock, self._sleep, self._sleep_async = clock, sleep, sleep_async

    def __call__(self, function: F) -> F:
        """Decorate a function, ``def`` or ``async def``; TypeError for a generator, which cannot be begun again."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function!r} is a generator: what it has given cannot be taken back for another try")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def answer_async(*args: Any, **kwargs: Any) -> Any:
                return await self.run_async(function, *args, **kwargs)

            return cast("F", answer_async)

        @functools.wraps(function)
        def answer(*args: Any, **kwargs: Any) -> Any:
            return self.run(function, *args, **kwargs)

        return cast("F", answer)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function, as often as the policy allows."""
        if _retried_already():
            return function(*args, **kwargs)
        call = self._begin()
        layer = _LAYER.set(call)
        try:
            while True:
                try:
                    result = self._on_its_rung(call, function)(*args, **kwargs)
                except Exception as error:  # Every failure is judged; what no rule knows is raised.
                    decision = self._recovery.decide(call, error, self._clock())
                    if isinstance(decision, GiveUp):
                        raise
                else:
                    self._recovery.succeeded(call, self._clock())
                    return result
                if isinstance(decision, Retry):
                    self._sleep(decision.delay_s)
        finally:
            _LAYER.reset(layer)
            self._settle(call)

    async def run_async(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a coroutine function, as often as the policy allows."""
        if _retried_already():
            return await function(*args, **kwargs)
        call = self._begin()
        layer = _LAYER.set(call)
        try:
            while True:
                try:
                    result = await self._on_its_rung(call, function)(*args, **kwargs)
                except Exception as error:  # As above.
                    decision = self._recovery.decide(call, error, self._clock())
                    if isinstance(decision, GiveUp):
                        raise
                else:
                    self._recovery.succeeded(call, self._clock())
                    return result
                if isinstance(decision, Retry):
                    await self._sleep_async(decision.delay_s)
        finally:
            _LAYER.reset(layer)
            self._settle(call)

    def _begin(self) -> Call:
        now = self._clock()
        return self._recovery.begin(self._dependency, now, deadline=now + self._within_s, keyed=self._keyed)

    def _on_its_rung(self, call: Call, function: Callable[P, T]) -> Callable[P, T]:
        return function if call.rung == 0 else self._fallbacks[call.place.name]

    def _settle(self, call: Call) -> None:
        """Whatever ended the call, its place in the budget is given back: here it was cancelled."""
        if not call.over:
            self._recovery.abandon(call, self._clock())


def _retried_already() -> bool:
    """Whether a call further out is retried; a task that outlives that call has its own say again."""
    outer = _LAYER.get()
    return outer is not None and not outer.over
