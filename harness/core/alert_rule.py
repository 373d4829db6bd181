"""Alert rule: what is measured, beyond what it is wrong, for how long, and what somebody shall be told then.

In    the fields of a rule, as they stand in a file
Out   a frozen value for the alert engine and for the exporters of rules
Rule  a rule that cannot work is refused when it is made; the error names the rule and the field
Why   an alert that was misspelt is found out in the night in which it does not ring
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Final, Literal

from harness.core.indicator import Indicator
from harness.core.series import Labels, Observation
from harness.errors import ScenarioError

Op = Literal[">", ">=", "<", "<="]
COMPARE: Final[Mapping[Op, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
NO_DATA_ID: Final = "-no-data"
"""What the alert for missing data is called: the rule's id and this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """When somebody shall be told, and what. Seconds; thresholds in the unit of the indicator."""

    id: str
    """Its name: a-z, 0-9 and "-"."""
    of: Indicator
    """What is measured."""
    op: Op = ">"
    """How a value is compared with the threshold."""
    threshold: float
    """Beyond it the alert starts to count."""
    clear: float | None = None
    """Once firing, the alert holds until the value is back behind this one; none: behind ``threshold``."""
    also_window_s: float | None = None
    """A second window over which the same must hold: the pair of a burn rate."""
    for_s: float = 0.0
    """How long the value must be beyond the threshold before it fires."""
    keep_firing_for_s: float = 0.0
    """How long it goes on firing once the value is back."""
    min_count: float = 0.0
    """With fewer events (samples) in the window there is no data: three failures of four calls prove little."""
    coverage_min: float = 0.5
    """With a smaller share of the window's ticks seen there is no data."""
    no_data: Literal["keep", "ok", "alert"] = "keep"
    """keep: freeze; ok: as if all were well, which is what Prometheus does; alert: keep, and fire ID-no-data."""
    severity: Literal["page", "warn", "info"] = "warn"
    """page: somebody must act now; warn: today; info: to be seen."""
    summary: str
    """What is wrong, in one sentence."""
    runbook: str = ""
    """What to do first."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; ScenarioError names the rule, the field and what is wrong with it."""
        if ID.fullmatch(self.id) is None:
            raise ScenarioError(f"id: {self.id!r} must be 1 to 60 of a-z, 0-9 and '-', starting with a letter or digit")
        for problem in self._problems():
            raise ScenarioError(f"rule {self.id!r}: {problem}")

    def _problems(self) -> Iterable[str]:
        if self.op not in COMPARE:
            yield f"op: {self.op!r} is none of {', '.join(COMPARE)}"
        if not isfinite(self.threshold):
            yield f"threshold: must be a finite number, got {self.threshold}"
        if self.clear is not None and not (isfinite(self.clear) and COMPARE[self.wide_op](self.threshold, self.clear)):
            side = "below" if self.op in (">", ">=") else "above"
            yield f"clear: must be {side} the threshold {self.threshold:g} or equal to it, got {self.clear}"
        for name in ("for_s", "keep_firing_for_s", "min_count"):
            if not 0 <= getattr(self, name) < inf:
                yield f"{name}: must be a finite number of at least 0, got {getattr(self, name)}"
        if not 0 < self.coverage_min <= 1:
            yield f"coverage_min: must be above 0 and at most 1, got {self.coverage_min}"
        if self.also_window_s is not None and not 1 <= self.also_window_s < inf:
            yield f"also_window_s: must be a finite number of at least 1, got {self.also_window_s}"
        if self.no_data not in ("keep", "ok", "alert"):
            yield f"no_data: {self.no_data!r} is none of keep, ok, alert"
        if self.severity not in ("page", "warn", "info"):
            yield f"severity: {self.severity!r} is none of page, warn, info"
        if not self.summary.strip():
            yield "summary: say in one sentence what is wrong"

    @property
    def wide_op(self) -> Op:
        """The comparison with equality: what relates the threshold to ``clear``."""
        return ">=" if self.op in (">", ">=") else "<="

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        """What must be asked: one indicator, or the same over two windows."""
        if self.also_window_s is None:
            return (self.of,)
        return self.of, replace(self.of, window_s=self.also_window_s)

    def least(self, told: Iterable[Mapping[Labels, Observation]]) -> Mapping[Labels, Observation]:
        """Join what the indicators say: of every label set that all of them know, the value nearest to good."""
        first, *others = told
        nearest = min if self.op in (">", ">=") else max
        joined = dict(first)
        for other in others:
            joined = {
                labels: Observation(
                    nearest(one.value, other[labels].value),
                    min(one.n, other[labels].n),
                    min(one.coverage, other[labels].coverage),
                )
                for labels, one in joined.items()
                if labels in other
            }
        return joined
