"""``python -m harness`` and the command ``harness``.

In    the words of the command line, by way of cli.py
Out   the exit code
Rule  Ctrl-C counts from the first moment on: while the rest is still being imported, too
Why   a traceback tells somebody who pressed Ctrl-C nothing
"""

from __future__ import annotations

import os
import sys


def entry() -> int:
    """Run the command line; 130 if it was interrupted before it could begin."""
    if sys.stdout is None:  # Started with stdout closed: what is said there, nobody wants to hear.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - it stays open to the end
    try:
        from harness.cli import main  # noqa: PLC0415 - importing takes long enough to be interrupted

        return main()
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(entry())
