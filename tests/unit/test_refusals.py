"""Refusals: what a client gets for each error of the tree."""

from __future__ import annotations

import inspect
import json
from http import HTTPStatus

import pytest

from harness import errors
from harness.errors import HarnessError, Kind
from harness.server.refusals import CallError, FrameError, error_response, frame, refuse, status_of

TREE = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, HarnessError)]


@pytest.mark.parametrize(
    ("error", "status", "body", "retry_after"),
    [
        pytest.param(
            errors.BusyError("echo", retry_after_s=1.25), 503,
            {"code": "busy", "message": "'echo' is busy; retry in 1.2 s", "retry_after_s": 1.25}, "2",
            id="whole seconds are never too early",
        ),
        pytest.param(
            errors.ThrottledError("user", retry_after_s=0.0), 429,
            {"code": "throttled", "message": "'user' asks for fewer calls; retry in 0.0 s", "retry_after_s": 0.0}, "0",
            id="at once is a time too",
        ),
        pytest.param(
            errors.CircuitOpenError("echo", retry_after_s=30.0), 503,
            {"code": "circuit-open", "message": "'echo' has an open circuit; retry in 30.0 s", "retry_after_s": 30.0},
            "30", id="an open circuit",
        ),
        pytest.param(
            errors.StoreBusyError("locked"), 503,
            {"code": "store-busy", "message": "the store does not work: locked", "retry_after_s": 1.0}, "1",
            id="a busy store is back soon",
        ),
        pytest.param(
            errors.StoreError("full"), 503, {"code": "not-saved", "message": "the store does not work: full"}, None,
            id="a full one is not",
        ),
        pytest.param(
            errors.ScenarioError("seed: no"), 422, {"code": "bad-field", "message": "seed: no"}, None, id="a field"
        ),
        pytest.param(
            errors.UnavailableError("away", retry_after_s=float("nan")), 503,
            {"code": "unavailable", "message": "away"}, None, id="nonsense is not passed on",
        ),
        pytest.param(
            CallError(HTTPStatus.CONFLICT, "name-taken", "choose another"), 409,
            {"code": "name-taken", "message": "choose another"}, None, id="a call says its status itself",
        ),
    ],
)  # fmt: skip
def test_an_error_becomes_an_answer(
    error: HarnessError, status: int, body: dict[str, object], retry_after: str | None
) -> None:
    response = refuse(error)
    assert response.status_code == status
    assert json.loads(bytes(response.body)) == {"error": body}
    assert response.headers.get("retry-after") == retry_after
    assert json.loads(frame(error)) == {"type": "error", **body}


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_every_error_of_the_tree_has_an_answer_that_fits_its_kind(cls: type[HarnessError]) -> None:
    status = status_of(cls.__new__(cls))
    match cls.kind:
        case Kind.TRANSIENT | Kind.THROTTLED | Kind.OVERLOADED | Kind.AMBIGUOUS:
            assert status in (429, 503, 504), "come back"
        case Kind.BUG:
            assert status == 500
        case _:
            assert 400 <= status <= 503, "do not come back with the same"


def test_a_frame_error_carries_the_code_of_the_protocol() -> None:
    assert json.loads(frame(FrameError("too-big", "send less"))) == {
        "type": "error", "code": "too-big", "message": "send less"
    }  # fmt: skip
    assert status_of(FrameError("too-big", "send less")) == 400


def test_an_answer_without_a_wait_has_no_header() -> None:
    assert "retry-after" not in error_response(404, "not-found", "x").headers
