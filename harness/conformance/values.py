"""Values of the conformance suite: what is asked of a breaker, how it is reached, and what came out.

In    nothing
Out   Scenario, Plan, Adapter, Report
Rule  values only; a scenario is a sentence, a reason and a coroutine that plays it
Why   the same sentences stand in the table, in a failing test and in the report
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from harness.conformance.stage import Stage


class Kind(enum.StrEnum):
    """How the guarded calls are made."""

    TASKS = "tasks"
    THREADS = "threads"


class Status(enum.StrEnum):
    """What came out."""

    PASSED = "pass"
    FAILED = "FAIL"
    NOT_APPLICABLE = "n/a"


BOTH: Final = (Kind.TASKS, Kind.THREADS)
CAPABILITIES: Final[Mapping[str, str]] = {
    "tasks": "guards coroutine functions",
    "threads": "guards plain functions, from several threads",
    "streams": "guards generators: an async one in tasks, a plain one in threads",
    "predicate": "asks a function whether an exception is a failure",
    "listener": "tells a function what happens to it",
    "retry_after": "says on the exception of a refusal when to come back",
}
"""What an adapter may declare that its breaker lacks; ``"streams/tasks"`` limits it to one kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The breaker that a scenario wants. Seconds."""

    kind: Kind
    """Whether coroutine functions or plain functions will be guarded."""
    clock: Callable[[], float]
    """The time; take it if the breaker can be given one. If not, its package's own time functions are replaced."""
    failures_max: int = 3
    """Failures in a row that open it."""
    cooldown_s: float = 30.0
    """How long it stays open."""
    probe_max_s: float = 60.0
    """How long a probe may take, if the breaker can be told."""
    is_failure: Callable[[Exception], bool] | None = None
    """What decides whether an exception is a failure; None: each is."""
    listener: Callable[..., None] | None = None
    """What wants to be told of calls, failures and changes of state, with any arguments."""


class Adapter(Protocol):
    """How a breaker is reached: three functions. What it lacks, and where it says when to come back, are data."""

    def make(self, plan: Plan) -> Any:
        """Make a breaker as planned: closed, half-open lets one probe through, one good probe closes it."""

    def guard(self, breaker: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function as the breaker's own decorator does."""

    def state(self, breaker: Any) -> str:
        """Say ``closed``, ``open`` or ``half-open``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One requirement and how it is tried."""

    name: str
    requirement: str
    why: str
    kinds: tuple[Kind, ...]
    needs: tuple[str, ...]
    play: Callable[[Stage], Awaitable[None]]
    spares_nobody: bool = False
    """Also played with a breaker that declares to lack the kind: it must not pretend to have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came out of one scenario of one kind; ``evidence`` says what was seen, or why it was not played."""

    scenario: str
    kind: Kind
    status: Status
    evidence: str = ""


class BrokenRequirementError(AssertionError):
    """The breaker did what it must not; the text is the evidence."""


class NotApplicableError(Exception):
    """The scenario cannot be played with this breaker; the text says why."""


def scenario(
    requirement: str,
    *,
    why: str,
    kinds: tuple[Kind, ...] = BOTH,
    needs: tuple[str, ...] = (),
    spares_nobody: bool = False,
) -> Callable[[Callable[[Stage], Awaitable[None]]], Scenario]:
    """Make a Scenario of the coroutine function that plays it; its name is the function's."""

    def make(play: Callable[[Stage], Awaitable[None]]) -> Scenario:
        name = getattr(play, "__name__", "").replace("_", "-")
        return Scenario(
            name=name,
            requirement=requirement,
            why=why,
            kinds=kinds,
            needs=needs,
            play=play,
            spares_nobody=spares_nobody,
        )

    return make
