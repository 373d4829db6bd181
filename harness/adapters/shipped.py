"""Shipped: where the scenarios and the reviewed baselines are that a command uses.

In    ``--scenarios DIR``, or nothing
Out   the two folders, and in words why these
Rule  the first that is there: the folder that was asked for; the checkout beside the package; what the wheel brought
Why   a checkout uses its own files, an installed wheel works in an empty folder, and ``harness where`` tells which
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import UsageError

PROJECT: Final = "hive-harness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders a command reads; ``origin`` says in words how they were found."""

    scenarios: Path
    baselines: Path
    origin: str


def find(scenarios: Path | None = None) -> Places:
    """Find scenarios and baselines; UsageError if a folder that was asked for is not there."""
    own = _own()
    if scenarios is None:
        return own
    if not scenarios.is_dir():
        raise UsageError(f"--scenarios {scenarios}: no such folder")
    return Places(scenarios=scenarios, baselines=own.baselines, origin="asked for with --scenarios")


def checkout() -> Path | None:
    """The working copy that this package runs from; None for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    # A pyproject.toml beside site-packages may be anybody's: only one with our name makes this a checkout.
    return root if project.get("project", {}).get("name") == PROJECT else None


def _own() -> Places:
    root = checkout()
    if root is not None:
        return Places(
            scenarios=root / "scenarios", baselines=root / "reports" / "baselines", origin="the checkout of the package"
        )
    shipped = Path(__file__).resolve().parents[1] / "_shipped"
    return Places(scenarios=shipped / "scenarios", baselines=shipped / "baselines", origin="shipped with the package")
