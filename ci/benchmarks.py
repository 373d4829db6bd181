"""Benchmarks: what a call of ours costs beside that of others, measured in one run, written into the docs.

In    the files of ci/benchmark_groups: each has ``groups()``, a list of (title, words, cases); a case does it n times
Out   docs/reference/benchmarks.md
Rule  CPU time of the thread, so that a busy machine matters less; rounds in which every case has its turn, so that a
      slower moment is one for all; the least and the median of the rounds; no number is typed in
Why   a new thing to measure is one file or one line there; everybody's numbers come from the same run
"""

from __future__ import annotations

import gc
import importlib.util
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs/reference/benchmarks.md"
FOLDER: Final = Path(__file__).with_name("benchmark_groups")
ROUNDS: Final = 60
ROUND_NS: Final = 2_000_000
"""How long a case's turn in a round takes, at least."""
Case = Callable[[int], object]
Group = tuple[str, str, Mapping[str, Case]]


def main() -> int:
    """Measure everything and write the page."""
    PAGE.write_text("\n".join(page()) + "\n", "utf-8")
    print(PAGE.relative_to(ROOT))
    return 0


def found() -> Iterator[Group]:
    """All groups of all files."""
    for path in sorted(FOLDER.glob("*.py")):
        yield from loaded(path).groups()


def loaded(path: Path) -> Any:
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(cases: Mapping[str, Case], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Nanoseconds of CPU a time, for each case and round."""
    times = {name: _enough(case) for name, case in cases.items()}
    taken: dict[str, list[float]] = {name: [] for name in cases}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, case in cases.items():
                taken[name].append(_ns(case, times[name]) / times[name])
    finally:
        gc.enable()
    return taken


def _enough(case: Case) -> int:
    times = 100
    while _ns(case, times) < ROUND_NS:
        times *= 2
    return times


def _ns(case: Case, times: int) -> int:
    before = time.thread_time_ns()
    case(times)
    return time.thread_time_ns() - before


def page() -> Iterator[str]:
    """Write the page."""
    yield HEAD
    yield (
        f"Measured with Python {platform.python_version()} on {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores; {ROUNDS} rounds.\n"
    )
    for title, words, cases in found():
        taken = measured(cases)
        first = min(taken[next(iter(cases))])
        ours = next((min(taken[name]) for name in cases if name.startswith("**")), None)
        yield f"## {title}\n\n{words}\n"
        yield f"| | least ns | median ns | x first row |{' x ours |' * (ours is not None)}"
        yield f"|---|---:|---:|---:|{'---:|' * (ours is not None)}"
        for name, each in taken.items():
            least = min(each)
            compared = "" if ours is None else f" {least / ours:.2f} |"
            yield f"| {name} | {least:,.0f} | {statistics.median(each):,.0f} | {least / first:.1f} |{compared}"
        yield ""


HEAD: Final = """\
<!-- Written by ci/benchmarks.py: run `.venv/bin/python ci/benchmarks.py` to measure again. -->
# Benchmarks

What one call costs, ours in bold, beside other libraries in the same run: CPU time of the thread, in rounds in which
every case has its turn. The least of the rounds is what the code costs; the median tells what else the machine did.
Compare within a table, not between runs: on a shared machine the same code differs by a tenth from run to run, and by
twice from machine to machine. For a service with a hundred users none of these numbers decides anything; they are the
noise floor of what is measured through them.
"""

if __name__ == "__main__":
    sys.exit(main())
