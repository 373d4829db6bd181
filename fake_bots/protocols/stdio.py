"""Stdio: a bot behind two pipes, speaking the bot wire.

In    question lines on stdin
Out   answer lines on stdout, the ready line first; one line on stderr for each question that cannot be read
Rule  one thread, one loop, nothing blocks it: no hanging turn, no reader that stopped reading, no full stderr;
      the end of stdin ends the bot, and so does the end of whoever reads its stdout
Why   bots are started all the time: poll is there at once, asyncio takes longer than all the rest together;
      and a bot that notices its end in every state leaves no orphan
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING, Final

from fake_bots.turns import Turns
from harness.core import wire
from harness.errors import WireError

if TYPE_CHECKING:  # Its imports take as long as a whole start, and most bots are not probed.
    from fake_bots.probe import Probe

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
READ_BYTES: Final = 65_536
WRITE_BYTES: Final = 4_096
"""A pipe that is ready for writing takes at least so much (PIPE_BUF) without blocking; so it need not be switched to
non-blocking, which would reach every process that shares it."""
OUT_BYTES_MAX: Final = 262_144
"""With so much unwritten, the bot makes no more and hears no more, until its reader reads."""
FINISH_S: Final = 0.5
"""At the end: how long what was said already may take to be read."""
COMPLAINT_BYTES_MAX: Final = 400
_LOST: Final = select.POLLERR | select.POLLNVAL
_HEAR: Final = select.POLLIN | getattr(select, "POLLRDHUP", 0)
_END: Final = select.POLLHUP | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)


def serve(turns: Turns, probe: Probe | None = None) -> int:
    """Answer until stdin ends, the reader is gone, or the behaviour dies; give back the exit code."""
    link = _Link()
    link.out += wire.write(wire.Ready(wire.VERSION))
    while True:
        now = monotonic()
        if link.has_room():
            link.out += turns.speak(now)
        if turns.died is not None:
            link.finish()
            return turns.died
        for number, event in link.wait(turns.wake_s(now), probe.files() if probe else []):
            if number == STDOUT:
                if event & _LOST or not link.write():
                    return 0
            elif number != STDIN:
                assert probe is not None
                probe.readable(number, len(turns))
            elif not link.has_room():
                if event & _END:
                    return 0  # Closed above a reader that does not read: nobody waits for the rest.
            elif not _hear(link, turns):
                _finish(link, turns)
                return 0


def _hear(link: _Link, turns: Turns) -> bool:
    """Hand over what arrived; false at the end of stdin."""
    lines = link.read()
    if lines is None:
        return False
    now = monotonic()
    for line in lines:
        try:
            wrong = turns.hear(wire.read_question(line), now)
        except WireError as error:
            wrong = str(error)
        if wrong:
            _complain(wrong)
    return True


def _finish(link: _Link, turns: Turns) -> None:
    """Let replies end that need no waiting (a file of questions was piped in); drop the others."""
    until = monotonic() + FINISH_S
    while (now := monotonic()) < until and turns.wake_s(now) == 0 and turns.died is None:
        if link.has_room():
            link.out += turns.speak(now)
        if not link.flush(until):
            return
    link.finish()


class _Link:
    """The two pipes, with what could not be written yet and the beginning of a line."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._begun = bytearray()
        self._too_long = False
        self._poll = select.poll()

    def has_room(self) -> bool:
        """Say whether more may be said and heard."""
        return len(self.out) < OUT_BYTES_MAX

    def wait(self, wake_s: float | None, others: list[int]) -> list[tuple[int, int]]:
        """Wait for input, for room to write what is there, or for the time."""
        room = self.has_room()
        poll = select.poll() if others else self._poll
        for number in others:
            poll.register(number, select.POLLIN)
        # Without room stdin is still watched for its end, which is reported in any case.
        poll.register(STDIN, _HEAR if room else _END)
        # Without anything to write stdout is still watched for the end of its reader.
        poll.register(STDOUT, select.POLLOUT if self.out else 0)
        return poll.poll(ceil(wake_s * 1000) if room and wake_s is not None else None)

    def read(self) -> list[bytes] | None:
        """Read the lines that are complete; None at the end."""
        try:
            data = os.read(STDIN, READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None  # Closed before the bot was started.
        return list(self._lines(data)) if data else None

    def write(self) -> bool:
        """Write what certainly does not block, once stdout is ready; false if nobody reads any more."""
        if not self.out:
            return True
        try:
            count = os.write(STDOUT, self.out[:WRITE_BYTES])
        except BlockingIOError:
            return True
        except OSError:
            return False
        del self.out[:count]
        return True

    def flush(self, until: float) -> bool:
        """Write everything, as long as it is read in time; false if it is not."""
        poll = select.poll()
        poll.register(STDOUT, select.POLLOUT)
        while self.out:
            ready = poll.poll(max(0, ceil((until - monotonic()) * 1000)))
            if not ready or ready[0][1] & _LOST or not self.write():
                return False
        return True

    def finish(self) -> None:
        """Write the rest, if somebody reads it soon."""
        self.flush(monotonic() + FINISH_S)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """Cut the input into lines; of one that is too long nothing is kept but the complaint."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            if self._too_long:
                self._too_long = False
            else:
                yield bytes(self._begun) + end
            self._begun.clear()
        if not self._too_long:
            self._begun += rest
        if len(self._begun) > wire.LINE_BYTES_MAX:
            _complain(f"a line of more than {wire.LINE_BYTES_MAX:,} bytes; it is left out")
            self._begun.clear()
            self._too_long = True


def _complain(text: str) -> None:
    """Write one line to stderr, if that does not block: a full stderr must not stop the bot."""
    poll = select.poll()
    poll.register(STDERR, select.POLLOUT)
    ready = poll.poll(0)
    if ready and ready[0][1] & select.POLLOUT:
        line = f"fake_bots: {text}".encode("utf-8", "backslashreplace")[:COMPLAINT_BYTES_MAX] + b"\n"
        with suppress(OSError):
            os.write(STDERR, line)
