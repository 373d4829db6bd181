"""Classifier: the most specific rule wins, and what nobody knows is a bug."""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelledError

import pytest

from harness import errors
from harness.core.classifier import CODE_CHARS_MAX, LEAVES_MAX, Classifier, Failure
from harness.core.failures import CODES, ERRNOS, STATUSES, TYPES, standard
from harness.errors import AmbiguousError, BusyError, CircuitOpenError, HarnessError, Kind, StoreError, WireError

KNOWN = standard().close()


class OddlyBusyError(ConnectionError):
    """Carries something that is no number."""

    retry_after_s: object = None


def odd(value: object) -> OddlyBusyError:
    error = OddlyBusyError()
    error.retry_after_s = value
    return error


class FrameLikeError(WireError):
    """An error that says its code itself."""

    code = "frame-like"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        pytest.param(TimeoutError(), Kind.AMBIGUOUS, "timeout", id="a timeout may have been carried out"),
        pytest.param(ConnectionRefusedError(), Kind.TRANSIENT, "connection-refused", id="the class before its base"),
        pytest.param(
            ConnectionResetError(), Kind.AMBIGUOUS, "connection-lost", id="a base where the class has no rule"
        ),
        pytest.param(OSError(errno.ENOSPC, "full"), Kind.PERMANENT, "disk-full", id="a value before the class"),
        pytest.param(OSError(errno.EMFILE, "x"), Kind.OVERLOADED, "no-descriptors", id="another value"),
        pytest.param(OSError("no number"), Kind.PERMANENT, "os-error", id="no value at all"),
        pytest.param(OSError([1], "x"), Kind.PERMANENT, "os-error", id="a value that is no number"),
        pytest.param(ZeroDivisionError(), Kind.BUG, "ZeroDivisionError", id="nobody has thought of it"),
        pytest.param(KeyboardInterrupt(), Kind.CANCELLED, "cancelled", id="Ctrl-C"),
        pytest.param(asyncio.CancelledError(), Kind.CANCELLED, "cancelled", id="a cancelled task"),
        pytest.param(GeneratorExit(), Kind.CANCELLED, "cancelled", id="a closed generator"),
        pytest.param(StoreError("x"), Kind.PERMANENT, "not-saved", id="our own say it themselves"),
        pytest.param(AmbiguousError("x"), Kind.AMBIGUOUS, "ambiguous", id="perhaps done"),
        pytest.param(FrameLikeError("x"), Kind.PERMANENT, "frame-like", id="a code of its own"),
        pytest.param(HarnessError("x"), Kind.PERMANENT, "failed", id="the root"),
    ],
)
def test_an_error_is_recognised(error: BaseException, kind: Kind, code: str) -> None:
    assert KNOWN.error(error) == Failure(kind, code)


def test_a_rule_for_a_base_does_not_outrank_what_a_class_says_of_itself() -> None:
    classifier = Classifier().add_type(errors.TransientError, Kind.BUG, "odd").add_type(BusyError, Kind.BUG, "very-odd")
    assert classifier.error(CircuitOpenError("x", retry_after_s=2)).kind is Kind.OVERLOADED
    assert classifier.error(BusyError("x", retry_after_s=2)).code == "very-odd"
    assert classifier.error(errors.TransientError()).code == "odd"


@pytest.mark.parametrize("cls", [asyncio.CancelledError, FutureCancelledError])
def test_a_cancellation_of_threads_can_be_told(cls: type[BaseException]) -> None:
    classifier = standard().add_type(FutureCancelledError, Kind.CANCELLED, "cancelled").close()
    assert classifier.error(cls()).kind is Kind.CANCELLED


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(3, 3.0), (0.5, 0.5), (0, 0.0), (-1, None), (math.nan, None), (math.inf, None), ("3", None), (True, None)],
)
def test_only_a_number_of_seconds_is_believed(value: object, seconds: float | None) -> None:
    assert KNOWN.error(odd(value)).retry_after_s == seconds
    assert KNOWN.error(BusyError("x", retry_after_s=4)).retry_after_s == 4.0


