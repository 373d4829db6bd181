"""The suite as one test, which the plug-in gives its scenarios; collected only with ``--breaker``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.conformance.loading import load
from harness.conformance.running import play
from harness.conformance.values import Kind, Scenario, Status

if TYPE_CHECKING:
    from collections.abc import Callable


def test_breaker(breaker: str, scenario: Scenario, kind: Kind, record_property: Callable[[str, object], None]) -> None:
    """Play one scenario; a failure says what is required, why, and what was seen."""
    record_property("breaker", breaker)
    report = play(load(breaker), scenario, kind)
    match report.status:
        case Status.NOT_APPLICABLE:
            pytest.skip(f"n/a: {report.evidence}")
        case Status.FAILED:
            pytest.fail(
                f"required: {scenario.requirement}\nwhy:      {scenario.why}\nseen:     {report.evidence}",
                pytrace=False,
            )
        case _:
            pass
