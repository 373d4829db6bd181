"""Bots: the processes behind the names. Starts them, writes their stdin, reads their stdout, ends them.

In    "start", "stop", "ask", "cancel" from the pump, never awaiting
Out   facts: BotStarted, BotReady, BotSaid, BotEnded, BotFailed, BotGarbled, and exactly one BotGone a process
Rule  facts are never told from inside a call of the pump; every buffer and every wait has a bound
Why   a bot is somebody else's program: it may lie, flood, hang, fork or die, and must only ever hurt itself
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from harness.adapters.processes import Guardian, reason, signal_group, sweep
from harness.core.events import (
    BotEnded,
    BotFailed,
    BotGarbled,
    BotGone,
    BotReady,
    BotSaid,
    BotStarted,
    Fact,
    StartBot,
)
from harness.core.wire import LINE_BYTES_MAX, Done, GaveUp, Piece, Question, Ready, read_answer, write
from harness.errors import WireError
from harness.server.bot_log import BotLog

Tell = Callable[[Fact], None]

STDIN_BYTES_MAX: Final = 64 * 1024 * 1024
"""More than this unread by a bot and it is ended; all turns that it may work on at once fit in many times over."""
EOF_GRACE_S: Final = 1.0
"""After the end of its stdin a bot may take this long to finish by itself."""
TERM_GRACE_S: Final = 1.0
"""After SIGTERM a bot may take this long; then it is killed."""
LAST_WORDS_S: Final = 0.5
"""How long to read on after a process ended: a child that it forked may hold its stdout open."""
_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Bots:
    """Every bot's process by the bot's name."""

    def __init__(self, tell: Tell, *, command: Sequence[str], guardian: Guardian, logs: Path) -> None:
        """Hand facts to ``tell``; start bots as ``command BEHAVIOUR --option value --seed N``."""
        self._tell, self._command, self._guardian, self._logs = tell, tuple(command), guardian, logs
        self._processes: dict[str, BotProcess] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._paused = False

    def start(self, act: StartBot) -> None:
        """Start a process; whatever comes of it is told as a fact."""
        task = asyncio.get_running_loop().create_task(self._start(act), name=f"start {act.bot}")
        self._starting[act.bot] = task
        task.add_done_callback(lambda done: self._started(act.bot, done))

    def stop(self, bot: str) -> None:
        """End a bot's process, politely first."""
        process = self._processes.get(bot)
        if process is not None:
            process.end()

    def say(self, bot: str, line: Question) -> None:
        """Write a line to a bot's stdin; a bot that is gone does not hear it, and its BotGone is on the way."""
        process = self._processes.get(bot)
        if process is not None:
            process.say(line)

    def pids(self) -> list[int]:
        """Give the process ids of all bots that run."""
        return [process.pid for process in self._processes.values()]

    def busy(self, bot: str) -> bool:
        """Whether a process of this bot is there or on its way; its others are called "bot~2" and so on."""
        return any(name.partition("~")[0] == bot for name in (*self._processes, *self._starting))

    def processes(self) -> int:
        """How many there are, those that are ending included."""
        return len(self._processes)

    def pause(self, *, paused: bool) -> None:
        """Stop or go on reading what bots say: the pipe holds a flood back."""
        if paused != self._paused:
            self._paused = paused
            for process in self._processes.values():
                process.pause(paused=paused)

    async def close(self) -> None:
        """End all bots and wait for it; bounded, because everything is killed in the end."""
        for task in self._starting.values():
            task.cancel()
        processes = list(self._processes.values())
        for process in processes:
            process.end()
        if processes:
            await asyncio.wait([process.gone for process in processes], timeout=EOF_GRACE_S + TERM_GRACE_S + 5.0)

    async def _start(self, act: StartBot) -> None:
        before = self._processes.get(act.bot)
        if before is not None:
            await asyncio.shield(before.gone)
        words = [*self._command, act.behaviour]
        for name, value in act.options.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
        words += ["--seed", str(act.seed)]
        env = self._guardian.env()
        env["HARNESS_BOT_NAME"] = act.bot
        loop = asyncio.get_running_loop()
        log = BotLog(self._logs / f"{act.bot}.log")
        process = BotProcess(act.bot, self._tell, log, self._born, self._ended)
        try:
            await loop.subprocess_exec(lambda: process, *words, env=env, start_new_session=True)
        except OSError as error:
            log.close()
            what = "no such program; check --bot-command" if isinstance(error, FileNotFoundError) else error.strerror
            loop.call_soon(self._tell, BotGone(act.bot, f"cannot start: {words[0]}: {what}"))

    def _born(self, process: BotProcess) -> None:
        self._guardian.watch(process.pid)
        self._processes[process.bot] = process
        process.pause(paused=self._paused)

    def _started(self, bot: str, task: asyncio.Task[None]) -> None:
        if self._starting.get(bot) is task:
            del self._starting[bot]
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def _ended(self, process: BotProcess) -> None:
        self._guardian.forget(process.pid)
        if self._processes.get(process.bot) is process:
            del self._processes[process.bot]


