"""Adapters of the breakers that ours is compared with; each is used as its own documentation says.

They are dependencies of the checks, never of the product, so they stand here. What a library does not offer, and does
not pretend to offer, stands under ``lacks``; everything else is tried.
"""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Final

import aiobreaker
import circuitbreaker
import interlock
import purgatory
import pybreaker
from interlock.state import State

from harness.conformance import Kind, Plan

Function = Callable[..., Any]


class PyBreaker:
    """pybreaker: listeners and excluded exceptions; asyncio only through Tornado's generators."""

    lacks: ClassVar = {
        "tasks": "guards coroutines of Tornado, not of asyncio",
        "retry_after": "CircuitBreakerError carries a text only",
    }

    def make(self, plan: Plan) -> pybreaker.CircuitBreaker:
        """Make it with a listener for everything, if one is wanted."""
        breaker = pybreaker.CircuitBreaker(
            fail_max=plan.failures_max,
            reset_timeout=plan.cooldown_s,
            exclude=[] if plan.is_failure is None else [_negated(plan.is_failure)],
            throw_new_error_on_trip=False,  # With the default the error that opens it never reaches the caller.
        )
        if plan.listener is not None:
            listener = pybreaker.CircuitBreakerListener()
            for event in ("failure", "success", "state_change"):
                setattr(listener, event, plan.listener)
            breaker.add_listener(listener)
        return breaker

    def guard(self, breaker: pybreaker.CircuitBreaker, function: Function) -> Function:
        """Decorate."""
        return breaker(function)

    def state(self, breaker: pybreaker.CircuitBreaker) -> str:
        """Read."""
        return breaker.current_state


class CircuitBreaker:
    """circuitbreaker: the decorator, which is the one way in that refuses while open."""

    retry_after = "_circuit_breaker.open_remaining"
    lacks: ClassVar = {"listener": "has no listeners"}

    def make(self, plan: Plan) -> circuitbreaker.CircuitBreaker:
        """Make it; its predicate gets the type and the exception."""
        is_failure = plan.is_failure
        expected = Exception if is_failure is None else lambda _kind, error: is_failure(error)
        return circuitbreaker.CircuitBreaker(plan.failures_max, plan.cooldown_s, expected, "conformance")

    def guard(self, breaker: circuitbreaker.CircuitBreaker, function: Function) -> Function:
        """Decorate."""
        return breaker(function)  # type: ignore[no-any-return]

    def state(self, breaker: circuitbreaker.CircuitBreaker) -> str:
        """Read."""
        return str(breaker.state).replace("_", "-")


class AioBreaker:
    """aiobreaker: pybreaker's descendant for asyncio; it guards plain functions, too."""

    retry_after = "time_remaining"

    def make(self, plan: Plan) -> aiobreaker.CircuitBreaker:
        """Make it with a listener for everything, if one is wanted."""
        breaker = aiobreaker.CircuitBreaker(
            fail_max=plan.failures_max,
            timeout_duration=dt.timedelta(seconds=plan.cooldown_s),
            exclude=[] if plan.is_failure is None else [_negated(plan.is_failure)],
        )
        if plan.listener is not None:
            listener = aiobreaker.CircuitBreakerListener()
            for event in ("failure", "success", "state_change"):
                setattr(listener, event, plan.listener)
            breaker.add_listener(listener)
        return breaker

    def guard(self, breaker: aiobreaker.CircuitBreaker, function: Function) -> Function:
        """Decorate."""
        return breaker(function)  # type: ignore[no-any-return]

    def state(self, breaker: aiobreaker.CircuitBreaker) -> str:
        """Read."""
        return str(breaker.current_state.name).lower().replace("_", "-")


class Purgatory:
    """purgatory: a factory of breakers by name, one class for asyncio and one for threads."""

    lacks: ClassVar = {
        "retry_after": "OpenedState says since when it is open, not for how long",
        "streams/tasks": "its decorator awaits what it calls",
    }

    def make(self, plan: Plan) -> Any:
        """Make a factory of the right kind; its one circuit belongs to the scenario."""
        exclude: Any = [] if plan.is_failure is None else [(Exception, _negated(plan.is_failure))]
        kind = purgatory.AsyncCircuitBreakerFactory if plan.kind is Kind.TASKS else purgatory.SyncCircuitBreakerFactory
        factory = kind(default_threshold=plan.failures_max, default_ttl=plan.cooldown_s, exclude=exclude)
        if plan.listener is not None:
            factory.add_listener(plan.listener)
        return factory

    def guard(self, breaker: Any, function: Function) -> Function:
        """Decorate."""
        return breaker("conformance")(function)  # type: ignore[no-any-return]

    def state(self, breaker: Any) -> str:
        """Ask the factory for its circuit."""
        circuit = breaker.get_breaker("conformance")
        if inspect.iscoroutine(circuit):
            circuit = _at_once(circuit)
        return {"closed": "closed", "opened": "open", "half-opened": "half-open"}[circuit.context.state]


class InterlockCb:
    """interlock-cb: windows, capped probes and generations; one instance for both kinds."""

    retry_after = "retry_after"

    def make(self, plan: Plan) -> interlock.CircuitBreaker:
        """Make it trip on a window that holds nothing but failures: it has no count of failures in a row."""
        config = interlock.Config(
            failure_rate_threshold=1.0,
            minimum_number_of_calls=plan.failures_max,
            window_size=plan.failures_max,
            wait_duration_in_open=plan.cooldown_s,
            permitted_calls_in_half_open=1,
            max_concurrent_probes=1,
        )
        return interlock.CircuitBreaker(
            name="conformance",
            config=config,
            clock=_InterlockClock(plan.clock),
            classifier=None if plan.is_failure is None else _InterlockClassifier(plan.is_failure),
            listener=None if plan.listener is None else _InterlockListener(plan.listener),
        )

    def guard(self, breaker: interlock.CircuitBreaker, function: Function) -> Function:
        """Decorate."""
        return breaker(function)

    def state(self, breaker: interlock.CircuitBreaker) -> str:
        """Read."""
        return {State.CLOSED: "closed", State.OPEN: "open", State.HALF_OPEN: "half-open"}[breaker.state]


PEERS: Final = {
    "pybreaker": PyBreaker,
    "circuitbreaker": CircuitBreaker,
    "aiobreaker": AioBreaker,
    "purgatory": Purgatory,
    "interlock-cb": InterlockCb,
}
"""By the names under which they are installed."""


def _negated(is_failure: Callable[[Exception], bool]) -> Callable[[Any], bool]:
    return lambda error: not is_failure(error)


def _at_once(coroutine: Any) -> Any:
    """Run a coroutine that waits for nothing, as a store in memory does."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a store in memory made somebody wait")


class _InterlockClock:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.monotonic = clock


class _InterlockClassifier:
    def __init__(self, is_failure: Callable[[Exception], bool]) -> None:
        self._is_failure = is_failure

    def is_failure(self, *, result: object, exception: Exception | None) -> bool:
        del result
        return exception is not None and self._is_failure(exception)


class _InterlockListener:
    def __init__(self, listener: Callable[..., None]) -> None:
        self.on_state_change = self.on_call = self.on_rejected = self.on_reset = listener
