"""Decode: a mapping (from TOML or JSON) into frozen dataclasses, refusing whatever does not fit.

In    the class that is wanted, the data, the path for messages ("$" is the whole file)
Out   an instance; or ScenarioError "$.load: unknown field 'user' (did you mean 'users'?)"
Rule  nothing is guessed: no conversion but int to float and list to tuple
Why   a misspelt option that is silently ignored is a test that silently proves nothing
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from textwrap import shorten
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from harness.errors import ScenarioError

T = TypeVar("T")


def decode(cls: type[T], data: object, path: str = "$") -> T:
    """Build ``cls`` from ``data``; every error names the path."""
    value: T = _dataclass(cls, data, path)
    return value


def suggest(word: str, known: typing.Iterable[str]) -> str:
    """Say " (did you mean 'x'?)", or list what there is."""
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(sorted(names))})" if names else ""


def _dataclass(cls: Any, data: object, path: str) -> Any:
    if not isinstance(data, Mapping):
        raise ScenarioError(f"{path}: must be a table, got {_said(data)}")
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}
    for name in data:
        if name not in known:
            raise ScenarioError(f"{path}: unknown field {name!r}{suggest(str(name), known)}")
    for name, field in known.items():
        if name not in data and field.default is MISSING and field.default_factory is MISSING:
            raise ScenarioError(f"{path}: needs the field {name!r}")
    values = {name: _value(hints[name], data[name], f"{path}.{name}") for name in data}
    try:
        return cls(**values)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}" if not str(error).startswith("$") else str(error)) from None


def _value(hint: Any, data: object, path: str) -> Any:
    origin = get_origin(hint)
    if is_dataclass(hint):
        return _dataclass(hint, data, path)
    if origin is Literal:
        if data in get_args(hint):
            return data
        raise ScenarioError(f"{path}: {data!r} is not one of {', '.join(map(str, get_args(hint)))}")
    if origin in (Union, types.UnionType):
        return _union(get_args(hint), data, path)
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise ScenarioError(f"{path}: must be a list, got {_said(data)}")
        return tuple(_value(get_args(hint)[0], item, f"{path}[{place}]") for place, item in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise ScenarioError(f"{path}: must be a table, got {_said(data)}")
        return {str(name): _value(get_args(hint)[1], item, f"{path}.{name}") for name, item in data.items()}
    return _scalar(hint, data, path)


def _union(choices: tuple[Any, ...], data: object, path: str) -> Any:
    if data is None and type(None) in choices:
        return None
    real = [choice for choice in choices if choice is not type(None)]
    if len(real) == 1:
        return _value(real[0], data, path)
    for choice in real:
        if type(data) is choice:
            return data
    raise ScenarioError(f"{path}: must be {' or '.join(_called(choice) for choice in real)}, got {_said(data)}")


def _scalar(hint: Any, data: object, path: str) -> Any:
    if hint is float and type(data) is int:
        return float(data)
    if type(data) is hint or hint is Any or hint is object:
        return data
    raise ScenarioError(f"{path}: must be {_called(hint)}, got {_said(data)}")


def _called(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(hint, str(hint))


def _said(data: object) -> str:
    return shorten(repr(data), 40, placeholder="...")
