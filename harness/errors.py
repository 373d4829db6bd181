"""Errors: one tree; data on the exception; the text says what to do.

* HarnessError                                                        kind        exit code
    * TransientError           worth another try                      transient
        * TimedOutError        nothing was begun in time
        * ConnectionLostError  the connection is gone, nothing was under way
        * UnavailableError     the other side cannot take calls now
            * TargetDownError  what is to be tested could not start               3
        * ThrottledError       the other side asks for fewer calls    throttled
        * OverloadedError      refused on this side, nothing was sent overloaded
            * CircuitOpenError the breaker refuses calls for now
            * BusyError        every place and the queue are taken
    * AmbiguousError           it may have happened                   ambiguous
    * PermanentError           will fail again                        permanent
        * InvalidError         what was asked for is wrong
            * UsageError       wrong words on the command line                    2
            * ScenarioError    a scenario or setting that cannot be               2
        * NotFoundError        what was asked for is not there
        * UnsupportedError     this side cannot do that
            * PluginError      a plug-in that is not there or broken              2
        * WireError            a line or frame that breaks the protocol
        * BackupError          a backup cannot be made, read, removed or put back
            * DamagedBackupError  what was read is not what was written
        * NoVerdictError       the run cannot be judged                           4
    * StoreError               the store cannot be read or written    permanent
        * StoreBusyError       somebody else holds its lock           transient
    * BugError                 cannot be: a mistake in this program   bug

``kind`` says what a caller should do about an error, ``code`` names it for programs and figures. Both are inherited.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

EXIT_PASS: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_TARGET_DOWN: Final = 3
EXIT_NO_VERDICT: Final = 4
EXIT_INTERRUPTED: Final = 130


class Kind(enum.StrEnum):
    """What a failure means for whoever has to decide what to do next."""

    TRANSIENT = "transient"
    """Nothing happened, and it may well work in a moment: try again."""
    THROTTLED = "throttled"
    """The other side wants fewer calls: try again, not before it says."""
    OVERLOADED = "overloaded"
    """Refused on this side before anything was sent: try again, not before it says."""
    AMBIGUOUS = "ambiguous"
    """It may have happened: try again only where twice is as good as once."""
    PERMANENT = "permanent"
    """It will fail again in the same way: do not try again."""
    CANCELLED = "cancelled"
    """Nobody wants the answer any more: neither success nor failure."""
    BUG = "bug"
    """Nobody has thought of it: do not try again, and show it."""


class HarnessError(Exception):
    """Everything this project raises on purpose; ``exit_code`` is what a command ends with."""

    exit_code: ClassVar[int] = EXIT_FAILED
    kind: ClassVar[Kind] = Kind.PERMANENT
    code: str = "failed"


# --- Worth another try ------------------------------------------------------------------------------------------------
class TransientError(HarnessError):
    """Worth another try."""

    kind = Kind.TRANSIENT
    code = "transient"


class TimedOutError(TransientError):
    """Nothing was begun in time; once something was sent, it is an AmbiguousError."""

    code = "timed-out"


class ConnectionLostError(TransientError):
    """The connection is gone or could not be made, and nothing was under way on it."""

    code = "connection-lost"


class UnavailableError(TransientError):
    """The other side cannot take calls now; ``retry_after_s`` (seconds) if it said for how long."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """Keep the seconds, if they are known."""
        self.retry_after_s = retry_after_s
        super().__init__(message)


class TargetDownError(UnavailableError):
    """The service under test could not be started or reached."""

    exit_code = EXIT_TARGET_DOWN
    code = "target-down"


class ThrottledError(TransientError):
    """``name`` asks for fewer calls; ``retry_after_s`` says for how long (seconds)."""

    kind = Kind.THROTTLED
    code = "throttled"

    def __init__(self, name: str, *, retry_after_s: float) -> None:
        """Keep the name and the seconds."""
        self.name, self.retry_after_s = name, retry_after_s
        super().__init__(f"{name!r} asks for fewer calls; retry in {retry_after_s:.1f} s")


class OverloadedError(TransientError):
    """Refused on this side, before anything was sent; ``retry_after_s`` says for how long (seconds)."""

    kind = Kind.OVERLOADED
    code = "overloaded"

    def __init__(self, name: str, *, retry_after_s: float, why: str = "is overloaded") -> None:
        """Keep the name and the expected seconds until there is room."""
        self.name, self.retry_after_s = name, retry_after_s
        super().__init__(f"{name!r} {why}; retry in {retry_after_s:.1f} s")


class CircuitOpenError(OverloadedError):
    """The circuit breaker of ``name`` refuses calls; ``retry_after_s`` says for how long (seconds)."""

    code = "circuit-open"

    def __init__(self, name: str, *, retry_after_s: float) -> None:
        """Keep the breaker's name and the seconds left."""
        super().__init__(name, retry_after_s=retry_after_s, why="has an open circuit")


class BusyError(OverloadedError):
    """Every place and the whole queue of ``name`` are taken."""

    code = "busy"

    def __init__(self, name: str, *, retry_after_s: float) -> None:
        """Keep the name and the expected seconds until there is room."""
        super().__init__(name, retry_after_s=retry_after_s, why="is busy")


# --- Perhaps done -----------------------------------------------------------------------------------------------------
class AmbiguousError(HarnessError):
    """It may have happened: there was no answer to something that was sent."""

    kind = Kind.AMBIGUOUS
    code = "ambiguous"


# --- Not worth another try --------------------------------------------------------------------------------------------
class PermanentError(HarnessError):
    """Will fail again in the same way."""

    code = "permanent"


class InvalidError(PermanentError):
    """What was asked for is wrong in itself."""

    code = "invalid"


class UsageError(InvalidError):
    """The command line asks for something that is not there."""

    exit_code = EXIT_USAGE
    code = "usage"


class ScenarioError(InvalidError):
    """A scenario file or setting is wrong; the text starts with where."""

    exit_code = EXIT_USAGE
    code = "bad-field"


class NotFoundError(PermanentError):
    """What was asked for is not there."""

    code = "not-found"


class UnsupportedError(PermanentError):
    """What was asked for cannot be done on this side."""

    code = "unsupported"


class PluginError(UnsupportedError):
    """A plug-in is unknown or does not keep its contract."""

    exit_code = EXIT_USAGE
    code = "plugin"


class WireError(PermanentError):
    """A line or a frame that breaks the protocol."""

    code = "wire"


class NoVerdictError(PermanentError):
    """The run happened but proves nothing: no fault delivered, no load, an empty journal."""

    exit_code = EXIT_NO_VERDICT
    code = "no-verdict"


class StoreError(HarnessError):
    """The store cannot be read or written, and trying again does not mend that."""

    code = "not-saved"


class StoreBusyError(StoreError):
    """Somebody else holds the store's lock, and has held it for longer than we wait; ``retry_after_s`` in seconds."""

    kind = Kind.TRANSIENT
    code = "store-busy"
    retry_after_s: ClassVar[float] = 1.0


class BugError(HarnessError):
    """Something that cannot be: a mistake in this program, not in what it was given."""

    kind = Kind.BUG
    code = "bug"


class BackupError(PermanentError):
    """A backup cannot be made, read, removed or put back; nothing that was good has been changed."""

    code = "backup"


class DamagedBackupError(BackupError):
    """What was read back is not what was written: a verdict about the backup, not about the attempt."""

    code = "backup-damaged"