def test_the_worst_error_of_a_group_speaks_for_all() -> None:
    group = ExceptionGroup(
        "several", [ConnectionRefusedError(), ExceptionGroup("more", [TimeoutError(), OSError(errno.ENOSPC, "full")])]
    )
    assert KNOWN.error(group).code == "disk-full"
    both = ExceptionGroup("busy", [BusyError("a", retry_after_s=1), BusyError("b", retry_after_s=9)])
    assert KNOWN.error(both).retry_after_s == 9.0
    mixed = BaseExceptionGroup("end", [ZeroDivisionError(), KeyboardInterrupt()])
    assert KNOWN.error(mixed).kind is Kind.CANCELLED


def test_a_huge_group_is_not_read_to_its_end() -> None:
    group = ExceptionGroup("many", [ConnectionRefusedError()] * LEAVES_MAX + [ZeroDivisionError()])
    assert KNOWN.error(group).kind is Kind.TRANSIENT


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (429, Kind.THROTTLED, "too-many-requests"),
        (502, Kind.AMBIGUOUS, "bad-gateway"),
        (404, Kind.PERMANENT, "http-404"),
        (599, Kind.BUG, "http-599"),
    ],
)
def test_a_status_is_recognised(status: int, kind: Kind, code: str) -> None:
    assert KNOWN.status(status, retry_after_s=2.0) == Failure(kind, code, 2.0)


def test_a_code_is_recognised_and_an_unknown_one_is_a_bug() -> None:
    assert KNOWN.code("busy", retry_after_s=1.5) == Failure(Kind.OVERLOADED, "busy", 1.5)
    assert KNOWN.code("sulking") == Failure(Kind.BUG, "sulking")
    assert KNOWN.code("x" * 1_000).code == "x" * CODE_CHARS_MAX
    assert KNOWN.code("") == Failure(Kind.BUG, "bug")


def test_the_table_of_the_usual_is_all_in() -> None:
    assert len(list(KNOWN.rules())) == len(TYPES) + len({number for number, _, _ in ERRNOS}) + len(STATUSES) + len(
        CODES
    )
    assert {rule.what for rule in KNOWN.rules()} >= {"OSError", "HTTP 429", "code busy", "OSError.errno == 28"}


def test_a_closed_classifier_takes_no_rules() -> None:
    with pytest.raises(ValueError, match="KeyError: this classifier is closed; add rules before it is used"):
        KNOWN.add_type(KeyError, Kind.BUG, "key")


def test_a_wrong_rule_is_refused_and_changes_nothing() -> None:
    classifier = Classifier(rules_max=2).add_value(OSError, "errno", 5, Kind.BUG, "five")
    before = list(classifier.rules())
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: classifier.add_value(OSError, "errno", 5, Kind.BUG, "five"), "OSError.errno == 5: there is a rule"),
        (
            lambda: classifier.add_value(OSError, "winerror", 5, Kind.BUG, "x"),
            "OSError is told apart by 'errno' already",
        ),
        (lambda: classifier.add_type(KeyError, Kind.BUG, ""), "a code has 1 to 40 characters, got ''"),
        (lambda: classifier.add_status(399, Kind.BUG, "x"), "from 400 to 599, got 399"),
        (lambda: classifier.add_code("x" * 41, Kind.BUG), "a code has 1 to 40 characters"),
    ]
    for add, said in wrong:
        with pytest.raises(ValueError, match=said):
            add()
    assert list(classifier.rules()) == before
    classifier.add_code("fits", Kind.BUG)
    with pytest.raises(ValueError, match="there are 2 rules already, which is the limit"):
        classifier.add_code("full", Kind.BUG)
    with pytest.raises(ValueError, match="rules_max must be at least 1, got 0"):
        Classifier(rules_max=0)
    with pytest.raises(ValueError, match="from 400 to 599, got 200"):
        KNOWN.status(200)
