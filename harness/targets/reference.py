"""The reference chat service, started for one case and ended with it.

In    the case's folder, the folder for bot logs, the limits (``Settings``)
Out   ``async with Reference().open(...) as service``: address, process, journals, database
Rule  port 0, so that cases never meet; its database is the case's own and goes when the case ends well
Why   a run that shares nothing with another can be repeated, and leaves nothing behind
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shlex
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from harness.adapters.processes import Guardian, signal_group
from harness.core.settings import Settings
from harness.errors import TargetDownError
from harness.targets._child import Child, child_env

__all__ = ["Reference"]

_POLL_S: Final = 0.02
_KILL_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """``harness serve`` as a child process."""

    service_command: tuple[str, ...] = ()
    """What stands before ``serve``; empty: this Python with ``-m harness``."""
    bot_command: tuple[str, ...] = ()
    """The program that bots are started with; empty: the service's own choice."""
    extra_env: Mapping[str, str] = field(default_factory=dict)
    """Environment for the service and, through it, its bots."""
    start_max_s: float = 15.0
    """Seconds from the start to the ready file."""
    end_max_s: float = 10.0
    """Seconds that it gets to end by itself."""

    @asynccontextmanager
    async def open(
        self, *, folder: Path, bot_logs: Path, settings: Settings | None = None
    ) -> AsyncIterator[RunningService]:
        """Start the service in ``folder`` and end it with its bots; the database stays only if an error passes by."""
        guardian = Guardian.start()
        service = RunningService(self, guardian, folder, bot_logs, settings or Settings())
        well = False
        try:
            await service.start()
            yield service
            well = True
        finally:
            await service.end()
            guardian.close()  # Sweeps up whatever carries its mark: bots of a service that was killed.
            if well:
                shutil.rmtree(service.state_dir, ignore_errors=True)


class RunningService:
    """The service of one case: where it listens, and what it writes."""

    def __init__(self, target: Reference, guardian: Guardian, folder: Path, bot_logs: Path, settings: Settings) -> None:
        """Use ``Reference.open``."""
        self.folder, self.bot_logs = folder.resolve(), bot_logs.resolve()
        self.state_dir = self.folder / "state"
        self.log = self.folder / "service.log"
        self.journals: list[Path] = []
        """One file for each start: a service that was killed may have torn its last line."""
        self.url = ""
        self.guardian = guardian
        self._target, self._settings = target, settings
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The service's process."""
        assert self._child is not None
        return self._child.pid

    @property
    def journal(self) -> Path:
        """The journal of the newest start."""
        return self.journals[-1]

    @property
    def ended(self) -> str | None:
        """How it ended, in words; None while it runs."""
        assert self._child is not None
        return self._child.ended

    def last_words(self) -> str:
        """Give the end of its output, for messages."""
        assert self._child is not None
        return self._child.last_words()

    async def start(self) -> None:
        """Start it and wait until it listens; TargetDownError with its last words if it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "service-ready.json"
        ready.unlink(missing_ok=True)
        names = (self.folder / f"service-{number}.jsonl" for number in itertools.count(1))
        self.journals.append(next(path for path in names if not path.exists() and path not in self.journals))
        self._child = child = await Child.start(
            self._command(ready),
            guardian=self.guardian,
            log=self.log,
            env=child_env(self.guardian, self._target.extra_env) | {"HARNESS_UNTIL_EOF": "1"},
            leash=True,
        )
        deadline = time.monotonic() + self._target.start_max_s
        while not ready.exists():
            if child.ended:
                raise TargetDownError(f"harness serve ended with {child.ended}:\n{child.last_words()}")
            if time.monotonic() > deadline:
                limit = f"{self._target.start_max_s:g} s"
                raise TargetDownError(f"harness serve does not listen after {limit}:\n{child.last_words()}")
            await asyncio.sleep(_POLL_S)
        self.url = json.loads(ready.read_text("utf-8"))["url"]

    async def kill(self) -> None:
        """End it with SIGKILL: what is not stored by now is lost."""
        assert self._child is not None
        if self._child.ended is None:
            signal_group(self._child.pid, signal.SIGKILL)
        await self._child.end(grace_s=_KILL_S)

    async def restart(self) -> None:
        """Start it again after ``kill``, with the same database, at the same address."""
        assert self.ended is not None
        await self.start()

    async def end(self) -> None:
        """End it politely, then for certain; once it has ended, nothing."""
        if self._child is not None and self._child.ended is None:
            await self._child.end(grace_s=self._target.end_max_s)
        (self.folder / "service-ready.json").unlink(missing_ok=True)

    def _command(self, ready: Path) -> list[str]:
        command = [*(self._target.service_command or (sys.executable, "-m", "harness")), "serve"]
        command += ["--port", str(urlsplit(self.url).port or 0)]
        command += ["--state-dir", str(self.state_dir), "--bot-logs", str(self.bot_logs)]
        command += ["--ready-file", str(ready), "--journal", str(self.journal)]
        for limit in fields(Settings):
            value = getattr(self._settings, limit.name)
            if value != limit.default:
                said = str(value).lower() if isinstance(value, bool) else value
                command += ["--set", f"{limit.name}={said}"]
        if self._target.bot_command:
            command += ["--bot-command", shlex.join(self._target.bot_command)]
        return command
