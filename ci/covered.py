"""Coverage: judges what a measured run of the tests has left behind.

In    the data files of ``coverage run`` (COVERAGE_FILE and what processes beside it wrote), combined here
Out   one line for each file that falls short; exit code 1 if a gate is broken
Rule  the reference services are covered whole, branch by branch; the rest in sum, with each weak file named
Why   a pure machine has no line that cannot be reached in a test; of what acts, some lines wait for a broken disk

ci/test runs it after the tests. By hand:

    .venv/bin/coverage run -m pytest -m "not unmeasured" tests/unit tests/contract tests/simulation tests/integration
    .venv/bin/python ci/covered.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

WHOLE: Final = "harness/services/"
"""Here every branch of every file."""
REST_MIN: Final = 85.0
"""Percent of lines and branches of all other files together."""
WEAK: Final = 85.0
"""A file below this is named, without breaking the gate."""


def main() -> int:
    """Combine, then judge."""
    # Whoever was killed in the middle of its last write has left a torn file: it is left out.
    subprocess.run([sys.executable, "-W", "ignore", "-m", "coverage", "combine", "--quiet"], check=False)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "coverage.json"
        done = subprocess.run(
            [sys.executable, "-m", "coverage", "json", "--quiet", "-o", str(target)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            print(f"coverage: nothing to judge: {(done.stdout + done.stderr).strip()}", file=sys.stderr)
            return 1
        files: dict[str, Any] = json.loads(target.read_text("utf-8"))["files"]
    summaries = {name.replace("\\", "/"): about for name, about in files.items()}
    whole = {name: about for name, about in summaries.items() if name.startswith(WHOLE)}
    rest = {name: about for name, about in summaries.items() if name not in whole}
    broken = [name for name, about in sorted(whole.items()) if share([about]) < 100]  # noqa: PLR2004 - all of it
    for name in broken:
        print(f"{name}: {share([whole[name]]):.1f} %, must be 100: {missing(whole[name])}")
    for name in sorted(rest, key=lambda each: share([rest[each]])):
        if share([rest[name]]) < WEAK:
            print(f"{name}: {share([rest[name]]):.1f} % (no gate)")
    reached = share(rest.values())
    print(f"coverage: {WHOLE} {share(whole.values()):.1f} % of {len(whole)} files; all else {reached:.1f} %")
    if not whole or broken:
        print(f"coverage: every branch under {WHOLE} must be tested", file=sys.stderr)
    if reached <= REST_MIN:
        print(f"coverage: all else must be above {REST_MIN:g} %", file=sys.stderr)
    return int(not whole or bool(broken) or reached <= REST_MIN)


def share(files: Any) -> float:
    """Percent of lines and branches that were run."""
    sums = [file["summary"] for file in files]
    there = sum(each["num_statements"] + each["num_branches"] for each in sums)
    run = sum(each["covered_lines"] + each["covered_branches"] for each in sums)
    return 100 * run / there if there else 100.0


def missing(file: Any) -> str:
    """Name the lines and branches that were not run."""
    lines = [str(line) for line in file["missing_lines"]]
    branches = [f"{start}->{'exit' if end < 0 else end}" for start, end in file["missing_branches"]]
    return f"lines {', '.join(lines) or 'all run'}; branches {', '.join(branches) or 'all taken'}"


if __name__ == "__main__":
    sys.exit(main())
