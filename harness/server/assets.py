"""Assets: the page's files and the document that describes the HTTP interface.

In    a path below /static/
Out   the file with its type and its ETag; 304 if the browser has it already
Rule  only files below harness/server/page with a known ending; never a path that leads out of it
Why   the page is served as it lies there: no build step, and an edited file shows at the next reload
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_HERE: Final = Path(__file__).parent
PAGE: Final = _HERE / "page"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".woff2": "font/woff2",
    ".LICENSE": "text/plain; charset=utf-8",
}
# Scripts of our own files only, nothing inline, no HTML from strings: what a bot writes can never run.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


async def index(request: Request) -> Response:
    """Give the page."""
    return _serve(request, PAGE / "index.html")


async def dashboard(request: Request) -> Response:
    """Give the page with the charts and alerts."""
    return _serve(request, PAGE / "dashboard.html")


async def static(request: Request) -> Response:
    """Give one of its files."""
    name = request.path_params["path"]
    path = PAGE / name
    if "\0" in name or not path.resolve().is_relative_to(PAGE.resolve()):
        return _missing(request)
    return _serve(request, path)


@cache
def openapi() -> bytes:
    """Give the OpenAPI document."""
    return (_HERE / "openapi.json").read_bytes()


def _serve(request: Request, path: Path) -> Response:
    media_type = TYPES.get(path.suffix)
    try:
        content = path.read_bytes() if media_type else None
    except OSError:  # Not there, or a folder.
        content = None
    if content is None or media_type is None:
        return _missing(request)
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "no-cache", "content-type": media_type}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers=headers)


def _missing(request: Request) -> Response:
    return Response(f"there is no {request.url.path}\n", HTTPStatus.NOT_FOUND, media_type="text/plain")
