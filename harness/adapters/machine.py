"""Machine: what a reader must know of the computer to compare two runs.

In    nothing
Out   one ``MachineSeen``
Rule  only what stays the same from run to run: no load, no clock, no host name, no kernel's number
Why   two simulated runs with one seed have the same journal byte for byte, and a report names no person's machine
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from harness import __version__
from harness.core.events import MachineSeen


def seen() -> MachineSeen:
    """Look at this machine."""
    return MachineSeen(
        harness=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_mb=psutil.virtual_memory().total // 1_048_576,
    )


def _cpu() -> str:
    """The processor's model; its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
