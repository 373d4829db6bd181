"""Guard: a circuit breaker around anybody's sync or async code.

In    a name, a BreakerConfig; functions, coroutine functions, generators and blocks to guard
Out   what they return, raise and yield, unchanged; CircuitOpenError instead of a call that must not be made
Rule  the machine decides, this only asks it, under a lock that is never held while guarded code or a hook runs
Why   the same breaker that the chat service trusts can guard a database client, in threads and in tasks

    guard = Guard("payments")
    @guard                                  guard.call(charge, order)            with guard.admit() as lease:
    async def charge(order): ...            await guard.acall(charge, order)         ...

While the machine says that it is calm - closed, nothing slow in flight - calls go through without the lock: an entry in
a dict while they run, one in a list when they end well. Whatever else happens first reports these to the machine.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar, Token
from types import CoroutineType, TracebackType
from typing import Any, Final, Literal, ParamSpec, Self, TypeVar, cast

from harness.adapters._guarded_streams import guarded_async_generator, guarded_generator
from harness.adapters._telling import Teller
from harness.errors import CircuitOpenError
from harness.services.circuit_breaker import (
    BreakerConfig,
    CircuitBreaker,
    Counts,
    Outcome,
    Permit,
    Refusal,
    State,
    Transition,
)

__all__ = ["Guard", "Lease", "Verdict"]

P = ParamSpec("P")
R = TypeVar("R")
Verdict = Outcome | tuple[Outcome, float]
"""What a judge says: an outcome, or one with the seconds after which the dependency wants to be asked again."""

GOOD_MAX: Final = 500
"""Good calls that are reported to the machine together, at most."""
_NEVER: Final = float("-inf")
_PROBES: Final[ContextVar[tuple[Lease, ...]]] = ContextVar("harness-guard-probes", default=())
"""The probes that the running code is part of: what a probe calls through its own guard belongs to the probe."""


class _Era:
    """Calls that went through unasked since the last change of state. Each operation on it is atomic."""

    __slots__ = ("calm_until", "flying", "good")

    def __init__(self) -> None:
        self.calm_until = _NEVER
        self.flying: dict[object, float] = {}
        self.good: list[None] = []


class Guard:
    """One breaker for one dependency, for any number of threads and tasks.

    ``clock`` gives seconds and never goes back. ``judge_error`` says what an exception proves (default: every
    ``Exception`` is a failure), ``judge_result`` what a returned value proves (default: success); a judge that raises
    makes the call a failure, and is counted and logged. ``listener`` is told every change of state, in order, one at a
    time, by the thread that caused it or the one that is telling already; what it raises is counted and logged.
    """

    __slots__ = (
        "_adopted",
        "_asks",
        "_clock",
        "_era",
        "_judge_error",
        "_judge_result",
        "_lock",
        "_machine",
        "_teller",
        "name",
    )

    def __init__(
        self,
        name: str,
        config: BreakerConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        judge_error: Callable[[Exception], Verdict] | None = None,
        judge_result: Callable[[Any], Verdict] | None = None,
        listener: Callable[[Transition], object] | None = None,
    ) -> None:
        """Start closed."""
        self.name: Final = name
        self._machine = CircuitBreaker(config or BreakerConfig())
        self._lock = threading.Lock()
        self._clock = clock
        self._judge_error = judge_error
        self._judge_result = judge_result
        self._teller: Teller[Transition] = Teller(name, listener)
        self._asks = judge_result is not None
        self._era = _Era()
        self._adopted: dict[object, Permit] = {}

    # --- guarding -----------------------------------------------------------------------------------------------------
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, coroutine function, generator function or async generator function; it stays one."""
        if not callable(function):
            raise TypeError(
                f"a guard decorates what can be called, not {type(function).__name__}: "
                "it goes below @classmethod and @property"
            )
        kind, made = _bare(function), cast("Callable[..., Any]", function)
        wrapper: Callable[..., Any]
        if inspect.isasyncgenfunction(kind):
            wrapper = guarded_async_generator(self.admit, made)
        elif inspect.iscoroutinefunction(kind):

            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                return await self.acall(made, *args, **kwargs)

        elif inspect.isgeneratorfunction(kind):
            wrapper = guarded_generator(self.admit, made)
        else:

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return self.call(made, *args, **kwargs)

        return cast("Callable[P, R]", functools.wraps(made)(wrapper))

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it if the breaker lets it through; a coroutine that comes back is guarded when it is awaited."""
        era, since = self._era, self._clock()
        if since >= era.calm_until:
            return self._asked(function, *args, **kwargs)
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
                if len(era.good) > GOOD_MAX:
                    self.tick()
                return result
        except BaseException as error:
            self._landed(era, key, since).failed(error)
            raise
        return self._returned(self._landed(era, key, since), result)

    async def acall(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it and await what it returns, if the breaker lets it through."""
        era, since = self._era, self._clock()
        if since >= era.calm_until:
            with self.admit() as lease:
                result = await function(*args, **kwargs)
                lease.returned(result)
                return result
        key = object()
        try:
            era.flying[key] = since
            result = await function(*args, **kwargs)
            if self._clock() < era.calm_until and era.flying.pop(key, None) is not None:
                era.good.append(None)
                if len(era.good) > GOOD_MAX:
                    self.tick()
                return result
        except BaseException as error:
            self._landed(era, key, since).failed(error)
            raise
        self._landed(era, key, since).returned(result)
        return result

    def admit(self) -> Lease:
        """Ask for one call that is made elsewhere: a block (``with guard.admit() as lease``) or a chain of events."""
        for lease in _PROBES.get():
            if lease.belongs_to(self):
                return Lease(self, None, part_of=lease)
        with self._lock:
            now = self._begin()
            answer = self._machine.admit(now)
            self._publish(self._machine.drain())
        self._teller.tell()
        if isinstance(answer, Refusal):
            raise CircuitOpenError(self.name, retry_after_s=answer.retry_after_s)
        return Lease(self, answer)

    # --- looking ------------------------------------------------------------------------------------------------------
    @property
    def state(self) -> State:
        """The state at this moment: a cooldown that is over is noticed."""
        self.tick()
        return self._machine.state

    @property
    def hook_errors(self) -> int:
        """How often a judge or the listener raised."""
        return self._teller.errors

    @property
    def listener_losses(self) -> int:
        """Changes of state that the listener was too slow for."""
        return self._teller.losses

    def tick(self) -> None:
        """Let time pass although nobody calls: cooldowns, leases, overrides, slow calls in flight."""
        with self._lock:
            self._publish(self._machine.tick(self._begin()))
        self._teller.tell()

    def counts(self) -> Counts:
        """Give what the window holds, and with it the rates."""
        with self._lock:
            return self._machine.counts(self._begin())

    def totals(self) -> Mapping[str, int]:
        """Count what ever happened: each outcome, refusals, late results."""
        with self._lock:
            self._begin()
            return self._machine.totals()

    def force(self, state: State, *, author: str, ttl_s: float = 3600.0) -> None:
        """Let a person decide for a limited time; ValueError for what nobody can ask for."""
        with self._lock:
            self._publish(self._machine.force(state, self._begin(), author=author, ttl_s=ttl_s))
        self._teller.tell()

    # --- the machine, with the lock held ------------------------------------------------------------------------------
    def _begin(self) -> float:
        """Report to the machine what went through unasked; give the time."""
        era, machine = self._era, self._machine
        good = len(era.good)
        del era.good[:good]
        began = []
        while era.flying:
            began.append(era.flying.popitem())
        began.reverse()
        if good or began:
            permits = machine.catch_up(good, [since for _, since in began])
            self._adopted.update(zip((key for key, _ in began), permits, strict=True))
        return self._clock()

    def _publish(self, moves: tuple[Transition, ...]) -> None:
        """Say until when calls may go through unasked; after a change of state those before it are late."""
        if moves:
            self._era.calm_until = _NEVER
            self._era = _Era()
            self._teller.note(moves)
        if not self._asks:
            self._era.calm_until = self._machine.calm_until

    def _settle(self, permit: Permit, outcome: Outcome, retry_after_s: float) -> None:
        with self._lock:
            now = self._begin()
            self._publish(self._machine.settle(permit, now, outcome, retry_after_s=retry_after_s))
        self._teller.tell()

    def _renew(self, permit: Permit) -> None:
        with self._lock:
            self._machine.renew(permit, self._begin())
            self._publish(self._machine.drain())
        self._teller.tell()

    # --- calls --------------------------------------------------------------------------------------------------------
    def _asked(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.admit() as lease:
            return self._returned(lease, function(*args, **kwargs))

    def _returned(self, lease: Lease, result: R) -> R:
        if type(result) is not CoroutineType:
            lease.returned(result)
            return result
        lease.settle(Outcome.IGNORED)  # Nothing was called yet.
        return cast("R", self.acall(_itself, result))

    def _landed(self, era: _Era, key: object, since: float) -> Lease:
        """Make a lease of a call that went through unasked; none if the state has changed since: it is late."""
        with self._lock:
            if era.flying.pop(key, None) is None:
                return Lease(self, self._adopted.pop(key, None))
            return Lease(self, self._machine.catch_up(0, [since])[0] if era is self._era else None)

    def _ask(self, judge: Callable[[Any], Verdict] | None, evidence: object, default: Outcome) -> Verdict:
        """Ask a judge; one that raises makes it a failure, for nobody knows what happened."""
        if judge is None:
            return default
        try:
            return judge(evidence)
        except Exception as error:  # noqa: BLE001  # a judge is somebody else's code: whatever it raises, the call has ended
            self._teller.report("judge", error)
            return Outcome.FAILURE


class Lease:
    """One admitted call: settle it once, or let ``with`` do it; ``renew`` it while a long one is alive."""

    __slots__ = ("_guard", "_part_of", "_permit", "_token")

    def __init__(self, guard: Guard, permit: Permit | None, *, part_of: Lease | None = None) -> None:
        """Made by ``Guard.admit``; no permit: the call is late, or part of a probe that is judged as a whole."""
        self._guard = guard
        self._permit = permit
        self._part_of = part_of
        self._token: Token[tuple[Lease, ...]] | None = None

    def belongs_to(self, guard: Guard) -> bool:
        """Whether this is a probe of ``guard`` that is still out."""
        return self._guard is guard and self._permit is not None

    def renew(self) -> None:
        """Report that the call is alive: what still moves is not hung."""
        if self._permit is not None:
            self._guard._renew(self._permit)  # noqa: SLF001  # guard and lease are two halves of one thing
        elif self._part_of is not None:
            self._part_of.renew()

    def settle(self, outcome: Outcome = Outcome.SUCCESS, *, retry_after_s: float = 0.0) -> None:
        """Say how the call ended; only the first word counts."""
        permit, self._permit = self._permit, None
        if permit is not None:
            self._guard._settle(permit, outcome, retry_after_s)  # noqa: SLF001  # see renew

    def returned(self, result: object) -> None:
        """Settle by what the call returned."""
        self._settle_by(self._guard._judge_result, result, Outcome.SUCCESS)  # noqa: SLF001  # see renew

    def failed(self, error: BaseException) -> None:
        """Settle by what the call raised; what is no ``Exception`` ended the caller, and says nothing of the called."""
        if not isinstance(error, Exception):
            self.settle(Outcome.CANCELLED)
        elif isinstance(error, CircuitOpenError) and error.name == self._guard.name:
            self.settle(Outcome.IGNORED)  # Its own refusal, of a call within the call.
        else:
            self._settle_by(self._guard._judge_error, error, Outcome.FAILURE)  # noqa: SLF001  # see renew

    def _settle_by(self, judge: Callable[[Any], Verdict] | None, evidence: object, default: Outcome) -> None:
        if self._permit is None:
            return
        verdict: Verdict = Outcome.CANCELLED
        try:
            verdict = self._guard._ask(judge, evidence, default)  # noqa: SLF001  # see renew
        finally:  # Also when the judge was interrupted: no permit is lost.
            outcome, retry_after_s = verdict if isinstance(verdict, tuple) else (verdict, 0.0)
            self.settle(outcome, retry_after_s=retry_after_s)

    def __enter__(self) -> Self:
        """Begin the block; inside a probe's block, calls through the same guard belong to the probe."""
        if self._permit is not None and self._permit.probe:
            self._token = _PROBES.set((*_PROBES.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> Literal[False]:
        """Settle by how the block ended, unless it was settled inside."""
        if self._token is not None:
            _PROBES.reset(self._token)
            self._token = None
        if error is None:
            self.settle()
        else:
            self.failed(error)
        return False

    async def __aenter__(self) -> Self:
        """Begin the block, in a coroutine."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> Literal[False]:
        """Settle by how the block ended, in a coroutine."""
        return self.__exit__(kind, error, trace)


async def _itself(awaitable: Any) -> Any:
    return await awaitable


def _bare(function: Any) -> Any:
    """What decides whether a call returns a coroutine: under partials, or the ``__call__`` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__
