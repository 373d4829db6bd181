"""Classifier: what kind of failure an error is.

In    rules, while it is open: exception types, values of their attributes, HTTP statuses, codes of bots; then errors
Out   a Failure: its kind, a code for programs and figures, and when another try is welcome
Rule  the most specific rule wins; what no rule knows is a bug; after ``close`` there are no more rules
Why   "retry everything" repeats mistakes, "retry nothing" gives up too early: somebody has to know the difference

An error is looked up along its classes, from its own to ``Exception``. On each step a rule for a value of an attribute
(``OSError`` with ``errno`` 28) comes before the rule for the class, and that before what a class of the project's own
tree says about itself. Of a group of errors, the one that leaves the least to hope for speaks for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from harness.errors import HarnessError, Kind

RULES_MAX: Final = 1_000
LEAVES_MAX: Final = 100
"""So many errors of a group are looked at."""
CODE_CHARS_MAX: Final = 40
_WORST_FIRST: Final = (
    Kind.CANCELLED,
    Kind.BUG,
    Kind.PERMANENT,
    Kind.AMBIGUOUS,
    Kind.THROTTLED,
    Kind.OVERLOADED,
    Kind.TRANSIENT,
)
_STATUS_MIN: Final = 400
_STATUS_MAX: Final = 599


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known about one failure; ``retry_after_s`` (seconds) if somebody said so."""

    kind: Kind
    code: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: what is recognised, and what it is taken for."""

    what: str
    kind: Kind
    code: str


class Classifier:
    """The rules, and what follows from them. Nothing here keeps an error: a Failure is numbers and words."""

    __slots__ = ("_attributes", "_closed", "_codes", "_rules_max", "_statuses", "_types", "_values")

    def __init__(self, *, rules_max: int = RULES_MAX) -> None:
        """Start without rules, open."""
        if rules_max < 1:
            raise ValueError(f"rules_max must be at least 1, got {rules_max}")
        self._rules_max = rules_max
        self._types: dict[type[BaseException], tuple[Kind, str]] = {}
        self._attributes: dict[type[BaseException], str] = {}
        self._values: dict[tuple[type[BaseException], int | str], tuple[Kind, str]] = {}
        self._statuses: dict[int, tuple[Kind, str]] = {}
        self._codes: dict[str, Kind] = {}
        self._closed = False

    # --- Rules --------------------------------------------------------------------------------------------------------
    def add_type(self, cls: type[BaseException], kind: Kind, code: str) -> Self:
        """Take errors of this class, and of those below it without a rule of their own, for ``kind``."""
        self._check(code, known=cls in self._types, what=cls.__name__)
        self._types[cls] = (kind, code)
        return self

    def add_value(self, cls: type[BaseException], attribute: str, value: int | str, kind: Kind, code: str) -> Self:
        """Take errors of this class whose ``attribute`` has this value for ``kind``; one attribute for each class."""
        other = self._attributes.get(cls, attribute)
        if other != attribute:
            raise ValueError(f"{cls.__name__} is told apart by {other!r} already, not by {attribute!r}")
        self._check(code, known=(cls, value) in self._values, what=f"{cls.__name__}.{attribute} == {value!r}")
        self._attributes[cls] = attribute
        self._values[cls, value] = (kind, code)
        return self

    def add_status(self, status: int, kind: Kind, code: str) -> Self:
        """Take answers with this HTTP status (400 to 599) for ``kind``."""
        _check_status(status)
        self._check(code, known=status in self._statuses, what=f"HTTP {status}")
        self._statuses[status] = (kind, code)
        return self

    def add_code(self, code: str, kind: Kind) -> Self:
        """Take failures that a bot or the chat gives this code for ``kind``."""
        self._check(code, known=code in self._codes, what=f"code {code!r}")
        self._codes[code] = kind
        return self

    def close(self) -> Self:
        """Take no more rules from now on: what an error means does not change while calls are under way."""
        self._closed = True
        return self

    def rules(self) -> Iterator[Rule]:
        """List every rule, for the reference page."""
        for (cls, value), (kind, code) in self._values.items():
            yield Rule(f"{cls.__name__}.{self._attributes[cls]} == {value!r}", kind, code)
        for cls, (kind, code) in self._types.items():
            yield Rule(cls.__name__, kind, code)
        for status, (kind, code) in self._statuses.items():
            yield Rule(f"HTTP {status}", kind, code)
        for code, kind in self._codes.items():
            yield Rule(f"code {code}", kind, code)

    def _check(self, code: str, *, known: bool, what: str) -> None:
        if self._closed:
            raise ValueError(f"{what}: this classifier is closed; add rules before it is used")
        if known:
            raise ValueError(f"{what}: there is a rule for it already")
        if not 1 <= len(code) <= CODE_CHARS_MAX:
            raise ValueError(f"{what}: a code has 1 to {CODE_CHARS_MAX} characters, got {code!r}")
        if len(self._types) + len(self._values) + len(self._statuses) + len(self._codes) >= self._rules_max:
            raise ValueError(f"{what}: there are {self._rules_max} rules already, which is the limit")

    # --- Answers ------------------------------------------------------------------------------------------------------
    def error(self, error: BaseException) -> Failure:
        """Say what an exception is; one that no rule knows is a bug, named after its class."""
        if not isinstance(error, BaseExceptionGroup):
            return self._one(error)
        # Errors of the same kind differ in when another try is welcome: the latest counts.
        return min(
            (self._one(leaf) for leaf in _leaves(error)),
            key=lambda failure: (_WORST_FIRST.index(failure.kind), -(failure.retry_after_s or 0.0)),
        )

    def status(self, status: int, *, retry_after_s: float | None = None) -> Failure:
        """Say what an answer with this HTTP status (400 to 599) is; one without a rule: 4xx permanent, 5xx a bug."""
        _check_status(status)
        default = (Kind.PERMANENT if status < 500 else Kind.BUG, f"http-{status}")  # noqa: PLR2004 - see docstring
        kind, code = self._statuses.get(status, default)
        return Failure(kind, code, _seconds(retry_after_s))

    def code(self, code: str, *, retry_after_s: float | None = None) -> Failure:
        """Say what a failure with this code is; a code that no rule knows is a bug."""
        return Failure(self._codes.get(code, Kind.BUG), code[:CODE_CHARS_MAX] or "bug", _seconds(retry_after_s))

    def _one(self, error: BaseException) -> Failure:
        kind, code = self._look_up(error)
        return Failure(kind, code, _seconds(getattr(error, "retry_after_s", None)))

    def _look_up(self, error: BaseException) -> tuple[Kind, str]:
        for cls in type(error).__mro__:
            attribute = self._attributes.get(cls)
            if attribute is not None:
                value = getattr(error, attribute, None)
                found = self._values.get((cls, value)) if isinstance(value, int | str) else None
                if found is not None:
                    return found
            found = self._types.get(cls)
            if found is not None:
                return found
            if issubclass(cls, HarnessError) and ("kind" in vars(cls) or "code" in vars(cls)):
                assert isinstance(error, HarnessError)
                return cls.kind, error.code[:CODE_CHARS_MAX]
        if not isinstance(error, Exception):
            return Kind.CANCELLED, "cancelled"  # KeyboardInterrupt, SystemExit, the end of a task or a generator.
        return Kind.BUG, type(error).__name__[:CODE_CHARS_MAX]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors of a group and of the groups in it, up to ``LEAVES_MAX``."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting and len(found) < LEAVES_MAX:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(reversed(error.exceptions))
        else:
            found.append(error)
    return found


def _seconds(value: object) -> float | None:
    """Believe a number from 0; what else an error may carry under this name says nothing."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    return None


def _check_status(status: int) -> None:
    if not _STATUS_MIN <= status <= _STATUS_MAX:
        raise ValueError(f"an HTTP status of a failure is from {_STATUS_MIN} to {_STATUS_MAX}, got {status}")
