"""App: every path of port 8000 in one place, and what holds for all of them.

In    an ASGI request
Out   an answer with the security headers; 403 for a Host that is not ours
Rule  every answer carries the headers, errors included
Why   what is checked in one place cannot be forgotten in a new route
"""

from __future__ import annotations

from http import HTTPStatus
from time import monotonic
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.server import assets
from harness.server.http import Api
from harness.server.origin import host_of
from harness.server.refusals import error_response
from harness.server.websocket import CLOSE_POLICY, Endpoint
from harness.services.recovery import Recovery

HEADERS: Final = (
    (b"content-security-policy", assets.CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


def build(api: Api, endpoint: Endpoint, recovery: Recovery, *, names: frozenset[str] | None) -> ASGIApp:
    """Put the service together; ``names`` are the hosts it may be called by (None: any)."""
    routes = [
        Route("/", assets.index, methods=["GET"]),
        Route("/dashboard", assets.dashboard, methods=["GET"]),
        Route("/static/{path:path}", assets.static, methods=["GET"]),
        *api.routes(),
    ]

    async def bug(request: Request, error: Exception) -> Response:
        recovery.note(error, monotonic())
        return await _bug(request, error)

    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: bug})
    return Gate(app, endpoint, names)


class Gate:
    """Stands before every request."""

    def __init__(self, app: ASGIApp, endpoint: Endpoint, names: frozenset[str] | None) -> None:
        """Let through to ``app``, or to the WebSocket's endpoint, what asks for one of ``names``."""
        self._app, self._endpoint, self._names = app, endpoint, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._names is not None and host_of(scope["headers"]) not in self._names:
            await self._refuse(scope, receive, send)
        elif scope["type"] == "http":
            await self._app(scope, receive, _with_headers(send))
        elif scope["path"] == "/ws":
            # Past the framework: it would wrap the send of every frame to watch for errors that cannot come here.
            await self._endpoint(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": CLOSE_POLICY, "reason": "a foreign Host"})
            return
        said = "this service only answers to localhost: it is called by another name here"
        await error_response(HTTPStatus.FORBIDDEN, "foreign-host", said)(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return dressed


async def _http_error(request: Request, error: Any) -> Response:
    codes = {HTTPStatus.NOT_FOUND: "not-found", HTTPStatus.METHOD_NOT_ALLOWED: "bad-method"}
    said = {
        HTTPStatus.NOT_FOUND: f"there is no {request.url.path}; /api/openapi.json lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not possible on {request.url.path}",
    }
    response = error_response(
        error.status_code, codes.get(error.status_code, "error"), said.get(error.status_code, error.detail)
    )
    response.headers.update(error.headers or {})
    return response


async def _bug(request: Request, error: Exception) -> Response:
    """Answer; the traceback goes to stderr all the same."""
    said = f"{type(error).__name__} while answering {request.method} {request.url.path}: see the service's output"
    return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "bug", said)
