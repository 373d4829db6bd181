"""Errors: one tree; data on the exception; the text says what to do.

* HarnessError                                   exit code
    * UsageError        wrong words on the command line          2
    * ScenarioError     a scenario or setting that cannot be     2
    * PluginError       a plug-in that is not there or broken    2
    * TargetDownError   what is to be tested could not start     3
    * NoVerdictError    the run cannot be judged                 4
    * TransientError    worth another try
        * CircuitOpenError   the breaker refuses calls for now
        * BusyError          every place and the queue are taken
    * PermanentError    will fail again
        * WireError          a line or frame that breaks the protocol
        * StoreError         the store cannot be read or written
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_PASS: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_TARGET_DOWN: Final = 3
EXIT_NO_VERDICT: Final = 4
EXIT_INTERRUPTED: Final = 130


class HarnessError(Exception):
    """Everything this project raises on purpose; ``exit_code`` is what a command ends with."""

    exit_code: ClassVar[int] = EXIT_FAILED


class UsageError(HarnessError):
    """The command line asks for something that is not there."""

    exit_code = EXIT_USAGE


class ScenarioError(HarnessError):
    """A scenario file or setting is wrong; the text starts with where."""

    exit_code = EXIT_USAGE


class PluginError(HarnessError):
    """A plug-in is unknown or does not keep its contract."""

    exit_code = EXIT_USAGE


class TargetDownError(HarnessError):
    """The service under test could not be started or reached."""

    exit_code = EXIT_TARGET_DOWN


class NoVerdictError(HarnessError):
    """The run happened but proves nothing: no fault delivered, no load, an empty journal."""

    exit_code = EXIT_NO_VERDICT


class TransientError(HarnessError):
    """Worth another try."""


class CircuitOpenError(TransientError):
    """The circuit breaker of ``name`` refuses calls; ``retry_after_s`` says for how long (seconds)."""

    def __init__(self, name: str, *, retry_after_s: float) -> None:
        """Keep the breaker's name and the seconds left."""
        self.name, self.retry_after_s = name, retry_after_s
        super().__init__(f"circuit {name!r} is open; retry in {retry_after_s:.1f} s")


class BusyError(TransientError):
    """Every place and the whole queue of ``name`` are taken."""

    def __init__(self, name: str, *, retry_after_s: float) -> None:
        """Keep the name and the expected seconds until there is room."""
        self.name, self.retry_after_s = name, retry_after_s
        super().__init__(f"{name!r} is busy; retry in {retry_after_s:.1f} s")


class PermanentError(HarnessError):
    """Will fail again in the same way."""


class WireError(PermanentError):
    """A line or a frame that breaks the protocol."""


class StoreError(PermanentError):
    """The store cannot be read or written."""
