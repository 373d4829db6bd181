"""The stage: where a scenario plays, with tasks or with threads.

In    an adapter, a kind
Out   guarded calls: at once, held in the middle until told, in crowds, in loops; what each caller got
Rule  every wait is bounded; a call that does not come back is evidence, not a hung test
Why   one text of a scenario for both kinds: what differs between a task and a thread is said here, once
"""

from __future__ import annotations

import contextlib
import datetime as dt
import operator
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from harness.conformance.clock import Clock
from harness.conformance.values import Adapter, BrokenRequirementError, Kind, NotApplicableError, Plan

CALL_MAX_S: Final = 3.0
"""Real seconds that a call which nothing holds may take."""
QUIET_S: Final = 0.4
"""A crowd in which for so long nobody went in or came back is settled."""


class DownstreamError(Exception):
    """What the guarded function raises."""


@dataclass(slots=True)
class End:
    """What a caller got, and whether its function was called at all."""

    called: bool = False
    value: Any = None
    error: BaseException | None = None

    @property
    def refused(self) -> bool:
        """An exception came instead of a call."""
        return self.error is not None and not self.called

    def __str__(self) -> str:
        if self.error is None:
            return f"the caller got {self.value!r}"
        what = "was refused with" if self.refused else "got"
        return f"the caller {what} {type(self.error).__name__}({self.error})"


class Flight:
    """A guarded call that waits in the middle until it is told how to end."""

    def __init__(self) -> None:
        """Not started."""
        self.end = End()
        self.ended = False
        self.told = False
        self.error: BaseException | None = None
        self.gate: Any = None
        self.worker: Any = None

    @property
    def inside(self) -> bool:
        """Whether the guarded function is running."""
        return self.end.called and not self.ended

    def finish(self) -> Any:
        """What the guarded function does when it is told."""
        if self.error is not None:
            raise self.error
        return "landed"


