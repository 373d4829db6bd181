"""Running: play scenarios with an adapter and say what came out.

In    an adapter; a scenario and a kind, or all of them
Out   a Report for each
Rule  each plays in a thread of its own and is cut off after SCENARIO_MAX_S; what the adapter lacks is n/a, never passed
Why   a breaker that hangs, or blocks the event loop for good, must cost its own line in the table and nothing else
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Final

from harness.conformance.scenarios import SCENARIOS
from harness.conformance.stage import Stage
from harness.conformance.tasks import Tasks
from harness.conformance.threads import Threads
from harness.conformance.values import (
    CAPABILITIES,
    Adapter,
    BrokenRequirementError,
    Kind,
    NotApplicableError,
    Report,
    Scenario,
    Status,
)

SCENARIO_MAX_S: Final = 20.0
_STAGES: Final[Mapping[Kind, type[Stage]]] = {Kind.TASKS: Tasks, Kind.THREADS: Threads}


def plays() -> Iterator[tuple[Scenario, Kind]]:
    """All scenarios in all their kinds, in the order of the table."""
    for scenario in SCENARIOS:
        for kind in scenario.kinds:
            yield scenario, kind


def lacking(adapter: Adapter, scenario: Scenario, kind: Kind) -> str | None:
    """Why a scenario is not played with this adapter; None: it is. An unknown capability is a ValueError."""
    lacks: Mapping[str, str] = getattr(adapter, "lacks", {})
    for name in lacks:
        if name.partition("/")[0] not in CAPABILITIES:
            raise ValueError(f"lacks names {name!r}; a capability is one of {', '.join(CAPABILITIES)}")
    needs = scenario.needs if scenario.spares_nobody else (kind.value, *scenario.needs)
    for need in needs:
        for name in (need, f"{need}/{kind}"):
            if name in lacks:
                return lacks[name]
    return None


def play(adapter: Adapter, scenario: Scenario, kind: Kind, *, max_s: float = SCENARIO_MAX_S) -> Report:
    """Play one scenario and report; it is cut off after so many real seconds."""
    missing = lacking(adapter, scenario, kind)
    if missing is not None:
        return Report(scenario=scenario.name, kind=kind, status=Status.NOT_APPLICABLE, evidence=missing)
    ends: list[tuple[Status, str]] = []
    stage = _STAGES[kind](adapter)
    player = threading.Thread(target=lambda: ends.append(_judged(stage, scenario)), daemon=True)
    player.start()
    player.join(max_s)
    stage.close()
    status, evidence = ends[0] if ends else (Status.FAILED, f"it hung, and was cut off after {max_s:g} s")
    return Report(scenario=scenario.name, kind=kind, status=status, evidence=evidence)


def _judged(stage: Stage, scenario: Scenario) -> tuple[Status, str]:
    try:
        _drive(stage.kind, _played(stage, scenario))
    except BrokenRequirementError as broken:
        return Status.FAILED, str(broken)
    except NotApplicableError as reason:
        return Status.NOT_APPLICABLE, str(reason)
    except Exception as error:  # noqa: BLE001  # whatever somebody else's breaker or adapter raises here is evidence
        return Status.FAILED, f"it raised {type(error).__name__}: {error}"
    return Status.PASSED, ""


async def _played(stage: Stage, scenario: Scenario) -> None:
    try:
        await scenario.play(stage)
    finally:
        await stage.clear()


def _drive(kind: Kind, playing: Coroutine[Any, Any, None]) -> None:
    if kind is Kind.TASKS:
        asyncio.run(playing)
        return
    try:  # With threads nothing is awaited: every wait of the stage blocks.
        playing.send(None)
    except StopIteration:
        return
    raise AssertionError("a scenario with threads awaited something that is not the stage's")
