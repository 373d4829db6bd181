"""Reference: writes the pages of docs/reference that follow from the code; ``--check`` only compares.

In    the command line's parser, the dataclasses of a scenario, the figures, the faults
Out   docs/reference/{cli,scenario,figures,errors}.md, the table in metrics.md, tables between marks in other pages
Rule  what is said about a field is the text under the field: one source, so page and program cannot differ
Why   a reference that is written by hand is right on the day it is written
"""

from __future__ import annotations

import argparse
import ast
import errno
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
from harness.adapters.classify import LIBRARIES, SQLITE
from harness.core.backoff import Backoff
from harness.core.failures import CODES, ERRNOS, STATUSES, TYPES
from harness.core.families import FAMILIES
from harness.core.figures import FIGURES
from harness.core.retry_budget import BudgetConfig
from harness.core.scenario import Bot, Bound, FaultPlan, Load, MemoryPlan, Scenario
from harness.core.settings import Settings
from harness.errors import HarnessError, Kind
from harness.server.refusals import status_of
from harness.services.recovery import Policy, RecoveryConfig

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
_FIELDS: Final = re.compile(r"<!-- fields of ([\w.]+) -->.*?<!-- end of fields -->", re.DOTALL)
_ROWS: Final = re.compile(r"<!-- rows of ([\w.]+) -->.*?<!-- end of rows -->", re.DOTALL)
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
    made = {"cli.md": _cli(), "scenario.md": _scenario(), "figures.md": _figures(), "errors.md": _errors()}
    whole = {name: f"{MADE}{chr(10).join(lines).rstrip()}\n" for name, lines in made.items()}
    return {**_filled(), **whole, "metrics.md": _metrics()}


def _filled() -> dict[str, str]:
    """Fill the tables in pages that are written by hand.

    ``<!-- fields of harness.core.x.Y -->`` lists the fields of a class, ``<!-- rows of harness.core.x.YS -->`` values.
    """
    texts = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.md")}
    return {name: _ROWS.sub(_rows, _FIELDS.sub(_fields, text)) for name, text in texts.items() if _FIELDS.search(text)}


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


def _rows(found: re.Match[str]) -> str:
    module, _, name = found[1].rpartition(".")
    values = getattr(importlib.import_module(module), name)
    names = [field.name for field in fields(values[0])]
    rows = "\n".join(f"| {' | '.join(_cell(str(getattr(value, name))) for name in names)} |" for value in values)
    head = f"| {' | '.join(names)} |\n|{'---|' * len(names)}"
    return f"<!-- rows of {found[1]} -->\n{head}\n{rows}\n<!-- end of rows -->"


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
        targets = [field.target] if isinstance(field, ast.AnnAssign) else getattr(field, "targets", [])
        if targets and isinstance(targets[0], ast.Name) and isinstance(after, ast.Expr):
            text = ast.literal_eval(after.value)
            found[targets[0].id] = " ".join(str(text).split())
    return found


def _default(field: Field[Any]) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "needed"
    made = field.default_factory() if field.default_factory is not MISSING else None
    if made or (field.name in HEADS and not isinstance(field.default, int)):  # The limit `bots` is a number.
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


# --- errors.md --------------------------------------------------------------------------------------------------------
def _errors() -> Iterator[str]:
    yield "# Errors\n"
    yield ERRORS_HEAD
    yield "## Kinds\n"
    yield "| kind | meaning |\n|---|---|"
    meanings = _texts(Kind)
    for kind in Kind:
        yield f"| `{kind.value}` | {_cell(meanings[kind.name])} |"
    yield "\n## The tree\n"
    yield "| error | kind | code | HTTP | exit code | meaning |\n|---|---|---|---|---|---|"
    for depth, cls in _branch(HarnessError, 0):
        status = status_of(cls.__new__(cls))
        name = f"{'&nbsp;' * 4 * depth}`{cls.__name__}`"
        yield f"| {name} | {cls.kind} | `{cls.code}` | {status.value} | {cls.exit_code} | {_cell(_first(cls))} |"
    yield ""
    yield ERRORS_RULES
    yield "### Errors of Python and its libraries\n"
    yield "| what | kind | code |\n|---|---|---|"
    for known, kind, code in (*TYPES, *LIBRARIES):
        yield f"| `{_origin(known)}` | {kind} | `{code}` |"
    for number, kind, code in ERRNOS:
        yield f"| `OSError` with `{errno.errorcode[number]}` | {kind} | `{code}` |"
    for name, kind, code in SQLITE:
        yield f"| `sqlite3.Error` with `{name}`, `{name}_*` | {kind} | `{code}` |"
    yield "\n### HTTP statuses\n"
    yield "| status | kind | code |\n|---|---|---|"
    for each, kind, code in STATUSES:
        yield f"| {each} | {kind} | `{code}` |"
    yield "\n### Codes of the chat and of bots\n"
    yield "| code | kind |\n|---|---|"
    for code, kind in CODES:
        yield f"| `{code}` | {kind} |"
    yield ""
    yield from _limits()


