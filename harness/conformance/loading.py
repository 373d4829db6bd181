"""Loading: an adapter by its name.

In    ``package.module:Name`` or ``path/to/file.py:Name``
Out   the adapter; a class is made an instance
Rule  what is not there, or lacks one of the three functions, is a UsageError that says so
Why   the same words name an adapter for pytest and for the command line
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.conformance.values import Adapter
from harness.errors import UsageError

FUNCTIONS = ("make", "guard", "state")


def load(name: str) -> Adapter:
    """Import the module, or the file, and take the adapter out of it."""
    where, colon, attribute = name.rpartition(":")
    if not colon or not where:
        raise UsageError(f"an adapter is named MODULE:NAME or FILE.py:NAME, not {name!r}")
    module = _file(Path(where)) if where.endswith(".py") else _module(where)
    found: Any = getattr(module, attribute, None)
    if found is None:
        raise UsageError(f"{where} has no {attribute!r}")
    try:
        adapter: Any = found() if inspect.isclass(found) else found
    except TypeError as error:
        raise UsageError(f"an adapter is a class without arguments, or an instance; {name}: {error}") from error
    missing = [function for function in FUNCTIONS if not callable(getattr(adapter, function, None))]
    if missing:
        raise UsageError(f"{name} is no adapter: it has no {', '.join(missing)}")
    return adapter  # type: ignore[no-any-return]


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"cannot import {name}: {error}") from error


def _file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
