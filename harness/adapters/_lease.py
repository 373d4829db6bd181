"""Lease: one admitted call, from admission to its end.

In    an admission, or the probe that the call is part of; how the call ended
Out   the outcome, to the breaker, once
Rule  judges run without a lock; whatever they do, the call is settled; nothing is kept of an exception
Why   a permit that is lost refuses everybody, and a kept exception keeps its frames
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from harness.errors import BusyError, CircuitOpenError
from harness.services.circuit_breaker import Outcome

if TYPE_CHECKING:
    from harness.adapters._locked_breaker import Admission
    from harness.adapters.guard import Guard

Verdict = Outcome | tuple[Outcome, float]
"""What a judge says: an outcome, or one with the seconds after which the dependency wants to be asked again."""
Judge = Callable[[Any], Verdict]

PROBES: Final[ContextVar[tuple[Lease, ...]]] = ContextVar("harness-guard-probes", default=())
"""The probes that the running code is part of: what a probe calls through its own guard belongs to the probe."""


class Lease:
    """Settle it once, or let ``with`` do it; ``renew`` it while a long call shows signs of life."""

    __slots__ = ("_admission", "_first_s", "_guard", "_part_of", "_token")

    def __init__(self, guard: Guard, admission: Admission | None, *, part_of: Lease | None = None) -> None:
        """Made by ``Guard.admit``; no admission: the call is late, or part of a probe that is judged as a whole."""
        self._guard = guard
        self._admission = admission
        self._part_of = part_of
        self._first_s: float | None = None
        self._token: Token[tuple[Lease, ...]] | None = None

    @property
    def probe(self) -> bool:
        """Whether this is a probe that is still out."""
        return self._admission is not None and self._admission[0].probe

    def belongs_to(self, guard: Guard) -> bool:
        """Whether this is a probe of ``guard`` that is still out."""
        return self._guard is guard and self._admission is not None

    def renew(self) -> None:
        """Report that the call is alive: what still moves is not hung. The first time counts as its first answer."""
        if self._part_of is not None:
            self._part_of.renew()
        elif self._admission is not None:
            now = self._guard._renew(self._admission[0])  # noqa: SLF001  # guard and lease are halves of one thing
            if self._first_s is None:
                self._first_s = now - self._admission[2]

    def settle(self, outcome: Outcome = Outcome.SUCCESS, *, retry_after_s: float = 0.0) -> None:
        """Say how the call ended; only the first word counts."""
        admission, self._admission = self._admission, None
        if admission is not None:
            self._guard._leave(admission, outcome, retry_after_s, self._first_s)  # noqa: SLF001  # see renew

    def returned(self, result: object) -> None:
        """Settle by what the call returned."""
        self._judged(self._guard._judge_result, result, Outcome.SUCCESS)  # noqa: SLF001  # see renew

    def failed(self, error: BaseException) -> None:
        """Settle by what the call raised; what is no ``Exception`` ended the caller, and says nothing of the called."""
        if not isinstance(error, Exception):
            self.settle(Outcome.CANCELLED)
        elif isinstance(error, CircuitOpenError | BusyError) and error.name == self._guard.name:
            self.settle(Outcome.IGNORED)  # Its own refusal, of a call within the call.
        else:
            self._judged(self._guard._judge_error, error, Outcome.FAILURE)  # noqa: SLF001  # see renew

    def _judged(self, judge: Judge | None, evidence: object, default: Outcome) -> None:
        """Settle as the judge says; one that raises makes it a failure, for nobody knows what happened."""
        if self._admission is None:
            return
        if judge is None:
            self.settle(default)
            return
        verdict: Verdict = Outcome.CANCELLED
        try:
            verdict = judge(evidence)
        except Exception as error:  # noqa: BLE001  # a judge is somebody else's code: whatever it raises, the call has ended
            self._guard._teller.report("judge", error)  # noqa: SLF001  # see renew
            verdict = Outcome.FAILURE
        finally:  # Also when the judge was interrupted: no permit is lost.
            outcome, retry_after_s = verdict if isinstance(verdict, tuple) else (verdict, 0.0)
            self.settle(outcome, retry_after_s=retry_after_s)

    def __enter__(self) -> Self:
        """Begin the block; inside a probe's block, calls through the same guard belong to the probe."""
        if self.probe:
            self._token = PROBES.set((*PROBES.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> Literal[False]:
        """Settle by how the block ended, unless it was settled inside."""
        if self._token is not None:
            with suppress(ValueError):  # A generator can be closed from another context, which never saw the probe.
                PROBES.reset(self._token)
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
