"""Child: a program of ours that runs beside us, with its words kept in a file.

In    a command, the file for its output, the guardian that outlives us
Out   a process in a session of its own; the last lines that it said
Rule  output goes to a file, never to a pipe: a pipe that nobody drains stops the writer
Why   the service and the load generator are started, watched and ended in the same way
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import harness
from harness.adapters.processes import Guardian, end, reason
from harness.adapters.retry import Retrying, make_recovery
from harness.errors import TargetDownError

_LINES: Final = 8
_TAIL_BYTES: Final = 16_384
START_MAX_S: Final = 5.0
"""How long to wait for room for another process."""


class Child:
    """A running child; made by ``start``."""

    def __init__(self, process: asyncio.subprocess.Process, guardian: Guardian, log: Path) -> None:
        """Use ``Child.start``."""
        self.process, self.log = process, log
        self._guardian = guardian

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        guardian: Guardian,
        log: Path,
        env: Mapping[str, str],
        cwd: Path | None = None,
        leash: bool = False,
    ) -> Self:
        """Start the command; TargetDownError if there is no such program.

        With ``leash`` its stdin is a pipe that nobody writes to and that ends when we do, for programs that mind it.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            try:
                # No room for another process may be over in a moment; no such program is not.
                process = await Retrying(make_recovery(), "child", within_s=START_MAX_S).run_async(
                    asyncio.create_subprocess_exec,
                    *command,
                    stdin=asyncio.subprocess.PIPE if leash else asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise TargetDownError(f"cannot start {command[0]}: {error.strerror}") from None
        guardian.watch(process.pid)
        return cls(process, guardian, log)

    @property
    def pid(self) -> int:
        """The process's number, which is its process group's too."""
        return self.process.pid

    @property
    def ended(self) -> str | None:
        """How it ended, in words; None while it runs."""
        return None if self.process.returncode is None else reason(self.process.returncode)

    def last_words(self) -> str:
        """Give the end of its output, for messages."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return "(no output)"
        return "\n".join(text.rstrip().splitlines()[-_LINES:]) or "(no output)"

    async def end(self, *, grace_s: float) -> int:
        """End its process group, politely first; give back its exit code."""
        code = await end(self.process, grace_s=grace_s)
        self._guardian.forget(self.pid)
        return code


def child_env(guardian: Guardian, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give a child our environment, the guardian's mark, and this very package, installed or not."""
    env = guardian.env()
    package = str(Path(harness.__file__).resolve().parents[1])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (package, env.get("PYTHONPATH", ""))))
    env["PYTHONUNBUFFERED"] = "1"  # The last words of a child that is killed must be in its log.
    env.update(extra or {})
    return env
