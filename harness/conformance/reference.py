"""The adapter of our own breaker; read it as the example for yours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.adapters.guard import Guard, Verdict
from harness.conformance.values import Plan
from harness.services.circuit_breaker import BreakerConfig, Outcome


class Reference:
    """``harness.adapters.guard.Guard``: nothing is lacking, and refusals carry ``retry_after_s``."""

    def make(self, plan: Plan) -> Guard:
        """Trip on failures in a row only, as every breaker can."""
        config = BreakerConfig(
            failures_max=plan.failures_max,
            failure_rate=None,
            slow_rate=None,
            cooldown_s=plan.cooldown_s,
            lease_s=plan.probe_max_s,
        )
        is_failure = plan.is_failure

        def judge(error: Exception) -> Verdict:
            return Outcome.FAILURE if is_failure is None or is_failure(error) else Outcome.IGNORED

        return Guard("conformance", config, clock=plan.clock, judge_error=judge, listener=plan.listener)

    def guard(self, breaker: Guard, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate."""
        return breaker(function)

    def state(self, breaker: Guard) -> str:
        """Read."""
        return breaker.state.value
