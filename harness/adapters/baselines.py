"""Baselines: the reviewed figures of earlier runs, one file for each machine and scenario.

In    a baseline as core/baseline.py makes it; the folders in which baselines stand
Out   ``reports/baselines/<machine>/<scenario>.json``; or the baseline that belongs to a run
Rule  one scenario, one file, sorted keys: a change of a baseline reads well in a review
Why   figures are compared with what somebody looked at and agreed to, never with whatever ran last
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.baseline import baseline_of, machine_of
from harness.core.events import MachineSeen
from harness.core.verdict import Verdict
from harness.errors import UsageError


def keep(verdict: Verdict, folder: Path) -> list[Path]:
    """Write a run's figures as the baseline of its machine; a distance that did not run keeps what it had."""
    made = baseline_of(verdict)
    written = []
    for scenario in sorted({case["case"] for case in made["cases"].values()}):
        path = folder / machine_name(verdict.machine) / f"{scenario}.json"
        cases = {title: case for title, case in made["cases"].items() if case["case"] == scenario}
        before = load(path) if path.exists() else {}
        if before.get("schema") == made["schema"] and before.get("machine") == made["machine"]:
            cases = {**before["cases"], **cases}
        _write(path, {**made, "cases": cases})
        written.append(path)
    return written


def belonging(verdict: Verdict, folders: Sequence[Path]) -> dict[str, Any]:
    """Put together the baseline of every case in a run; UsageError if there is none at all.

    This machine's own comes first; else another machine's, whose simulated figures are as good. Each case says of which
    machine it is.
    """
    found: dict[str, Any] = {}
    cases: dict[str, Any] = {}
    for case in verdict.cases:
        for path in _candidates(case.case, verdict.machine, folders):
            baseline = load(path)
            if case.title() in baseline.get("cases", {}):
                cases[case.title()] = {"machine": baseline.get("machine"), **baseline["cases"][case.title()]}
                found = found or {"schema": baseline.get("schema"), "run": baseline.get("run")}
                break
    if not cases:
        names = ", ".join(str(folder) for folder in folders)
        raise UsageError(f"no baseline for {verdict.run} in {names}; `harness bless RUN` keeps one")
    return {**found, "cases": cases}


def load(path: Path) -> dict[str, Any]:
    """Read one file; UsageError if it is none of ours."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: no baseline ({getattr(error, 'strerror', None) or error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("cases"), dict):
        raise UsageError(f"{path}: no baseline (it holds no table of cases)")
    for title, case in data["cases"].items():
        figures = case.get("figures") if isinstance(case, dict) else None
        if not isinstance(figures, dict) or not all(value is None or _is_number(value) for value in figures.values()):
            raise UsageError(f"{path}: no baseline (the case {title!r} has no table of figures that are numbers)")
    return data


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no figure")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def machine_name(machine: MachineSeen | None) -> str:
    """Name a machine for a path: readable, and different for every machine that is not comparable."""
    facts: Mapping[str, Any] = machine_of(machine) or {}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    words = f"{facts.get('system', 'unknown')}-{facts.get('cores', 0)}-cores-python-{facts.get('python', '')}"
    return f"{re.sub(r'[^a-z0-9.]+', '-', words.lower()).strip('-')}-{digest}"


def _candidates(scenario: str, machine: MachineSeen | None, folders: Sequence[Path]) -> Iterator[Path]:
    own = machine_name(machine)
    for folder in folders:
        yield from (path for path in [folder / own / f"{scenario}.json"] if path.is_file())
    for folder in folders:
        yield from sorted(path for path in folder.glob(f"*/{scenario}.json") if path.parts[len(folder.parts)] != own)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside it first: a disk that is full must not cost the baseline that stands there.
        draft = path.with_name(f".{path.name}.tmp")
        draft.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        path.with_name(f".{path.name}.tmp").unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written ({error.strerror})") from None
