"""The scenarios, one module for each thing that they ask about; a new one is one decorated function in any of them."""

from __future__ import annotations

from typing import Final

from harness.conformance.scenarios import (
    calling,
    hooks,
    interruption,
    keeping,
    lateness,
    probing,
    streams,
    time_steps,
    tripping,
)
from harness.conformance.values import Scenario

SCENARIOS: Final[tuple[Scenario, ...]] = tuple(
    value
    for module in (tripping, probing, lateness, interruption, hooks, calling, time_steps, keeping, streams)
    for value in vars(module).values()
    if isinstance(value, Scenario)
)
"""All of them, in the order of the table."""
