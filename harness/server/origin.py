"""Origin: who may talk to a service that listens on this machine only.

In    the headers of a request, as ASGI gives them; the names under which the service may be called
Out   whether the request may pass
Rule  a browser always says the page's origin on a WebSocket and on a POST; programs say none and may pass
Why   any web page in the user's browser can reach 127.0.0.1; it must neither read nor write here. A page can also let
      its own name point to 127.0.0.1 (DNS rebinding): then only the Host header gives it away
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

Headers = Iterable[tuple[bytes, bytes]]
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def same_origin(headers: Headers) -> bool:
    """Whether the Origin, if there is one, is the host that was asked."""
    values = dict(headers)
    origin = values.get(b"origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin.decode("latin-1"))
    except ValueError:
        return False  # No address at all: "http://[".
    return (
        parts.scheme in ("http", "https") and parts.netloc.lower() == values.get(b"host", b"").decode("latin-1").lower()
    )


def allowed_names(host: str) -> frozenset[str] | None:
    """Under which names a service that is bound to ``host`` may be called; None: any."""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return LOOPBACK_NAMES | {host.lower()} if loopback else None


def host_of(headers: Headers) -> str:
    """Give the name in the Host header, without port and brackets."""
    host = dict(headers).get(b"host", b"").decode("latin-1").lower()
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
