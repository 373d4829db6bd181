"""Failures: what is known of the usual errors, statuses and codes, as one table.

In    nothing
Out   a Classifier that knows the standard library's errors, HTTP and the codes of chat and bots; still open
Rule  only what is sure is called transient; where a call may have been carried out, it is ambiguous
Why   a wrong "try again" does something twice; a wrong "give up" only asks a person to do it
"""

from __future__ import annotations

import errno
from typing import Final

from harness.core.classifier import Classifier
from harness.errors import Kind

TYPES: Final[tuple[tuple[type[BaseException], Kind, str], ...]] = (
    (TimeoutError, Kind.AMBIGUOUS, "timeout"),  # Of a call that was sent: nobody knows how far it came.
    (ConnectionRefusedError, Kind.TRANSIENT, "connection-refused"),  # Nothing was sent.
    (ConnectionError, Kind.AMBIGUOUS, "connection-lost"),  # Something may have been sent, and carried out.
    (InterruptedError, Kind.TRANSIENT, "interrupted"),
    (BlockingIOError, Kind.TRANSIENT, "would-block"),
    (FileNotFoundError, Kind.PERMANENT, "no-file"),
    (PermissionError, Kind.PERMANENT, "no-permission"),
    (OSError, Kind.PERMANENT, "os-error"),
    (UnicodeError, Kind.PERMANENT, "not-text"),
)
ERRNOS: Final[tuple[tuple[int, Kind, str], ...]] = (
    (errno.EAGAIN, Kind.TRANSIENT, "would-block"),
    (errno.ENOBUFS, Kind.TRANSIENT, "no-buffers"),
    (errno.ENOMEM, Kind.TRANSIENT, "no-memory"),
    (errno.EMFILE, Kind.OVERLOADED, "no-descriptors"),
    (errno.ENFILE, Kind.OVERLOADED, "no-descriptors"),
    (errno.EBUSY, Kind.TRANSIENT, "resource-busy"),
    (errno.ETXTBSY, Kind.TRANSIENT, "resource-busy"),
    (errno.EHOSTUNREACH, Kind.TRANSIENT, "unreachable"),
    (errno.ENETUNREACH, Kind.TRANSIENT, "unreachable"),
    (errno.ENOSPC, Kind.PERMANENT, "disk-full"),
    (errno.EDQUOT, Kind.PERMANENT, "disk-full"),
    (errno.EROFS, Kind.PERMANENT, "read-only"),
    (errno.EIO, Kind.PERMANENT, "disk-broken"),
)
STATUSES: Final[tuple[tuple[int, Kind, str], ...]] = (
    (408, Kind.TRANSIENT, "request-timeout"),
    (425, Kind.TRANSIENT, "too-early"),
    (429, Kind.THROTTLED, "too-many-requests"),
    (500, Kind.AMBIGUOUS, "server-error"),
    (501, Kind.PERMANENT, "not-implemented"),
    (502, Kind.AMBIGUOUS, "bad-gateway"),
    (503, Kind.THROTTLED, "unavailable"),
    (504, Kind.AMBIGUOUS, "gateway-timeout"),
    (505, Kind.PERMANENT, "http-version"),
    (507, Kind.PERMANENT, "disk-full"),
)
CODES: Final[tuple[tuple[str, Kind], ...]] = (
    # What the chat says about a message.
    ("circuit-open", Kind.OVERLOADED),
    ("busy", Kind.OVERLOADED),
    ("over-capacity", Kind.OVERLOADED),
    ("maintenance", Kind.OVERLOADED),
    ("bot-gone", Kind.AMBIGUOUS),
    ("bot-silent", Kind.AMBIGUOUS),
    ("bot-garbled", Kind.AMBIGUOUS),
    ("reply-too-late", Kind.OVERLOADED),
    ("reply-too-slow", Kind.AMBIGUOUS),
    ("reply-too-long", Kind.PERMANENT),
    ("too-long", Kind.PERMANENT),
    ("empty", Kind.PERMANENT),
    ("no-bot", Kind.PERMANENT),
    ("not-saved", Kind.PERMANENT),
    ("cancelled", Kind.CANCELLED),
    # What a bot may say itself; any other word of a bot is unknown, and shows as a bug.
    ("overloaded", Kind.THROTTLED),
    ("throttled", Kind.THROTTLED),
    ("rate-limited", Kind.THROTTLED),
    ("unavailable", Kind.TRANSIENT),
    ("timeout", Kind.AMBIGUOUS),
    ("bad-request", Kind.PERMANENT),
    ("unsupported", Kind.PERMANENT),
    ("refused", Kind.PERMANENT),
    ("bot-failed", Kind.PERMANENT),
)


def standard() -> Classifier:
    """Make a classifier with all of the above; add what you know, then ``close`` it."""
    classifier = Classifier()
    for cls, kind, code in TYPES:
        classifier.add_type(cls, kind, code)
    for number in dict.fromkeys(number for number, _, _ in ERRNOS):  # Some numbers have two names.
        kind, code = next((kind, code) for known, kind, code in ERRNOS if known == number)
        classifier.add_value(OSError, "errno", number, kind, code)
    for status, kind, code in STATUSES:
        classifier.add_status(status, kind, code)
    for code, kind in CODES:
        classifier.add_code(code, kind)
    return classifier
