"""Conformance from the command line, without pytest: ``python -m harness.conformance MODULE:ADAPTER``.

In    MODULE:NAME or FILE.py:NAME of an adapter; ``--json`` for one JSON line a scenario
Out   a line for each scenario and kind, and the figures; exit code 1 if the breaker failed any, 2 for wrong words
Rule  lines are written as the scenarios end, so that whoever reads them knows where it hung
Why   a table of many breakers is made of many such runs, each in a process of its own
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import json
import os
import sys

from harness.conformance.loading import load
from harness.conformance.running import play, plays
from harness.conformance.values import Status
from harness.errors import EXIT_FAILED, EXIT_PASS, EXIT_USAGE, UsageError


def main(words: list[str] | None = None) -> int:
    """Play all scenarios."""
    parser = argparse.ArgumentParser(prog="python -m harness.conformance", description="Check a circuit breaker.")
    parser.add_argument("adapter", help="MODULE:NAME or FILE.py:NAME of an adapter")
    parser.add_argument("--json", action="store_true", help="one JSON line a scenario")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many plays at the beginning")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    options = parser.parse_args(words)
    try:
        adapter = load(options.adapter)
    except UsageError as error:
        print(f"harness: {error}", file=sys.stderr)
        return EXIT_USAGE
    counts: collections.Counter[Status] = collections.Counter()
    for scenario, kind in itertools.islice(plays(), options.skip, None):
        if options.only not in scenario.name:
            continue
        report = play(adapter, scenario, kind)
        counts[report.status] += 1
        if options.json:
            print(json.dumps(dataclasses.asdict(report)), flush=True)
        else:
            print(
                f"{report.status:<4}  {scenario.name} [{kind}]{': ' * bool(report.evidence)}{report.evidence}",
                flush=True,
            )
    if not options.json:
        print(", ".join(f"{counts[status]} {status}" for status in Status))
    return EXIT_FAILED if counts[Status.FAILED] else EXIT_PASS


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Threads of calls that hung would keep the process; they hold nothing that anybody needs.
