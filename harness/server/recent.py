"""Recent: what somebody who opens a session gets to see of it.

In    the store; what has arrived of replies that are streaming now
Out   the newest messages, oldest first, bounded in number and length; replies that are streaming are always there, at
      the end if they are older than the rest
Rule  the text of a streaming reply is exactly what the log has said up to the welcome's ``head_seq``
Why   the frames that follow go on at that character: nothing is missing in between and nothing comes twice
"""

from __future__ import annotations

from time import time
from typing import Final

from harness.adapters.sqlite import Message, Store
from harness.chat.engine import QUESTION
from harness.core.events import Welcome

MESSAGES_MAX: Final = 50
CHARS_MAX: Final = 200_000
"""About this many characters beside replies that are streaming: many programs read no WebSocket message above 1 MiB."""


def recent(store: Store, welcome: Welcome) -> tuple[list[Message], bool]:
    """Give the newest messages of the session, and whether there are older ones; StoreError if they cannot be read."""
    messages, older = store.messages(welcome.session, MESSAGES_MAX, chars_max=CHARS_MAX)
    place = {message.mid: number for number, message in enumerate(messages)}
    for turn, text in welcome.partials.items():
        # However long, and however old: the next piece of it would have nowhere to go.
        number = place.get(turn)
        if number is not None:
            messages[number] = _streaming(turn, text, messages[number].cid, messages[number].at)
            continue
        asked = store.message(welcome.session, turn + QUESTION)
        messages.append(_streaming(turn, text, asked.cid if asked else "", time()))
    return messages, older


def _streaming(turn: str, text: str, cid: str, at: float) -> Message:
    return Message(turn, cid, "bot", text, "streaming", "", at)