class BotProcess(asyncio.SubprocessProtocol):
    """One process, from its start to its end."""

    def __init__(
        self,
        bot: str,
        tell: Tell,
        log: BotLog,
        born: Callable[[BotProcess], None],
        ended: Callable[[BotProcess], None],
    ) -> None:
        """Tell facts of ``bot``; call ``born`` just before its first fact and ``ended`` just before its last."""
        self.bot, self.pid = bot, 0
        self._tell, self._log, self._on_start, self._on_end = tell, log, born, ended
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._rest = b""
        self._skipping = False
        self._ending: asyncio.TimerHandle | None = None
        self._exited = self._silent = False

    # --- What the event loop tells ------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process is there."""
        # uvloop's transports do what asyncio's do, without being of their classes.
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()
        assert self.pid > 0  # To signal group 0 is to signal ourselves.
        self._on_start(self)
        self._tell(BotStarted(self.bot, self.pid))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """The process wrote something."""
        if fd == _STDERR:
            self._log.write(data)
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if self._skipping:
                self._skipping = False
            else:
                self._hear(line)
        if len(self._rest) > LINE_BYTES_MAX:
            if not self._skipping:
                self._tell(BotGarbled(self.bot, f"a line of more than {LINE_BYTES_MAX:,} bytes"))
            self._rest, self._skipping = b"", True

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """The process closed one of its ends."""
        del exc
        if fd == _STDOUT:
            self._silent = True
            if self._exited:
                self._finish()

    def process_exited(self) -> None:
        """The process ended; its last words may still be in the pipe."""
        self._exited = True
        if self._silent:
            self._finish()
        else:
            self._loop.call_later(LAST_WORDS_S, self._finish)

    # --- What the pump asks -------------------------------------------------------------------------------------------
    def say(self, line: Question) -> None:
        """Write a line, unless the bot has stopped reading."""
        stdin = self._transport.get_pipe_transport(_STDIN)
        if stdin is None or stdin.is_closing():
            return
        stdin = cast("asyncio.WriteTransport", stdin)
        if stdin.get_write_buffer_size() > STDIN_BYTES_MAX:
            self._log.write(b"(service) the bot does not read its stdin any more: it is killed\n")
            self._signal(signal.SIGKILL)
            return
        stdin.write(write(line))

    def pause(self, *, paused: bool) -> None:
        """Stop or go on reading."""
        stdout = self._transport.get_pipe_transport(_STDOUT)
        if stdout is None or stdout.is_closing():
            return
        stdout = cast("asyncio.ReadTransport", stdout)
        if paused:
            stdout.pause_reading()
        else:
            stdout.resume_reading()

    def end(self) -> None:
        """End of stdin, then SIGTERM, then SIGKILL."""
        if self._ending is not None or self.gone.done():
            return
        stdin = self._transport.get_pipe_transport(_STDIN)
        if stdin is not None:
            stdin.close()
        self._ending = self._loop.call_later(EOF_GRACE_S, self._insist, signal.SIGTERM)

    # --- Inside -------------------------------------------------------------------------------------------------------
    def _insist(self, number: int) -> None:
        self._signal(number)
        if number != signal.SIGKILL:
            self._ending = self._loop.call_later(TERM_GRACE_S, self._insist, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """Once it has been waited for, its number may be somebody else's."""
        if not self._exited:
            signal_group(self.pid, number)

    def _finish(self) -> None:
        if self.gone.done():
            return
        self.gone.set_result(None)
        if self._ending is not None:
            self._ending.cancel()
        sweep(self.pid)  # The leader is gone; members of its group that it forked must not stay.
        code = self._transport.get_returncode()
        self._transport.close()
        self._log.close()
        self._on_end(self)
        self._tell(BotGone(self.bot, reason(code if code is not None else 0)))

    def _hear(self, line: bytes) -> None:
        try:
            answer = read_answer(line)
        except WireError as error:
            self._tell(BotGarbled(self.bot, _clean(str(error))))
            return
        match answer:
            case Piece(turn, text):
                self._tell(BotSaid(self.bot, turn, _clean(text)))
            case Done(turn):
                self._tell(BotEnded(self.bot, turn))
            case GaveUp(turn, code, message):
                self._tell(BotFailed(self.bot, turn, _clean(code), _clean(message)))
            case Ready():
                self._tell(BotReady(self.bot))


def _clean(text: str) -> str:
    """Replace what stands for half a character (a lone surrogate): neither the store nor a frame can hold it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
