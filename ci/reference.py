"""Reference: writes the pages of docs/reference that follow from the code; ``--check`` only compares.

In    the command line's parser, the dataclasses of a scenario, the figures, the faults
Out   docs/reference/{cli,scenario,figures}.md and the table in metrics.md; in other pages there the tables between marks
Rule  what is said about a field is the text under the field: one source, so page and program cannot differ
Why   a reference that is written by hand is right on the day it is written
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

from harness import cli, injectors, plugins
from harness.core.families import FAMILIES
from harness.core.figures import FIGURES
from harness.core.scenario import Bot, Bound, FaultPlan, Load, MemoryPlan, Scenario
from harness.core.settings import Settings

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
_FIELDS: Final = re.compile(r"<!-- fields of ([\w.]+) -->.*?<!-- end of fields -->", re.DOTALL)
MADE: Final = "<!-- Written by ci/reference.py: change the code, then run `.venv/bin/python ci/reference.py`. -->\n"


def main() -> int:
    """Write the pages, or say which of them are out of date."""
    stale = [name for name, text in pages().items() if _now(name) != text]
    if sys.argv[1:] == ["--check"]:
        print(
            "\n".join(f"docs/reference/{name} is out of date: run .venv/bin/python ci/reference.py" for name in stale)
        )
        return 1 if stale else 0
    for name in stale:
        (FOLDER / name).write_text(pages()[name], "utf-8")
        print(f"docs/reference/{name}")
    return 0


def pages() -> dict[str, str]:
    """Make every page: its name and its text."""
    made = {"cli.md": _cli(), "scenario.md": _scenario(), "figures.md": _figures()}
    whole = {name: f"{MADE}{chr(10).join(lines).rstrip()}\n" for name, lines in made.items()}
    return {**_filled(), **whole, "metrics.md": _metrics()}


def _filled() -> dict[str, str]:
    """Fill the tables of fields in pages that are written by hand: ``<!-- fields of harness.core.x.Y -->``."""
    texts = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.md")}
    return {name: _FIELDS.sub(_fields, text) for name, text in texts.items() if _FIELDS.search(text)}


def _fields(found: re.Match[str]) -> str:
    module, _, name = found[1].rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    texts = _texts(cls)
    rows = "\n".join(
        f"| `{field.name}` | {_default(field)} | {_cell(texts.get(field.name, ''))} |" for field in fields(cls)
    )
    return (
        f"<!-- fields of {found[1]} -->\n| field | default | meaning |\n|---|---|---|\n{rows}\n<!-- end of fields -->"
    )


def _now(name: str) -> str:
    path = FOLDER / name
    return path.read_text("utf-8") if path.exists() else ""


# --- cli.md -----------------------------------------------------------------------------------------------------------
def _cli() -> Iterator[str]:
    yield "# The command line\n"
    yield "Errors are one line on stderr, `harness: ...`; [exit codes](exit-codes.md) say what kind of end it was."
    yield "Ctrl-C (and SIGTERM) ends a run in order: what it saw until then is judged and reported.\n"
    (commands,) = [action for action in cli.parser()._actions if isinstance(action.choices, dict)]  # noqa: SLF001
    assert isinstance(commands.choices, dict)
    for name, parser in commands.choices.items():
        yield from _command(name, parser)
    yield SERVE_NOTES


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## harness {name}\n"
    yield f"{parser.description}\n"
    actions = [action for action in parser._actions if action.dest != "help"]  # noqa: SLF001  # there is no public way
    below = [action.choices for action in actions if isinstance(action.choices, dict)]
    if not below:
        yield "| word | meaning |\n|---|---|"
        for action in actions:
            yield f"| `{_cell(_spelt(action))}` | {_cell(_helped(action))} |"
        yield ""
    for choices in below:
        for word, each in choices.items():
            yield from _command(f"{name} {word}", each)


SERVE_NOTES: Final = """\
## Names

- A scenario is called by its place: `scenarios/smoke/chat.toml` is `smoke/chat`. A folder is a suite: `smoke`.
- Scenarios are looked for in `--scenarios DIR`; else in the checkout that the package runs from; else inside the
  installed package. `harness where` prints which it is.
- A run is called by its id (the name of its folder in `reports/runs/`), by its path, or `latest`.

## What a run leaves

| place | what |
|---|---|
| `reports/runs/<id>/journal.jsonl` | every fact of the run; verdict and reports are made from it alone |
| `reports/runs/<id>/report.html` `report.md` `report.json` `junit.xml` `summary.txt` | the reports |
| `reports/runs/<id>/cases/<case>/` | what belongs to one case: logs, pictures, profiles |
| `reports/runs/latest` | leads to the newest run |
| `.deia/status.md` | how the queue stands, replaced in one step whenever something happens |
| `.deia/bot-logs/circuit-breaker.jsonl` | every transition of every circuit breaker |
| `.deia/backups/` | backups of the chat's database ([backup.md](backup.md)) |

