"""Each of these small mistakes must be found by the stories of test_circuit_breaker.py, or they would prove nothing."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

STORIES: Final = Path(__file__).with_name("test_circuit_breaker.py")
# In the order in which they import each other.
MODULES: Final = ("harness.core.breaker", "harness.core.window", "harness.services.circuit_breaker")
WORDS, WINDOW, MACHINE = MODULES

MUTANTS: Final = [
    pytest.param(MACHINE, old, new, id=name)
    for name, old, new in (
        ("trips one failure late", "self._streak >= config.failures_max", "self._streak > config.failures_max"),
        ("judges rates one call late", "counts.calls < config.calls_min", "counts.calls <= config.calls_min"),
        ("a rate must be exceeded", "bad / counts.calls >= limit", "bad / counts.calls > limit"),
        ("a rate by a product", "bad / counts.calls >= limit", "bad >= limit * counts.calls"),
        ("slow counts as failed", "(counts.slow, config.slow_rate,", "(counts.failed, config.slow_rate,"),
        ("bad counts only failures", "(counts.bad, config.bad_rate,", "(counts.failed, config.bad_rate,"),
        ("a success trips too", "if failed or slow:\n            self._trip", "if ended:\n            self._trip"),
        ("a success leaves the streak", "self._streak = self._streak + 1 if failed else 0", "self._streak += failed"),
        (
            "a cancelled call ends the streak",
            "        if ended:\n            self._streak =",
            "        if True:\n            self._streak =",
        ),
        ("a cancelled call counts as a call", "if ended or slow:", "if True:"),
        ("a cancelled call was never slow", "if ended or slow:", "if ended:"),
        ("being throttled is no failure", "(Outcome.FAILURE, Outcome.THROTTLED)", "(Outcome.FAILURE,)"),
        (
            "a cancelled probe proves it",
            "elif ended:\n            self._streak = 0",
            "else:\n            self._streak = 0",
        ),
        (
            "slow probes are always bad",
            "elif slow and (self._config.slow_rate or self._config.bad_rate):",
            "elif slow:",
        ),
        (
            "slow probes are bad by one rate only",
            "(self._config.slow_rate or self._config.bad_rate)",
            "self._config.slow_rate",
        ),
        (
            "one good probe too many",
            "self._good_probes > self._config.probes -",
            "self._good_probes >= self._config.probes -",
        ),
        (
            "one bad probe too many",
            "self._bad_probes >= self._config.probe_failures_max",
            "self._bad_probes > self._config.probe_failures_max",
        ),
        ("any number of probes at once", ">= min(self._config.probes_max, undecided)", ">= undecided"),
        ("more probes than the verdict needs", "min(self._config.probes_max, undecided)", "self._config.probes_max"),
        (
            "a hung probe holds its place for ever",
            "self._config.lease_s if first.probe else self._slow_s",
            "_NEVER if first.probe else self._slow_s",
        ),
        ("an expired lease is no bad probe", "self._fail_probe(Cause.LEASE_EXPIRED, due)", "pass"),
        (
            "late notice lengthens the cooldown",
            "self._fail_probe(Cause.LEASE_EXPIRED, due)",
            "self._fail_probe(Cause.LEASE_EXPIRED, self._now)",
        ),
        ("renewing does not move to the end", "        self._open.move_to_end(permit)\n", ""),
        (
            "renewing forgets the silence",
            "permit.silent_s = max(permit.silent_s, now - permit.since)",
            "permit.silent_s = 0.0",
        ),
        ("slow one moment late", ") >= self._slow_s\n", ") > self._slow_s\n"),
        ("the caller's measure is ignored", "silent_s if took_s is None else took_s", "silent_s"),
        ("calls in flight are never slow", "            self._trip(due, in_flight=True)\n", ""),
        ("hung calls are forgotten", "self._keep(self._hung, hung)", "pass"),
        ("hung calls do not count", "window, hung = self._window, len(self._hung)", "window, hung = self._window, 0"),
        (
            "late results count",
            "            self._keep(self._stragglers, permit)\n        self._open.clear()\n",
            "            pass\n",
        ),
        ("a permit settles twice", "        del where[permit]\n", ""),
        ("a good permit settles twice", "            del self._open[permit]\n", ""),
        (
            "any permit is good",
            "            and permit in self._open\n",
            "            and (self._open.setdefault(permit) is None)\n",
        ),
        ("calm after a change", "        self._calm_until = -_NEVER\n\n    def _tell", "\n    def _tell"),
        ("calm outlasts slow calls", "min(self._due(), fresh_until, now + self._slow_s)", "fresh_until"),
        (
            "calm outlasts a slice",
            "min(self._due(), fresh_until, now + self._slow_s)",
            "min(self._due(), now + self._slow_s)",
        ),
        ("good calls are not written down", "self._window.succeed(self._good)", "self._window.succeed(0)"),
        (
            "good calls end no streak",
            "                self._streak = 0\n            self._totals",
            "            self._totals",
        ),
        (
            "disabled counts",
            "            if self._state is not State.DISABLED:\n                self._window",
            "            if True:\n                self._window",
        ),
        (
            "disabled judges",
            "elif self._state is not State.DISABLED:\n            self._judge",
            "else:\n            self._judge",
        ),
        (
            "metrics-only trips",
            "if self._state is not State.CLOSED:\n            return",
            "if self._state is State.DISABLED:\n            return",
        ),
        ("metrics-only ignores deaths", "in (State.CLOSED, State.METRICS_ONLY)", "is State.CLOSED"),
        ("the window survives a change", "        self._window.clear()\n", ""),
        (
            "votes survive a change",
            "        self._good_probes = self._bad_probes = 0\n        if after",
            "        if after",
        ),
        ("the streak survives closing", "        if after is State.CLOSED:\n            self._streak = 0\n", ""),
        ("attempts survive closing", "        elif after is State.CLOSED:\n            self._attempt = 0\n", ""),
        ("generations stand still", "        self._generation += 1\n", ""),
        ("the cooldown never grows", "self._grown_s * config.cooldown_growth", "self._grown_s"),
        ("growth has no limit", "self._grown_s = min(cap_s, grown_s)", "self._grown_s = grown_s"),
        (
            "the limit cuts the cooldown",
            "cap_s = max(config.cooldown_s, config.cooldown_max_s)",
            "cap_s = config.cooldown_max_s",
        ),
        ("a wish has no limit", "min(cap_s, self._retry_until - at)", "self._retry_until - at"),
        ("a wish is ignored", "max(self._grown_s, min(cap_s, self._retry_until - at))", "self._grown_s"),
        (
            "a wish is heard from everybody",
            "        if failed:\n            self._retry_until",
            "        if True:\n            self._retry_until",
        ),
        ("jitter takes away", "(1 + config.cooldown_jitter", "(1 - config.cooldown_jitter"),
        ("an override never ends", "(cooldown_s or ttl_s or _NEVER)", "(cooldown_s or _NEVER)"),
        ("time may go back", "self._now = now = max(now, before)", "self._now = now"),
        ("a new configuration reaches back", "self._happen(max(due, before))", "self._happen(due)"),
        ("a new configuration is not numbered", "        self._version += 1\n", ""),
        ("moves are handed out twice", "        self.moves.clear()\n", ""),
        ("the oldest of too many stays", "where.popitem(last=False)", "where.popitem(last=True)"),
    )
] + [
    pytest.param(module, old, new, id=name)
    for module, name, old, new in (
        (
            WORDS,
            "forced open is believed to be over",
            "(State.FORCED_OPEN, Signal.EXPIRED): State.HALF_OPEN",
            "(State.FORCED_OPEN, Signal.EXPIRED): State.CLOSED",
        ),
        (
            WORDS,
            "relapse closes",
            "(State.HALF_OPEN, Signal.RELAPSED): State.OPEN",
            "(State.HALF_OPEN, Signal.RELAPSED): State.CLOSED",
        ),
        (WORDS, "the share of probes is rounded down", "max(1, math.ceil(round(", "max(1, math.floor(round("),
        (WINDOW, "the ring never wraps in time", "if self.calls == len(ring):", "if self.calls > len(ring):"),
        (WINDOW, "the ring forgets to subtract", "self._add(ring[at], -1)", "pass"),
        (WINDOW, "a slice is kept for too long", "index > self._index:", "index > self._index + 1:"),
        (WINDOW, "a slice is subtracted twice", "                    self._slices[place] = (0, 0, 0, 0)\n", ""),
        (WINDOW, "failed and slow are two bad calls", "self.bad += sign\n", "self.bad += sign * code.bit_count()\n"),
    )
]


def test_without_a_mistake_every_story_holds() -> None:
    assert broken(MACHINE, "", "") is None


@pytest.mark.parametrize(("module", "old", "new"), MUTANTS)
def test_the_mistake_is_found(module: str, old: str, new: str) -> None:
    source = source_of(module)
    assert source.count(old) == 1, "the mistake must be made at one place: write more of its surroundings"
    assert broken(module, old, new) is not None, "no story has noticed"


def source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text("utf-8")


def broken(module: str, old: str, new: str) -> str | None:
    """Play all stories with one text replaced in one module; the name of the first that fails."""
    real = {name: importlib.import_module(name) for name in MODULES}
    try:
        for name in MODULES:
            source = source_of(name)
            sys.modules[name] = run(name, source.replace(old, new) if name == module and old else source)
        stories = run("stories", STORIES.read_text("utf-8"))
    finally:
        sys.modules.update(real)
        sys.modules.pop("stories", None)
    for name, story in calls(stories):
        try:
            story()
        except BaseException as failure:  # pytest's own failures are no Exceptions
            if isinstance(failure, KeyboardInterrupt):
                raise
            return name
    return None


def run(name: str, source: str) -> types.ModuleType:
    made = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), vars(made))  # the very point: a module with a mistake in it
    return made


def calls(stories: types.ModuleType) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every test of the module with every combination of its parameters, as pytest would call it."""
    for name, test in vars(stories).items():
        if name.startswith("test_"):
            tables = [mark.args for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
            for row in itertools.product(*(cases for _, cases in tables)):
                words: dict[str, Any] = {}
                for (names, _), case in zip(tables, row, strict=True):
                    values = getattr(case, "values", case)
                    words |= {names: case} if isinstance(names, str) else dict(zip(names, values, strict=True))
                yield name, functools.partial(test, **words)