class Stage(ABC):
    """What both kinds have in common."""

    kind: ClassVar[Kind]

    def __init__(self, adapter: Adapter) -> None:
        """Begin with nothing made."""
        self.adapter = adapter
        self.clock = Clock()
        self.plan = Plan(kind=self.kind, clock=self.clock)
        self.breaker: Any = None
        self._flights: list[Flight] = []
        self._shown = contextlib.ExitStack()

    # --- the breaker --------------------------------------------------------------------------------------------------
    def make(self, **wanted: Any) -> Any:
        """Make a breaker; the calls that follow go through it."""
        self.plan = Plan(kind=self.kind, clock=self.clock, **wanted)
        made = self.adapter.make(self.plan)
        own = frozenset({type(made).__module__.partition(".")[0]}) - {"harness", "builtins"}
        self._shown.enter_context(self.clock.shown_to(frozenset(getattr(self.adapter, "packages", own))))
        self.breaker = made
        return made

    def state(self, breaker: Any = None) -> str:
        """Ask for the state."""
        return self.adapter.state(self.breaker if breaker is None else breaker)

    def expect(self, held: object, evidence: str) -> None:
        """Go on if it held."""
        if not held:
            raise BrokenRequirementError(evidence)

    def expect_state(self, *wanted: str, after: str) -> None:
        """Go on if the state is one of these."""
        state = self.state()
        self.expect(state in wanted, f"{after}: it is {state}, not {' or '.join(wanted)}")

    # --- calls --------------------------------------------------------------------------------------------------------
    async def ok(self, value: Any = "fine") -> End:
        """Call a function that returns."""
        return await self.call(lambda: value)

    async def fail(self, error: BaseException | None = None) -> End:
        """Call a function that raises."""

        def body() -> None:
            raise DownstreamError("planned") if error is None else error

        return await self.call(body)

    async def call(self, body: Callable[..., Any], /, *args: Any, **kwargs: Any) -> End:
        """Call ``body``, guarded, as a function of this kind."""
        end = End()

        def noted(*got: Any, **named: Any) -> Any:
            end.called = True
            return body(*got, **named)

        await self._run(self.adapter.guard(self.breaker, self.dress(noted)), end, args, kwargs)
        return end

    async def nest(self, body: Callable[[], Any]) -> End:
        """Call a guarded function that calls ``body`` through the same breaker."""
        end = End()
        inner = self.adapter.guard(self.breaker, self.dress(body))
        outer = self.adapter.guard(self.breaker, self.dress_nested(inner, end))
        await self._run(outer, end, (), {})
        return end

    def retry_after_s(self, end: End) -> object:
        """What a refusal says: seconds or a timedelta, where the adapter finds it on the exception."""
        self.expect(end.refused, f"a refusal was expected: {end}")
        where = getattr(self.adapter, "retry_after", "retry_after_s")
        try:
            said = operator.attrgetter(where)(end.error)
        except Exception as error:  # noqa: BLE001  # a property of somebody else's exception
            raise BrokenRequirementError(f"reading {where} raised {type(error).__name__}: {error}") from None
        if isinstance(said, dt.timedelta):
            return said.total_seconds()
        return float(said) if isinstance(said, int) else said

    async def all_ended(self, flights: Sequence[Flight]) -> bool:
        """Wait for calls that nothing holds any more; those that got in later are let go."""

        def ended() -> bool:
            for flight in flights:
                if flight.inside and not flight.told:
                    flight.told = True
                    self._wake(flight)
            return all(flight.ended for flight in flights)

        return await self._until(ended)

    async def trip(self) -> None:
        """Open it, by as many failures as it takes."""
        for number in range(1, self.plan.failures_max + 1):
            end = await self.fail()
            self.expect(end.called, f"failure {number} of {self.plan.failures_max} was refused")
        self.expect_state("open", after=f"{self.plan.failures_max} failures in a row")

    def cool(self) -> None:
        """Let the cooldown pass."""
        self.clock.advance(self.plan.cooldown_s + 1.0)

    # --- calls that are held in the middle ----------------------------------------------------------------------------
    async def launch(self, count: int = 1) -> list[Flight]:
        """Start guarded calls at the same time; come back when each is inside or has come back, or nothing moves."""
        flights = [Flight() for _ in range(count)]
        self._flights += flights
        self._start(flights)
        await self._settled(flights)
        return flights

    async def launch_one(self, what: str) -> Flight:
        """Start one guarded call that must get in."""
        (flight,) = await self.launch()
        seen = flight.end if flight.ended else "it waits for another call to end"
        self.expect(flight.inside, f"{what} was not let through: {seen}")
        return flight

    async def land(self, flight: Flight, error: BaseException | None = None) -> End:
        """Let a held call return, or raise."""
        flight.error, flight.told = error, True
        self._wake(flight)
        self.expect(await self._until(lambda: flight.ended), "a call did not come back when its function had ended")
        return flight.end

    async def land_all(self, flights: Sequence[Flight], error: BaseException | None = None) -> None:
        """Let held calls return, or raise, in any order: those that still wait to get in, too."""
        for flight in flights:
            flight.error, flight.told = error, True
            self._wake(flight)
        ended = await self._until(lambda: all(flight.ended for flight in flights))
        self.expect(ended, "calls did not come back when their functions had ended")

    async def needs_overlap(self) -> None:
        """Leave if calls wait for one another: then nothing can come late."""
        flights = await self.launch(2)
        inside = sum(flight.inside for flight in flights)
        await self.land_all(flights)
        if inside < len(flights):
            raise NotApplicableError("calls wait for one another, so no result can come late")

    async def clear(self) -> None:
        """Let go of whatever still waits."""
        for flight in self._flights:
            if not flight.told and not flight.ended:
                flight.told = True
                self._wake(flight)
        await self._until(lambda: all(flight.ended for flight in self._flights), 0.5)

    def close(self) -> None:
        """Give the packages their own clock back."""
        self._shown.close()

    async def _settled(self, flights: Sequence[Flight]) -> None:
        last, quiet_since = -1, time.monotonic()

        def settled() -> bool:
            nonlocal last, quiet_since
            moved = sum(flight.end.called or flight.ended for flight in flights)
            if moved != last:
                last, quiet_since = moved, time.monotonic()
            return moved == len(flights) or time.monotonic() - quiet_since > QUIET_S

        await self._until(settled)

    async def _until(self, condition: Callable[[], bool], patience_s: float = CALL_MAX_S) -> bool:
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            await self._pause()
        return True

    # --- what differs -------------------------------------------------------------------------------------------------
    @abstractmethod
    def dress(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Make a function of this kind that does what ``body`` does."""

    @abstractmethod
    def dress_nested(self, guarded: Callable[..., Any], end: End) -> Callable[..., Any]:
        """Make a function of this kind that calls a guarded one."""

    @abstractmethod
    async def churn(self, count: int, *bodies: Callable[[], Any]) -> None:
        """Make many guarded calls of these in turn, and forget all that comes of them."""

    @abstractmethod
    async def stream(self, items: int, *, error: BaseException | None = None, take: int | None = None) -> End:
        """Read a guarded generator of numbers: to its end, which may be an error, or ``take`` items and close it."""

    @abstractmethod
    async def _run(
        self, guarded: Callable[..., Any], end: End, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None: ...

    @abstractmethod
    def _start(self, flights: Sequence[Flight]) -> None: ...

    @abstractmethod
    def _wake(self, flight: Flight) -> None: ...

    @abstractmethod
    async def _pause(self) -> None: ...
