"""Manual: what a behaviour says about itself, for people and for programs.

In    a behaviour's class
Out   its words, its options with type, default and words, as values and as text
Rule  read from the source, where an option's words stand as a text below the field; only asked for on --help, --list
Why   the docstring is the manual page: there is no second place that could be out of date
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from textwrap import dedent
from typing import Any

TYPES = ("str", "int", "float", "bool")
"""What an option can be, as in a scenario."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a behaviour; ``default`` is None if it must be given."""

    name: str
    type: str
    default: str | float | bool | None
    words: str

    @property
    def flag(self) -> str:
        """How it is written on the command line."""
        return f"--{self.name.replace('_', '-')}"


def type_of(field: Any) -> str:
    """Name a field's type; it is a text under ``from __future__ import annotations`` and a class without."""
    return field.type if isinstance(field.type, str) else field.type.__name__


def text_of(value: object) -> str:
    """Write a value as it is written on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def options(cls: Any) -> tuple[Option, ...]:
    """List the options of a behaviour."""
    words = _words(cls)
    return tuple(
        Option(
            field.name,
            type_of(field),
            None if field.default is MISSING else field.default,
            words.get(field.name, ""),
        )
        for field in fields(cls)
    )


def headline(cls: Any) -> str:
    """Give the first line of a behaviour's manual page."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def page(name: str, cls: Any) -> str:
    """Write a behaviour's manual page."""
    lines = [f"python -m fake_bots {name} [--option value ...] [--seed N]", "", inspect.getdoc(cls) or "", ""]
    rows = [
        *((f"{one.flag} {one.type}", f"{one.words} (default: {shown(one)})") for one in options(cls)),
        ("--seed int", "All dice are thrown from it. (default: 0)"),
    ]
    return "\n".join([*lines, *table(rows)])


def table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Set two columns."""
    width = max(len(left) for left, _ in rows)
    return [f"  {left:{width}}  {right}" for left, right in rows]


def shown(option: Option) -> str:
    """Write a default as it reads best in a table."""
    return repr(option.default) if isinstance(option.default, str) else text_of(option.default)


def _words(cls: Any) -> dict[str, str]:
    """Find the text below each field in the class's source."""
    body = ast.parse(dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
    return found
