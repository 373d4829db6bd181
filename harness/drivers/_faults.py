"""Timeline of faults: each begins and ends at its time, is proven to work first and undone however the run ends.

In    a scenario's faults; the service; when the load began (CLOCK_MONOTONIC)
Out   FaultArmed, FaultDelivered for every hit, FaultHealed, each with its time
Rule  prove before the load, register the undo before the first hit, heal in any case
Why   wired and browser put the same faults on the same timeline

    await prove(plans)          before anything is started
    await carry_out(plans, service, began, note)     beside the load; returns when every fault is healed
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any, Final

from harness import injectors, plugins
from harness.core.events import FaultArmed, FaultDelivered, FaultHealed, RunFact
from harness.core.scenario import FaultPlan
from harness.errors import HarnessError
from harness.injectors import Injector
from harness.targets._api import Api
from harness.targets.reference import RunningService

SOURCE: Final = "fault"
Note = Callable[[float, RunFact], None]


@dataclass(frozen=True, slots=True)
class _Aim:
    """The service, as faults may see it; with a connection of its own, so that nothing else keeps it waiting."""

    service: RunningService
    api: Api

    @property
    def pid(self) -> int:
        return self.service.pid

    async def bots(self) -> list[dict[str, Any]]:
        return await self.api.bots()


async def prove(plans: Sequence[FaultPlan]) -> None:
    """Show that every fault works on this machine; NoVerdictError if one does not."""
    for plan in plans:
        await _build(plan).prove()


async def carry_out(plans: Sequence[FaultPlan], service: RunningService, began: float, note: Note) -> None:
    """Run the whole timeline; a cancellation heals too."""
    try:
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                group.create_task(_one(plan, service, began, note))
    except BaseExceptionGroup as errors:
        # A task group wraps even a single error; whoever reads the message wants the error.
        first = next((error for error in errors.exceptions if isinstance(error, HarnessError)), None)
        raise first or errors.exceptions[0] from None


async def _one(plan: FaultPlan, service: RunningService, began: float, note: Note) -> None:
    fault, delivered = _build(plan), 0
    await asyncio.sleep(began + plan.at_s - time.monotonic())
    async with AsyncExitStack() as undo:
        api = Api(service.url)
        undo.callback(api.close)
        aim = _Aim(service, api)
        note(time.monotonic(), FaultArmed(plan.kind, plan.bot))

        async def heal() -> None:
            await fault.heal(aim)
            note(time.monotonic(), FaultHealed(plan.kind, plan.bot, delivered))

        undo.push_async_callback(heal)
        loop = asyncio.get_running_loop()
        ends = loop.time() + began + plan.at_s + plan.for_s - time.monotonic()
        try:
            async with asyncio.timeout_at(ends), aclosing(fault.inject(aim)) as hits:
                async for hit in hits:
                    delivered += 1
                    note(hit.t, FaultDelivered(plan.kind, plan.bot, hit.detail))
        except TimeoutError:
            pass  # Its time is over.


def _build(plan: FaultPlan) -> Injector:
    fault: Injector = plugins.build(injectors, plan.kind, {"bot": plan.bot}, f"faults: {plan.kind}")
    return fault
