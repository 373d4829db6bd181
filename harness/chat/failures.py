"""Failures: what the ways in which a turn can end badly mean for trying again.

In    a classifier that is open
Out   the same one, knowing every code of the chat and the usual codes of bots
Rule  a turn is asked again only as long as nobody has read a word of its reply; its id is the key that makes twice once
Why   which failures are worth another try is a table that can be read, not a condition in the middle of a rule
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.core.classifier import Classifier
from harness.errors import Kind

KINDS: Final[Mapping[str, Kind]] = {
    # What the bot may have begun before it broke: the turn's id lets it find out.
    "bot-gone": Kind.AMBIGUOUS,
    "bot-garbled": Kind.AMBIGUOUS,
    "bot-silent": Kind.AMBIGUOUS,
    "reply-too-late": Kind.OVERLOADED,
    "reply-too-slow": Kind.PERMANENT,
    "reply-too-long": Kind.PERMANENT,
    "circuit-open": Kind.OVERLOADED,
    "busy": Kind.OVERLOADED,
    "no-bot": Kind.PERMANENT,
    "not-saved": Kind.PERMANENT,
    # What bots say.
    "overloaded": Kind.THROTTLED,
    "throttled": Kind.THROTTLED,
    "rate-limited": Kind.THROTTLED,
    "unavailable": Kind.TRANSIENT,
    "timeout": Kind.TRANSIENT,
    "bot-failed": Kind.PERMANENT,
}
"""Any other code is a bot's own, and taken for a bug: shown, not tried again."""


def add_codes(classifier: Classifier) -> Classifier:
    """Teach a classifier every code; ValueError if it is closed or knows one of them."""
    for code, kind in KINDS.items():
        classifier.add_code(code, kind)
    return classifier