def _origin(cls: type[BaseException]) -> str:
    """Name a class as one imports it; inner modules of packages are nobody's business."""
    package = cls.__module__.partition("._")[0].removesuffix(".exceptions")
    return cls.__name__ if package == "builtins" else f"{package}.{cls.__name__}"


def _branch(cls: type[HarnessError], depth: int) -> Iterator[tuple[int, type[HarnessError]]]:
    """A class and those below it, as far as they stand in harness/errors.py, in its order."""
    yield depth, cls
    for lower in cls.__subclasses__():
        if lower.__module__ == HarnessError.__module__:
            yield from _branch(lower, depth + 1)


ERRORS_HEAD: Final = """\
Everything that this project raises on purpose descends from `HarnessError` (`harness/errors.py`). An error says what
it means by two words, both inherited: its *kind*, by which a caller decides what to do, and its *code*, by which
programs and figures tell it from others. Where it is known when another try is worth while, it carries
`retry_after_s`.

Over HTTP an error is `{"error": {"code", "message", "retry_after_s"?}}` with the status below and, if the time is
known, the header `Retry-After` in whole seconds, rounded up. On the WebSocket it is the frame `error` with the same
three fields. A call that is refused as a whole says its status itself ([http-api.md](http-api.md)). What is no error
of the tree is a bug: status 500, code `bug`, and the traceback stays on the service's stderr. How errors end a
command: [exit-codes.md](exit-codes.md). What is done about them: [recovery.md](recovery.md).
"""
ERRORS_RULES: Final = """\
## What other errors are taken for

`harness.core.classifier.Classifier` looks an error up along its classes, from its own to `Exception`. On each step a
rule for a value of an attribute comes before the rule for the class, and that before what a class of the tree says
about itself. Of a group of errors the one that leaves the least to hope for speaks for all: cancelled, bug,
permanent, ambiguous, throttled, overloaded, transient. What is no `Exception` (a cancelled task, Ctrl-C) is
cancelled. **What no rule knows is a bug**: it is not tried again, and `GET /api/errors` counts it as `unknown`. Of
HTTP statuses without a rule, 4xx are permanent and 5xx bugs; codes that no rule knows are bugs.

Rules are added before the classifier is used; then it is closed:

```python
from harness.adapters.classify import everything
from harness.errors import Kind

classifier = everything().add_type(MyQuotaError, Kind.THROTTLED, "quota").add_code("sulking", Kind.TRANSIENT)
```

At most 1,000 rules; a code has 1 to 40 characters. A second rule for the same thing, an empty code, a status outside
400 to 599 or a rule after `close` raises `ValueError` and changes nothing.
"""


def _limits() -> Iterator[str]:
    yield "## Limits of recovery\n"
    yield "What they mean together: [recovery.md](recovery.md).\n"
    for cls in (Policy, Backoff, BudgetConfig, RecoveryConfig):
        yield f"### {cls.__name__}\n"
        yield f"{_first(cls)}\n"
        yield "| field | default | meaning |\n|---|---|---|"
        texts = _texts(cls)
        for field in fields(cls):
            value = getattr(cls(), field.name)
            plain = f"`{value}`" if isinstance(value, int | float) else "see below"
            yield f"| `{field.name}` | {NONE.get(field.name, plain)} | {_cell(texts[field.name])} |"
        yield ""


NONE: Final = {"ladder": "no fallback", "policies": "none"}


def _first(cls: type[Any]) -> str:
    return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


if __name__ == "__main__":
    sys.exit(main())
