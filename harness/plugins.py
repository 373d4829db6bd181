"""Plug-ins: a plug-in is one file in a seam's folder, or an entry point in the group named like the folder.

In    a seam: a package such as ``harness.injectors``
Out   the names in it, and the one class that a name stands for
Rule  a file's name is the plug-in's name (``crash_loop.py`` is "crash-loop"); its ``__all__`` holds one name;
      a leading underscore hides a file; nothing is imported until it is asked for
Why   adding a thing is adding one file; listing, option checks and contract tests find it by themselves
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from harness.core.decode import decode, suggest
from harness.errors import PluginError, ScenarioError


def names(seam: ModuleType) -> tuple[str, ...]:
    """List every plug-in of a seam, sorted; the project's own files and other packages' entry points."""
    own = {info.name.replace("_", "-") for info in pkgutil.iter_modules(seam.__path__) if not info.name.startswith("_")}
    others = {point.name for point in entry_points(group=seam.__name__)}
    return tuple(sorted({*own, *others}))


def load(seam: ModuleType, name: str) -> Any:
    """Import the class that ``name`` stands for; PluginError if there is none."""
    known = names(seam)
    folder = seam.__name__.replace(".", "/")
    if name not in known:
        raise PluginError(f"no plug-in {name!r} in {folder}{suggest(name, known)}")
    for point in entry_points(group=seam.__name__):
        if point.name == name:
            return point.load()
    module = importlib.import_module(f"{seam.__name__}.{name.replace('-', '_')}")
    exported: tuple[str, ...] = tuple(getattr(module, "__all__", ()))
    if len(exported) != 1:
        raise PluginError(f"{folder}/{name.replace('-', '_')}.py must have exactly one name in __all__")
    return getattr(module, exported[0])


def build(seam: ModuleType, name: str, options: object, path: str = "options") -> Any:
    """Make a plug-in with its options checked against its fields; ScenarioError names the wrong one."""
    cls = load(seam, name)
    if not (isinstance(cls, type) and is_dataclass(cls)):
        raise PluginError(f"{cls.__name__} in {seam.__name__} must be a frozen dataclass")
    try:
        return decode(cls, options, path)
    except (ValueError, TypeError) as error:
        raise ScenarioError(f"{path}: {error}") from None


def options(seam: ModuleType, name: str) -> dict[str, str]:
    """Map each option of a plug-in to its default, as text, for listings and docs; a needed one to ""."""
    return {field.name: _default(field) for field in fields(load(seam, name))}


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return repr(field.default)
    return "" if field.default_factory is MISSING else repr(field.default_factory())
