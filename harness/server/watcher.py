"""Watcher: once a second, after the recorder's tick: alerts are stepped, the board gets its columns, changes are told.

In    the history; alert rules; a dashboard
Out   AlertMoved in the journal, a line in ``alerts.jsonl``, the state of the alerts on disk
Rule  a disk that will not take them costs the lines and nothing else; the state is written beside the event loop
Why   an alert is a fact like any other: whoever reads the journal later sees what was known when
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from harness.adapters import alert_state
from harness.adapters.line_file import LineFile
from harness.chat.board import Board
from harness.chat.indicators import Looker, ask
from harness.core.alert_rule import AlertRule
from harness.core.dashboard import Dashboard
from harness.core.events import AlertMoved
from harness.services.aggregator import Aggregator
from harness.services.alerts import AlertEngine, Move

LOG_NAME: Final = "alerts.jsonl"
AFTER_TICK_S: Final = 0.05
"""So long after the full second the recorder's tick is through."""
RECENT_MAX: Final = 100
SAVE_EVERY_S: Final = 10.0


class History(Protocol):
    """What the recorder offers."""

    aggregator: Aggregator

    def now(self) -> float:
        """The time of day in Unix seconds, which never goes back."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One change of an alert, with its time (Unix seconds)."""

    at: float
    move: Move


class Watcher:
    """Looks at one service."""

    def __init__(
        self,
        history: History,
        rules: Sequence[AlertRule],
        dashboard: Dashboard,
        *,
        state_dir: Path,
        log: LineFile,
        record: Callable[[AlertMoved], None],
        complain: Callable[[str], None],
    ) -> None:
        """Look at ``history`` by these rules; ``record`` takes facts, ``complain`` words for the operator."""
        self.history = history
        self.engine = AlertEngine(rules)
        self.board = Board(dashboard)
        self.recent: deque[Moved] = deque(maxlen=RECENT_MAX)
        self._looker = Looker(rules)
        self._path = state_dir / alert_state.FILE_NAME
        self._log, self._record, self._complain = log, record, complain
        self._saving: asyncio.Task[None] | None = None
        self._saved_at, self._unsaved, self._failing = 0.0, False, False

    def resume(self) -> None:
        """Go on with the alerts of the service before this one."""
        try:
            self.engine.restore(self.history.now(), alert_state.load(self._path))
        except (OSError, ValueError) as error:
            self._complain(f"alerts start anew: {error}")

    async def look(self) -> None:
        """Step everything once; between two questions to the history, replies have their turn."""
        now, aggregator = self.history.now(), self.history.aggregator
        for rule in self._looker.due(now):
            self._looker.ask(rule, aggregator, now)
            await asyncio.sleep(0)
        moves = self.engine.step(now, self._looker.told())
        for move in moves:
            self._tell(now, move)
        if self.board.due(now):
            answers = {}
            for place, of in self.board.questions():
                answers[place] = ask(aggregator, of, now)
                await asyncio.sleep(0)
            self.board.note(now, answers)
        self._unsaved = self._unsaved or bool(moves)
        waiting = bool(self.engine.alerts(now)) and now - self._saved_at >= SAVE_EVERY_S
        if (self._unsaved or waiting) and (self._saving is None or self._saving.done()):
            self._unsaved, self._saved_at = False, now
            self._saving = asyncio.get_running_loop().create_task(self._save(now), name="alert-state")

    async def watch_on(self) -> None:
        """Look until cancelled."""
        while True:
            now = self.history.now()
            await asyncio.sleep((AFTER_TICK_S - now) % 1.0 or 1.0)
            await self.look()

    async def close(self) -> None:
        """Keep the state for the next start."""
        if self._saving is not None:
            await asyncio.wait([self._saving])
        await self._save(self.history.now())

    async def _save(self, now: float) -> None:
        saved = self.engine.saved(now)
        try:
            await asyncio.to_thread(alert_state.save, self._path, saved)
        except OSError as error:
            self._failed(error)
        else:
            self._failing = False

    def _tell(self, now: float, move: Move) -> None:
        self.recent.append(Moved(now, move))
        fact = AlertMoved(
            move.rule,
            dict(move.labels),
            move.before.value,
            move.after.value,
            move.cause.value,
            move.value,
            move.severity,
        )
        self._record(fact)
        try:
            self._log.write(
                {
                    "ts": now,
                    "rule": fact.rule,
                    "labels": fact.labels,
                    "from": fact.before,
                    "to": fact.after,
                    "cause": fact.cause,
                    "value": fact.value,
                    "severity": fact.severity,
                }
            )
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._complain(f"alerts cannot be written down: {error}")
        self._failing = True


async def open_watcher(watcher: Watcher, stack: AsyncExitStack) -> None:
    """Resume, and look once a second until ``stack`` is left."""
    watcher.resume()
    stack.push_async_callback(watcher.close)
    task = asyncio.get_running_loop().create_task(watcher.watch_on(), name="watcher")

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])

    stack.push_async_callback(stop)
