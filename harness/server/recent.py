"""Recent: what somebody who opens a session gets to see of it.

In    the store; what has arrived of replies that are streaming now
Out   the newest messages, oldest first, bounded in number and length
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
"""About this many characters in all: many programs read no WebSocket message above 1 MiB."""


def recent(store: Store, welcome: Welcome) -> tuple[list[Message], bool]:
    """Give the newest messages of the session, and whether there are older ones; StoreError if they cannot be read."""
    messages = store.messages(welcome.session, MESSAGES_MAX + 1)
    older = len(messages) > MESSAGES_MAX
    messages = messages[-MESSAGES_MAX:]
    place = {message.mid: number for number, message in enumerate(messages)}
    for turn, text in welcome.partials.items():
        number = place.get(turn)
        if number is not None:
            saved = messages[number]
            messages[number] = Message(turn, saved.cid, "bot", text, "streaming", "", saved.at)
            continue
        asked = store.message(welcome.session, turn + QUESTION)
        messages.append(Message(turn, asked.cid if asked else "", "bot", text, "streaming", "", time()))
    fitting = _fitting(messages)
    return fitting, older or len(fitting) < len(messages)


def _fitting(messages: list[Message]) -> list[Message]:
    """Keep as many of the newest as fit; the last one always does."""
    chars = 0
    for number in range(len(messages) - 1, -1, -1):
        chars += len(messages[number].text)
        if chars > CHARS_MAX:
            return messages[min(number + 1, len(messages) - 1) :]
    return messages
