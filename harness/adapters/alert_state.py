"""Alert state: what a restart must not lose of the alerts, as one small file.

In    alerts that are not inactive
Out   the same after a restart
Rule  the file is replaced whole; one that is missing or cannot be understood is none, and says so once
Why   a service that is restarted in an incident must not wait its minutes again before it tells
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import orjson

from harness.services.alerts import Alert, State

FILE_NAME: Final = "alerts.json"
VERSION: Final = 1


def load(path: Path) -> tuple[Alert, ...]:
    """Read it; ValueError if it is there and makes no sense, OSError if it cannot be read."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return ()
    try:
        data: Any = orjson.loads(raw)
        alerts = tuple(_alert(one) for one in data["alerts"])
        version = data["version"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be understood ({error})") from None
    if version != VERSION:
        raise ValueError(f"{path}: is of version {version}, not {VERSION}")
    return alerts


def save(path: Path, alerts: Iterable[Alert]) -> None:
    """Put the whole file in place at once; OSError if that cannot be."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(orjson.dumps({"version": VERSION, "alerts": list(alerts)}))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _alert(data: Any) -> Alert:
    return Alert(
        rule=str(data["rule"]),
        labels=tuple((str(label), str(value)) for label, value in data["labels"]),
        state=State(data["state"]),
        state_s=float(data["state_s"]),
        value=None if data["value"] is None else float(data["value"]),
        frozen=bool(data["frozen"]),
        silence_s=float(data["silence_s"]),
    )
