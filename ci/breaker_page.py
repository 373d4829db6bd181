"""Breaker page: draws the state diagram and the tables of docs/reference/circuit-breaker.md; ``--check`` only compares.

In    NEXT, BreakerConfig and the enums of harness/core/breaker.py; the page, whose words are written by hand
Out   the page with the text between ``<!-- made: NAME -->`` and ``<!-- end -->`` made anew
Rule  the diagram is the machine's own table: an edge that is not drawn cannot happen
Why   a picture that is drawn by hand shows the machine that somebody once had in mind
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from harness.core.breaker import BY_HAND, NEXT, BreakerConfig, Outcome, Signal, State

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "circuit-breaker.md"
BLOCK: Final = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Write the page, or say that it is out of date."""
    now = PAGE.read_text("utf-8")
    made = fresh(now)
    if made == now:
        return 0
    if sys.argv[1:] == ["--check"]:
        print("docs/reference/circuit-breaker.md is out of date: run .venv/bin/python ci/breaker_page.py")
        return 1
    PAGE.write_text(made, "utf-8")
    print("docs/reference/circuit-breaker.md")
    return 0


def fresh(page: str) -> str:
    """Make every block of the page anew."""
    blocks = {"diagram": _diagram, "config": _config, "states": _states, "outcomes": _outcomes}
    return BLOCK.sub(lambda found: f"{found[1]}{chr(10).join(blocks[found[2]]())}\n{found[3]}", page)


def _diagram() -> Iterator[str]:
    yield "```mermaid\nstateDiagram-v2"
    yield f"    [*] --> {_name(State.CLOSED)}"
    for (state, signal), after in NEXT.items():
        if signal not in BY_HAND and signal is not Signal.CONFIGURED:
            yield f"    {_name(state)} --> {_name(after)}: {signal}"
    for signal, after in BY_HAND.items():
        assert all(NEXT[state, signal] is after for state in State), "by hand means from every state"
        yield f"    any_state --> {_name(after)}: {signal} by hand"
    yield "```"


def _config() -> Iterator[str]:
    texts = _texts(BreakerConfig)
    yield "| field | default | meaning |\n|---|---|---|"
    for field in fields(BreakerConfig):
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        yield f"| `{field.name}` | `{default}` | {texts[field.name]} |"


def _states() -> Iterator[str]:
    yield from _members("state", State)


def _outcomes() -> Iterator[str]:
    yield from _members("outcome", Outcome)


def _members(title: str, cls: type[enum.StrEnum]) -> Iterator[str]:
    texts = _texts(cls)
    yield f"| {title} | meaning |\n|---|---|"
    for member in cls:
        yield f"| `{member.value}` | {texts.get(member.name, 'What it says.')} |"


def _name(state: State) -> str:
    return state.value.replace("-", "_")


def _texts(cls: type[Any]) -> dict[str, str]:
    """The text that stands under each name of a class."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for line, after in zip(body.body, body.body[1:], strict=False):
        target = (
            line.target
            if isinstance(line, ast.AnnAssign)
            else line.targets[0]
            if isinstance(line, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[target.id] = " ".join(str(after.value.value).split()).replace("``", "`")
    return found


if __name__ == "__main__":
    sys.exit(main())
