"""Conformance: plays the suite with our breaker and with five others, and writes the table of the docs.

In    the adapters of ci/conformance_peers.py and harness/conformance/reference.py
Out   docs/reference/breaker-conformance.md; ``--check`` only compares and exits 1 if it is out of date
Rule  one process for each breaker; one that hangs is ended, fails that scenario, and goes on with the next
Why   a table that is typed in is a claim; this one is a measurement that anybody can repeat
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from harness.conformance import Kind, Scenario, Status, plays

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs/reference/breaker-conformance.md"
PEERS: Final = "ci/conformance_peers.py"
BREAKERS: Final = {
    "ours": "harness.conformance.reference:Reference",
    "interlock-cb": f"{PEERS}:InterlockCb",
    "circuitbreaker": f"{PEERS}:CircuitBreaker",
    "aiobreaker": f"{PEERS}:AioBreaker",
    "purgatory": f"{PEERS}:Purgatory",
    "pybreaker": f"{PEERS}:PyBreaker",
}
LINE_MAX_S: Final = 60.0
"""A breaker that says nothing for so long hangs beyond what the suite itself can cut off."""
Table = dict[tuple[str, str], tuple[str, str]]


def main() -> int:
    """Measure, then write or compare."""
    tables = {name: measured(adapter) for name, adapter in BREAKERS.items()}
    text = "\n".join(page(tables)) + "\n"
    if sys.argv[1:] == ["--check"]:
        same = PAGE.exists() and PAGE.read_text("utf-8") == text
        print(f"{PAGE.relative_to(ROOT)} is {'up to date' if same else 'out of date: run ci/conformance.py'}")
        return 0 if same else 1
    PAGE.write_text(text, "utf-8")
    print(PAGE.relative_to(ROOT))
    return 0


def measured(adapter: str) -> Table:
    """Play everything in processes of their own: {(scenario, kind): (status, evidence)}."""
    table: Table = {}
    wanted = [(scenario.name, kind.value) for scenario, kind in plays()]
    while len(table) < len(wanted):
        before = len(table)
        _measure(adapter, table, start=before)
        if len(table) == before:
            table[wanted[before]] = (Status.FAILED, f"the process said nothing for {LINE_MAX_S:g} s")
    return table


def _measure(adapter: str, table: Table, *, start: int) -> None:
    command = [sys.executable, "-m", "harness.conformance", adapter, "--json", "--skip", str(start)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        watch = _watch(process)
        for line in process.stdout:
            watch.cancel()
            watch = _watch(process)
            said = json.loads(line)
            table[said["scenario"], said["kind"]] = (said["status"], said["evidence"])
        watch.cancel()


def _watch(process: subprocess.Popen[str]) -> threading.Timer:
    timer = threading.Timer(LINE_MAX_S, process.kill)
    timer.daemon = True
    timer.start()
    return timer


# --- The page ---------------------------------------------------------------------------------------------------------
HEAD: Final = """\
<!-- Written by ci/conformance.py: run `.venv/bin/python ci/conformance.py` to measure again. -->
# Conformance of circuit breakers

What callers rely on, played against our breaker and five others from the package index, each configured alike: three
failures in a row open it, half-open lets one probe through, one good probe closes it. Each is wrapped as its own
decorator does; where a library has a choice, the one that holds more scenarios is taken (pybreaker:
`throw_new_error_on_trip=False`). How to check a breaker of your own: [how-to](../how-to/check-your-own-breaker.md).

- **pass**: held. **FAIL**: did not; below stands what was seen. **n/a**: not offered by the library; below stands why.
- *tasks*: coroutine functions in an event loop. *threads*: plain functions, each call in a thread of its own.
- Time is virtual: no scenario waits for a cooldown. A library that takes no clock is shown one in its own modules.
"""


def page(tables: dict[str, Table]) -> Iterator[str]:
    """Write the page."""
    yield HEAD
    yield from _figures(tables)
    yield "## The table\n"
    names = [name if name == "ours" else f"{name} {version(name)}" for name in tables]
    yield f"| scenario | kind | {' | '.join(names)} |"
    yield f"|---|---|{'---|' * len(names)}"
    for scenario, kind in plays():
        cells = [_cell(table[scenario.name, kind.value][0]) for table in tables.values()]
        yield f"| [{scenario.name}](#{scenario.name}) | {kind} | {' | '.join(cells)} |"
    yield "\n## The scenarios\n"
    told: set[str] = set()
    for scenario, _ in plays():
        if scenario.name not in told:
            told.add(scenario.name)
            yield from _told(scenario, tables)


def _figures(tables: dict[str, Table]) -> Iterator[str]:
    yield f"{len({scenario.name for scenario, _ in plays()})} scenarios, {len(list(plays()))} plays for each breaker.\n"
    yield "| breaker | pass | FAIL | n/a |"
    yield "|---|---|---|---|"
    for name, table in tables.items():
        counts = Counter(status for status, _ in table.values())
        yield f"| {name} | {' | '.join(str(counts[status]) for status in Status)} |"
    yield ""


def _cell(status: str) -> str:
    return f"**{status}**" if status == Status.FAILED else status


def _told(scenario: Scenario, tables: dict[str, Table]) -> Iterator[str]:
    yield f"### {scenario.name}\n"
    yield f"{scenario.requirement} *{scenario.why}*\n"
    for name, table in tables.items():
        seen: dict[tuple[str, str], list[Kind]] = {}
        for kind in scenario.kinds:
            status, evidence = table[scenario.name, kind.value]
            if status != Status.PASSED:
                seen.setdefault((status, evidence), []).append(kind)
        for (status, evidence), kinds in seen.items():
            yield f"- {name}, {' and '.join(kinds)}: {status}: {evidence}"
    yield ""


if __name__ == "__main__":
    sys.exit(main())
