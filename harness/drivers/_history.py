"""History: what a page must show of the past when it is loaded again.

In    the stored messages; the replies that the page showed before; the messages and replies that it shows now
Out   a line for the report; AssertionError names what is missing or reads otherwise
Rule  a reply that was read must be there again, word for word, whatever the store says
Why   people come back to look something up
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

HISTORY: Final = 50
"""Messages that the page shows after a reload without being asked for more."""
_NAMED_MAX: Final = 5
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9 :,-]*")
"""Text that looks the same in Markdown: one line, no marks."""


def history(
    stored: Sequence[Mapping[str, Any]], before: Mapping[str, str], asked: Sequence[str], texts: Mapping[str, str]
) -> str:
    """Compare the newest stored messages and the replies seen ``before`` with what is shown now."""
    wanted = [message["cid"] for message in stored if message["role"] == "user"]
    shown = [cid for cid in asked if cid in wanted]
    if shown != wanted:
        raise AssertionError(f"the page shows {len(shown)} of the {len(wanted)} stored messages, or in another order")
    replies = {message["cid"]: message["text"] for message in stored if message["role"] == "bot"}
    _refuse("replies are missing", [cid for cid in replies if cid not in texts])
    read = [cid for cid in before if cid in wanted]
    _refuse("replies that were read are not stored", [cid for cid in read if cid not in replies])
    _refuse("replies read otherwise than before", [cid for cid in read if _words(texts[cid]) != _words(before[cid])])
    empty = [cid for cid, text in replies.items() if text.strip() and not texts[cid].strip()]
    _refuse("replies without their text", empty)
    plain = {cid: text for cid, text in replies.items() if _PLAIN.fullmatch(text)}
    _refuse(
        "replies read otherwise than they are stored",
        [cid for cid, text in plain.items() if _words(texts[cid]) != _words(text)],
    )
    return f"{len(wanted)} messages, {len(replies)} replies"


def _words(text: str) -> list[str]:
    """Spaces between words are the page's to choose."""
    return text.split()


def _refuse(what: str, cids: Sequence[str]) -> None:
    if cids:
        more = len(cids) - _NAMED_MAX
        raise AssertionError(f"{what}: {', '.join(cids[:_NAMED_MAX])}" + (f" and {more} more" if more > 0 else ""))
