"""Session log: the numbered frames of one session, kept for clients that come back.

In    frames in order; what a client has acknowledged
Out   the next number; the frames that a client has missed, or None if they are gone
Rule  numbers are gap-free from 1; memory is bounded, the oldest frames go first
Why   a socket may break at any token: whoever comes back reads on where it stopped, nothing twice

The shape is that of offset and epoch in message logs: compare numbers, never search for "the last frame you saw".
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from harness.core.events import Accepted, Delta, LoggedFrame


class SessionLog:
    """A bounded run of frames, addressed by number."""

    __slots__ = ("_chars", "_chars_max", "_frames", "_frames_max", "head")

    def __init__(self, frames_max: int, chars_max: int) -> None:
        """Start empty; ``head`` is the number of the newest frame, 0 before the first."""
        self._frames: deque[LoggedFrame] = deque()
        self._frames_max, self._chars_max = frames_max, chars_max
        self._chars = 0
        self.head = 0

    def append(self, frame: LoggedFrame) -> int:
        """Keep a frame and give it its number."""
        self._frames.append(frame)
        self.head += 1
        if type(frame) is Delta or type(frame) is Accepted:
            self._chars += len(frame.text)
        while self._chars > self._chars_max or len(self._frames) > self._frames_max:
            self._chars -= _chars(self._frames.popleft())
        return self.head

    def blank(self, turn: str) -> None:
        """Put an empty piece in the place of a turn's acceptance: its number is spent, but it never came about."""
        for place in range(len(self._frames) - 1, -1, -1):
            frame = self._frames[place]
            if type(frame) is Accepted and frame.turn == turn:
                self._chars -= _chars(frame)
                self._frames[place] = Delta(turn, 0, "")
                return

    def since(self, seq: int) -> tuple[tuple[int, LoggedFrame], ...] | None:
        """Give what follows ``seq``; None if that is no longer (or was never) known."""
        oldest = self.head - len(self._frames)
        if not oldest <= seq <= self.head:
            return None
        return tuple(enumerate(islice(self._frames, seq - oldest, None), start=seq + 1))

    def trim(self, seq: int) -> None:
        """Forget everything up to and including ``seq``: every frame of it has arrived."""
        for _ in range(min(seq, self.head) - (self.head - len(self._frames))):
            self._chars -= _chars(self._frames.popleft())


def _chars(frame: LoggedFrame) -> int:
    """Count what makes a frame large; the rest is a few dozen bytes."""
    return len(frame.text) if type(frame) is Delta or type(frame) is Accepted else 0