`harness bless` writes `reports/baselines/<machine>/<scenario>.json`. `harness compare` without a BASELINE looks there,
then among the baselines that come with the package."""


def _spelt(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings)
    if action.choices is not None:
        value = "|".join(map(str, action.choices))
    else:
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    if not name and action.nargs == "+":
        value += " ..."
    if not name and action.nargs == "?":
        value = f"[{value}]"
    return f"{name} {value}".strip()


def _helped(action: argparse.Action) -> str:
    return (action.help or "scenario files").replace("%(default)s", f"`{action.default}`")


# --- scenario.md ------------------------------------------------------------------------------------------------------
def _scenario() -> Iterator[str]:
    yield "# A scenario file\n"
    yield SCENARIO_HEAD
    for title, cls in (
        ("Top level", Scenario),
        ("load", Load),
        ("bots", Bot),
        ("faults", FaultPlan),
        ("memory", MemoryPlan),
        ("expect", Bound),
        ("service", Settings),
    ):
        yield f"## {title}\n"
        yield f"{HEADS[title]}\n"
        yield "| field | default | meaning |\n|---|---|---|"
        texts = _texts(cls)
        for field in fields(cls):
            yield f"| `{field.name}` | {_default(field)} | {_cell(texts.get(field.name) or WORDS[field.name])} |"
        yield ""
    yield "## Kinds of faults\n"
    for name in plugins.names(injectors):
        yield f"- `{name}`: {_first(plugins.load(injectors, name))}"


SCENARIO_HEAD: Final = """\
A scenario is one TOML file: a cast of bots, a load, faults on a timeline, and what must hold. The same file runs at
three distances: *simulated* (virtual time, no process), *wired* (real processes, Locust), *browser* (Playwright drives
the page). Unknown fields are refused with their path and a suggestion; `harness check FILE` looks without running.

```toml
name = "breaker trips and recovers"
why = "A dead bot must cost its users one breaker, not the chat."
duration_s = 10
load = { users = 10, say_every_s = 0.4 }
bots = [{ behaviour = "echo", name = "victim" }, { behaviour = "echo", name = "bystander" }]
faults = [{ kind = "crash-loop", bot = "victim", at_s = 2, for_s = 2 }]
service = { breaker_failures_max = 3, breaker_cooldown_s = 2.5 }

[expect]
breaker_opened = { min = 1, max = 1 }
messages_lost = { max = 0 }
```
"""
HEADS: Final = {
    "Top level": "What one file holds.",
    "load": "`load = { ... }`: closed-model users: each sends, reads the whole reply, thinks, and sends again.",
    "bots": "`bots = [{ ... }, ...]`: the cast. [fake-bots.md](fake-bots.md) lists behaviours and their options.",
    "faults": "`faults = [{ ... }, ...]`: what goes wrong, when, and for how long.",
    "memory": "`memory = { ... }`: the wired distance becomes a leak check: cycles of load, rest and measurement.",
    "expect": "`[expect]`: a bound for each figure by its name ([figures.md](figures.md)).",
    "service": "`service = { ... }` and `harness serve --set KEY=VALUE`: the limits of the reference chat service.",
}
WORDS: Final = {
    "load": "How many people talk, and how often.",
    "bots": "The cast; at least one.",
    "faults": "What goes wrong on the way.",
    "min": "The figure must not be below this.",
    "max": "The figure must not be above this.",
}


def _texts(cls: type[Any]) -> dict[str, str]:
    """The text that stands under each field of a class."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            text = ast.literal_eval(after.value)
            found[field.target.id] = " ".join(str(text).split())
    return found


def _default(field: Field[Any]) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "needed"
    if field.name in HEADS:
        return "see below"
    value = field.default if field.default is not MISSING else None
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value) or "none"
    return "none" if value in (None, "") else f"`{value}`"


# --- figures.md -------------------------------------------------------------------------------------------------------
def _figures() -> Iterator[str]:
    yield "# Figures\n"
    yield "What `[expect]` may bound and what reports and baselines hold. A figure that cannot be computed is absent,"
    yield "never 0; a bound on an absent figure gives no verdict (exit code 4).\n"
    yield "| figure | unit | better | measured at | meaning |\n|---|---|---|---|---|"
    for figure in FIGURES.values():
        better = "" if figure.better == "none" else figure.better
        where = "leak checks" if figure.memory else ", ".join(figure.distances)
        yield f"| `{figure.name}` | {figure.unit} | {better} | {where} | {_cell(figure.what)} |"


# --- metrics.md -------------------------------------------------------------------------------------------------------
BEGIN: Final = "<!-- The table is written by ci/reference.py from harness/core/families.py. -->"
END: Final = "<!-- End of what is written. -->"


def _metrics() -> str:
    """The page is written by people, its table is not."""
    page = _now("metrics.md")
    rows = ["| name | kind | unit | labels | meaning |", "|---|---|---|---|---|"]
    for _, family in sorted(FAMILIES.items()):
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.kind} | {family.unit} | {labels} | {_cell(family.help)} |")
    return "\n".join((page.partition(BEGIN)[0] + BEGIN, "", *rows, "", END + page.partition(END)[2]))


def _first(cls: type[Any]) -> str:
    return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


if __name__ == "__main__":
    sys.exit(main())
