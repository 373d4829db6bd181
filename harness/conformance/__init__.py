"""Conformance: does a circuit breaker do what its callers rely on? 53 scenarios for anybody's breaker.

In    an adapter: ``make``, ``guard`` and ``state`` of a breaker; scenarios come from here
Out   pytest tests (``pytest -p harness.conformance --breaker my_package.my_adapter:MyBreaker``) or Reports
Rule  virtual time, bounded waits; what a breaker lacks is n/a with the reason, never passed
Why   the faults of breakers are in cancellation, concurrency and late results, where few libraries test themselves

pytest loads this module as a plug-in only when it is asked to: it is no entry point, so that an installed harness
neither slows nor changes anybody's test runs.
"""

from __future__ import annotations

from harness.conformance._hooks import (
    pytest_addoption,
    pytest_configure,
    pytest_generate_tests,
    pytest_terminal_summary,
)
from harness.conformance.loading import load
from harness.conformance.running import play, plays
from harness.conformance.scenarios import SCENARIOS
from harness.conformance.values import CAPABILITIES, Adapter, Kind, Plan, Report, Scenario, Status

__all__ = [
    "CAPABILITIES",
    "SCENARIOS",
    "Adapter",
    "Kind",
    "Plan",
    "Report",
    "Scenario",
    "Status",
    "load",
    "play",
    "plays",
    "pytest_addoption",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_terminal_summary",
]
