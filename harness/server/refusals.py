"""Refusals: the one place where an error becomes what a client gets.

In    an error of the tree, or any other
Out   an HTTP status with a JSON body {"error": {code, message, retry_after_s}} and Retry-After; a WebSocket frame
Rule  the most specific class decides; what no class here stands for is a bug, and its text stays inside
Why   a client can only wait as long as it is told to, and a machine can only act on a code
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.responses import Response

from harness import errors
from harness.errors import HarnessError

# Along the classes of an error the first that stands here decides.
STATUSES: Final[Mapping[type[HarnessError], HTTPStatus]] = {
    errors.TimedOutError: HTTPStatus.GATEWAY_TIMEOUT,
    errors.ThrottledError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TransientError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.AmbiguousError: HTTPStatus.GATEWAY_TIMEOUT,
    errors.WireError: HTTPStatus.BAD_REQUEST,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.UnsupportedError: HTTPStatus.NOT_IMPLEMENTED,
    errors.StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PermanentError: HTTPStatus.UNPROCESSABLE_ENTITY,
    HarnessError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class CallError(errors.PermanentError):
    """A call that cannot be answered as wished."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        """Keep what the client gets."""
        self.status, self.code = status, code
        super().__init__(message)


class ReducedError(errors.UnavailableError):
    """The service does without something for now: nothing is wrong with the call, and later it may be answered."""

    code = "degraded"


class FrameError(errors.WireError):
    """A frame that is not understood; ``code`` is one of the protocol's."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the code for the client."""
        self.code = code
        super().__init__(message)


def status_of(error: HarnessError) -> HTTPStatus:
    """Give the HTTP status that stands for an error."""
    if isinstance(error, CallError):
        return error.status
    return next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)


def refuse(error: HarnessError) -> Response:
    """Answer a call with an error."""
    return error_response(status_of(error), error.code, _words(error), retry_after_s=_seconds(error))


def error_response(status: int, code: str, message: str, *, retry_after_s: float | None = None) -> Response:
    """Give an error in the shape that every error has; ``Retry-After`` is in whole seconds, never too early."""
    headers = {} if retry_after_s is None else {"retry-after": str(math.ceil(retry_after_s))}
    body = orjson.dumps({"error": _body(code, message, retry_after_s)})
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def frame(error: HarnessError) -> str:
    """Give an error as a frame of the WebSocket."""
    return orjson.dumps({"type": "error", **_body(error.code, _words(error), _seconds(error))}).decode()


def _body(code: str, message: str, retry_after_s: float | None) -> dict[str, Any]:
    waits = {} if retry_after_s is None else {"retry_after_s": round(retry_after_s, 3)}
    return {"code": code, "message": message, **waits}


def _words(error: HarnessError) -> str:
    if isinstance(error, errors.StoreError):
        return f"the store does not work: {error}"
    return str(error)


def _seconds(error: HarnessError) -> float | None:
    seconds = getattr(error, "retry_after_s", None)
    return None if seconds is None or not 0 <= seconds < math.inf else float(seconds)
