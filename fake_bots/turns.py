"""Turns: every reply that one bot is giving at the moment, and what it says next.

In    questions off the bot wire, with the time they came
Out   the lines to write now, the time to look again, or the exit code of a bot that died
Rule  time is an argument; a turn that waits or hangs holds up no other; every list here has a bound
Why   what decides about a fake bot is tested without a process, and the protocol around it only moves bytes

    hear(Ask) -> ready -> Say, Raw, Keep ... -> end of the iterator: Done
                   ^ '-> Wait: due, in the order of time
                   '---------'        Hang: open, for ever        Fail: GaveUp        Die: the end of the bot
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, assert_never

from fake_bots import Behaviour, Die, Fail, Hang, Heard, Keep, Raw, Say, Step, Wait, dice
from harness.core import wire

TURNS_MAX: Final = 4_096
"""Turns that may be open at once; more are refused as "overloaded"."""
SLICE_STEPS: Final = 64
"""Steps of one turn before the next turn has its go."""
BATCH_BYTES: Final = 65_536
"""After so many bytes ``speak`` returns, so that they are written before more are made."""
PIECE_CHARS_MAX: Final = 65_536
"""A longer piece is cut, so that its line fits into the wire's limit however it is escaped (12 bytes a character)."""
CRUMB_BYTES: Final = 64
"""Size of the objects that a leak consists of."""
_HEAD_BYTES: Final = 33
"""What CPython adds to each of them."""


@dataclass(slots=True, eq=False)
class _Turn:
    name: str
    steps: Iterator[Step]
    at: float
    """When its next step is due: pauses add up from here, so being late once does not add up."""


class Turns:
    """The open turns of one bot."""

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        """Answer as ``behaviour`` does, with dice thrown from ``seed``."""
        self.died: int | None = None
        """The exit code, once the behaviour has ended the process."""
        self._behaviour, self._seed = behaviour, seed
        self._heard = 0
        self._serial = 0
        self._open: dict[str, _Turn] = {}
        self._ready: deque[_Turn] = deque()
        self._due: list[tuple[float, int, _Turn]] = []
        self._out = bytearray()
        self._kept: list[list[bytes]] = []

    def __len__(self) -> int:
        """Count the open turns."""
        return len(self._open)

    def hear(self, question: wire.Question, now: float) -> str:
        """Take a question; give back what is wrong with it, or nothing."""
        match question:
            case wire.Ask(name, session, text):
                return self._ask(name, session, text, now)
            case wire.Cancel(name):
                self._cancel(name)
                return ""  # A turn that is not open any more has just ended: both sides were right.
            case _:
                assert_never(question)

    def speak(self, now: float) -> bytes:
        """Play every turn that is due, up to one batch of lines."""
        while self._due and self._due[0][0] <= now:
            self._ready.append(heappop(self._due)[2])
        while self._ready and len(self._out) < BATCH_BYTES and self.died is None:
            turn = self._ready.popleft()
            if self._play(turn, now):
                self._ready.append(turn)
        lines = bytes(self._out)
        self._out.clear()
        return lines

    def wake_s(self, now: float) -> float | None:
        """Seconds until there is more to say; None if only a question changes anything."""
        if self._ready:
            return 0.0
        return max(0.0, self._due[0][0] - now) if self._due else None

    def _ask(self, name: str, session: str, text: str, now: float) -> str:
        if name in self._open:
            return f"turn {name!r} was asked before and is not over; the first one goes on"
        if len(self._open) >= TURNS_MAX:
            self._out += wire.write(wire.GaveUp(name, "overloaded", f"{TURNS_MAX} turns are open at once already"))
            return ""
        self._heard += 1
        heard = Heard(text, session, name, self._heard)
        turn = _Turn(name, self._behaviour.hear(heard, dice(self._seed, heard)), now)
        self._open[name] = turn
        self._ready.append(turn)
        return ""

    def _cancel(self, name: str) -> None:
        turn = self._open.pop(name, None)
        if turn is None:
            return
        if turn in self._ready:
            self._ready.remove(turn)
        self._due = [entry for entry in self._due if entry[2] is not turn]
        heapify(self._due)

    def _play(self, turn: _Turn, now: float) -> bool:
        """Play one slice of a turn; say whether it is ready for more."""
        for _ in range(SLICE_STEPS):
            step = next(turn.steps, None)
            match step:
                case Say(text):
                    for start in range(0, len(text), PIECE_CHARS_MAX):
                        self._out += wire.write(wire.Piece(turn.name, text[start : start + PIECE_CHARS_MAX]))
                case None:
                    return self._close(wire.Done(turn.name))
                case Wait(seconds):
                    turn.at += seconds
                    if turn.at > now:
                        self._serial += 1
                        heappush(self._due, (turn.at, self._serial, turn))
                        return False
                case Keep(size_bytes):
                    self._kept.append([bytes(CRUMB_BYTES - _HEAD_BYTES) for _ in range(-(-size_bytes // CRUMB_BYTES))])
                case Raw(data):
                    self._out += data
                case Fail(code, message):
                    return self._close(wire.GaveUp(turn.name, code, message))
                case Hang():
                    return False
                case Die(code):
                    self.died = code
                    return False
                case _:
                    assert_never(step)
        return True

    def _close(self, last: wire.Done | wire.GaveUp) -> bool:
        self._out += wire.write(last)
        del self._open[last.turn]
        return False
