"""Conversation: what one client knows of its session, without any socket.

In    the frames that the service sends, one JSON text each
Out   the frames to send (hello, say, ack), and for each frame read at most one fact for the journal
Rule  nothing here reads a clock or a socket; a frame that arrives twice counts once, a gap is never bridged silently
Why   the protocol of docs/reference/websocket.md, resume included, can be tested with a table of frames
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from harness.core.events import (
    ClientBroke,
    GotAccepted,
    GotFailure,
    GotFirstToken,
    GotRefusal,
    GotReply,
    RunFact,
)
from harness.core.texts import crc_of

VERSION: Final = 1
ACK_EVERY: Final = 32
"""Frames after which the service wants to hear what has arrived."""

_LOST: Final = frozenset({"failed", "interrupted", "cancelled"})


@dataclass(slots=True)
class _Turn:
    cid: str
    chars: int = 0
    intact: bool = True
    pieces: int = 0
    begun: bool = False
    crc: int = 0
    """Of the text so far: what arrived, whatever the service says of it."""


class Conversation:
    """One session, one message at a time."""

    def __init__(self, session: str) -> None:
        """Know nothing of the session yet."""
        self.session = session
        self.welcomed = False
        """Whether the service has answered the latest hello."""
        self.open: str | None = None
        """The cid of the message that has no outcome yet."""
        self._text = self._rejected = ""
        self._accepted = False
        self._epoch: str | None = None
        self._seq = self._acked = 0
        self._turns: dict[str, _Turn] = {}

    # --- What to send -----------------------------------------------------------------------------------------------
    def hello(self) -> bytes:
        """Begin, or begin again after a lost connection."""
        self.welcomed = False
        return orjson.dumps(
            {"type": "hello", "v": VERSION, "session": self.session, "epoch": self._epoch, "last_seq": self._seq}
        )

    def say(self, cid: str, text: str) -> bytes:
        """Send a message; it stays open until ``read`` has given its outcome."""
        self.open, self._text, self._accepted = cid, text, False
        return orjson.dumps({"type": "say", "cid": cid, "text": text})

    def repeat(self) -> bytes | None:
        """Give the open message again, if the service may not have it: the same cid is never accepted twice."""
        if self.open is None or self._accepted:
            return None
        return orjson.dumps({"type": "say", "cid": self.open, "text": self._text})

    def give_up(self) -> None:
        """Stop waiting for the open message; its outcome is still noticed if it comes."""
        self.open = None

    def ack(self, *, now: bool = False) -> bytes | None:
        """Say what has arrived, if it is time: every 32 frames, and (``now``) after the last one."""
        if self._seq == self._acked or not (now or self._seq - self._acked >= ACK_EVERY):
            return None
        self._acked = self._seq
        return orjson.dumps({"type": "ack", "seq": self._seq})

    # --- What was read ----------------------------------------------------------------------------------------------
    def read(self, raw: bytes | str) -> RunFact | None:
        """Take one frame; ``ClientBroke`` means that only a new connection helps."""
        try:
            frame = orjson.loads(raw)
            kind = frame["type"]
            if "seq" in frame:
                return self._logged(kind, frame)
            match kind:
                case "rejected":
                    self._settle(frame["cid"])
                    self._rejected = frame["cid"]
                    return GotRefusal(frame["cid"], frame["code"], frame.get("retry_after_s"))
                case "welcome":
                    return self._welcome(frame)
                case "accepted":  # The answer to a repeated say; the first one stood in the log.
                    return self._accept(frame["cid"])
                case "error":
                    return ClientBroke(self.session, f"error frame {frame['code']}: {frame['message']}")
                case _:
                    return None  # bot-status, pong, and whatever a later version adds.
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return ClientBroke(self.session, f"not understood ({error!r}): {raw[:80]!r}")

    def _logged(self, kind: str, frame: dict[str, Any]) -> RunFact | None:
        seq = frame["seq"]
        if seq <= self._seq:
            return None  # Seen before the connection was lost.
        if seq != self._seq + 1:
            return ClientBroke(self.session, f"gap: frame {seq} after {self._seq}")
        self._seq = seq
        match kind:
            case "delta":
                return self._delta(frame)
            case "accepted":
                return self._accept(frame["cid"])
            case "begin":
                self._turns[frame["turn"]] = _Turn(frame["cid"])
            case "end":
                turn = self._turns.pop(frame["turn"], None) or _Turn(frame["cid"], intact=False)
                self._settle(turn.cid)
                if frame["state"] != "done":
                    return GotFailure(turn.cid, frame["state"])
                intact = turn.intact and turn.chars == frame["chars"]
                return GotReply(turn.cid, turn.chars, intact, turn.pieces, turn.crc)
            case "failed":
                self._turns.pop(frame["turn"], None)
                self._settle(frame["cid"])
                if frame["cid"] == self._rejected:
                    return None  # Said to this client before, now to every tab of the session.
                return GotFailure(frame["cid"], frame["code"])
        return None

    def _accept(self, cid: str) -> RunFact | None:
        if cid == self.open:
            if self._accepted:
                return None
            self._accepted = True
        return GotAccepted(cid)

    def _delta(self, frame: dict[str, Any]) -> RunFact | None:
        turn = self._turns.get(frame["turn"])
        if turn is None:
            return None  # It never began; its end will be called not intact.
        turn.intact = turn.intact and frame["at"] == turn.chars
        turn.chars += len(frame["text"])
        turn.crc = crc_of(frame["text"], turn.crc)
        turn.pieces += 1
        if turn.begun:
            return None
        turn.begun = True
        return GotFirstToken(turn.cid)

    def _welcome(self, frame: dict[str, Any]) -> RunFact | None:
        self.welcomed = True
        self._epoch = frame["epoch"]
        if frame["recovered"]:
            return None  # The missed frames follow.
        self._seq = self._acked = frame["head_seq"]
        self._turns.clear()
        self._accepted = False
        return self._stored(frame["messages"] or [])

    def _stored(self, messages: list[dict[str, Any]]) -> RunFact | None:
        """Look up the open message in what the service kept: the log of its frames is gone."""
        for message in messages:
            if self.open is None or message["cid"] != self.open:
                continue
            cid, state, chars, crc = self.open, message["state"], len(message["text"]), crc_of(message["text"])
            if state in _LOST:
                self._settle(cid)
                return GotFailure(cid, state)
            if message["role"] == "bot" and state == "done":
                self._settle(cid)
                return GotReply(cid, chars, crc=crc)
            if message["role"] == "bot":
                self._accepted = True
                self._turns[message["mid"]] = _Turn(cid, chars, begun=chars > 0, crc=crc)
        return None

    def _settle(self, cid: str) -> None:
        if cid == self.open:
            self.open = None
