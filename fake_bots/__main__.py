"""Fake bots as a program: ``python -m fake_bots BEHAVIOUR [--option value ...] [--seed N]``.

In    the command line; stdin; HARNESS_PROBE_DIR and HARNESS_BOT_NAME for a memory probe
Out   the bot wire on stdout; exit code 0 at the end of stdin, 2 for wrong words, or what the behaviour died with
Rule  imports little, and what only help or an error needs at the place where it is needed
Why   a service starts its bots again and again: a tenth of a second each time is a lot
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields
from typing import Any, Final

from fake_bots import behaviours, manual
from fake_bots.protocols import stdio
from fake_bots.turns import Turns
from harness.errors import HarnessError, UsageError

USAGE: Final = "python -m fake_bots BEHAVIOUR [--option value ...] [--seed N]"
_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def main(words: Sequence[str]) -> int:
    """Run what the command line asks for; give back the exit code."""
    try:
        return _run(words)
    except HarnessError as error:
        print(f"fake_bots: {error}", file=sys.stderr)
        return error.exit_code


def _run(words: Sequence[str]) -> int:
    match words:
        case []:
            raise UsageError(f"say which behaviour: {', '.join(_names())} (--help tells more)")
        case ["--help" | "-h", *_]:
            print(_overview())
            return 0
        case ["--list", *_]:
            print(_catalogue())
            return 0
    name, *rest = words
    cls = _load(name)
    if "--help" in rest or "-h" in rest:
        print(manual.page(name, cls))
        return 0
    options, seed = _options(name, cls, rest)
    try:
        behaviour = cls(**options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name}: {error}") from None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with _probe(name) as probe:
        return stdio.serve(Turns(behaviour, seed), probe)


def _end(number: int, _frame: object) -> None:
    """Leave at once, but through the clean-up."""
    raise SystemExit(128 + number)


def _probe(name: str) -> Any:
    if not os.environ.get("HARNESS_PROBE_DIR"):
        return nullcontext()
    from fake_bots.probe import Probe  # noqa: PLC0415 - takes as long as a whole start
    from harness.adapters.counters import probe_path  # noqa: PLC0415

    path = probe_path(os.environ.get("HARNESS_BOT_NAME") or name)
    try:
        return Probe(path) if path else nullcontext()
    except OSError as error:
        raise UsageError(f"{path}: no probe can listen there ({error.strerror}); check HARNESS_PROBE_DIR") from None


def _load(name: str) -> Any:
    """Import a behaviour: one of ours at once, another package's through its entry point."""
    path = f"fake_bots.behaviours.{name.replace('-', '_')}"
    if _NAME.fullmatch(name):
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name != path:
                raise  # The file is there, but something that it needs is not.
        else:
            return getattr(module, module.__all__[0])
    from harness import plugins  # noqa: PLC0415 - reads the metadata of every installed package

    return plugins.load(behaviours, name)


def _options(name: str, cls: Any, words: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Read ``--option value`` and ``--option=value``, by the fields of the behaviour."""
    known = {field.name: field for field in fields(cls)}
    values: dict[str, Any] = {}
    seed = 0
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, text = word.partition("=")
        option = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or (option not in known and option != "seed"):
            from harness.core.decode import suggest  # noqa: PLC0415

            flags = [f"--{one.replace('_', '-')}" for one in (*known, "seed")]
            raise UsageError(f"{name}: unknown option {flag!r}{suggest(flag, flags)}")
        if not equals:
            if not rest:
                raise UsageError(f"{name}: {flag} needs a value")
            text = rest.pop(0)
        if option == "seed":
            seed = _value("int", flag, text)
        else:
            values[option] = _value(manual.type_of(known[option]), flag, text)
    return values, seed


def _value(hint: str, flag: str, text: str) -> Any:
    try:
        match hint:
            case "bool":
                return {"true": True, "false": False}[text.lower()]
            case "int":
                return int(text)
            case "float":
                return float(text)
            case _:
                return text
    except (ValueError, KeyError):
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}[hint]
        raise UsageError(f"{flag}: must be {wanted}, got {text!r}") from None


def _names() -> tuple[str, ...]:
    from harness import plugins  # noqa: PLC0415

    return plugins.names(behaviours)


def _overview() -> str:
    rows = [(name, manual.headline(_load(name))) for name in _names()]
    return "\n".join(
        [
            USAGE,
            "",
            "A bot that misbehaves on purpose, or not at all. It reads questions on stdin and answers on stdout, one",
            "JSON object a line (docs/reference/bot-wire.md), until its stdin ends. Behaviours:",
            "",
            *manual.table(rows),
            "",
            "python -m fake_bots BEHAVIOUR --help lists its options; --list prints everything as JSON.",
        ]
    )


def _catalogue() -> str:
    """List every behaviour with its options, for programs that offer a choice."""
    found = {}
    for name in _names():
        cls = _load(name)
        found[name] = {
            "about": manual.headline(cls),
            "options": {one.name: {"default": one.default, "about": one.words} for one in manual.options(cls)},
        }
    return json.dumps({"v": 1, "behaviours": found})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
