"""Scenarios: TOML files into ``Scenario``, and the names under which they are called.

In    what a person typed: ``smoke/chat``, ``smoke``, ``my/own.toml``; a folder of scenarios
Out   ``Named`` scenarios; or ScenarioError "FILE: $.load: unknown field 'user' (did you mean 'users'?)"
Rule  a scenario's name is its place: ``scenarios/smoke/chat.toml`` is ``smoke/chat``; a folder is a suite
Why   one way to name a run everywhere: command line, journal, report, baseline
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from harness import plugins
from harness.core.decode import decode, suggest
from harness.core.judge import check_expectations
from harness.core.scenario import Scenario
from harness.errors import HarnessError, PluginError, ScenarioError, UsageError

BEHAVIOURS: Final = "fake_bots.behaviours"
INJECTORS: Final = "harness.injectors"
REPORTERS: Final = "harness.reporters"
BYTES_MAX: Final = 1_000_000
"""A larger file is no scenario."""


@dataclass(frozen=True, slots=True)
class Named:
    """A scenario, how it is called, and where it stands."""

    name: str
    path: Path
    scenario: Scenario


def seam(name: str) -> ModuleType:
    """Import a seam by its name: listings need the names in it, never the code behind them."""
    return importlib.import_module(name)


def read(path: Path) -> Scenario:
    """Read one file; every error starts with the file and names the place in it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror})") from None
    if len(raw) > BYTES_MAX:
        raise ScenarioError(f"{path}: {len(raw):,} bytes; a scenario has at most {BYTES_MAX:,}")
    try:
        data = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{path}: not UTF-8 (byte 0x{raw[error.start]:02x} in line {line})") from None
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: malformed TOML: {error}") from None
    except RecursionError:
        raise ScenarioError(f"{path}: malformed TOML: lists or tables nested too deeply") from None
    try:
        scenario = decode(Scenario, data)
        _check_names(scenario)
    except HarnessError as error:
        raise ScenarioError(f"{path}: {error}") from None
    return scenario


def names(folder: Path) -> tuple[str, ...]:
    """List every scenario below ``folder``, sorted."""
    return tuple(sorted(_name(path, folder) for path in folder.rglob("*.toml")))


def find(what: str, folder: Path) -> tuple[Named, ...]:
    """Read what ``what`` stands for: a file, a scenario's name, or a suite; UsageError with a suggestion."""
    if what.endswith(".toml"):
        path = Path(what)
        if not path.is_file():
            raise UsageError(f"no scenario file {what}")
        # Inside the folder of scenarios a file has its usual name, however it was typed.
        inside = path.resolve().is_relative_to(folder.resolve())
        name = _name(path.resolve(), folder.resolve()) if inside else path.stem
        return (Named(name, path, read(path)),)
    word = what.strip("/")
    place = Path(what).resolve()
    if place.is_dir() and folder.resolve() in place.parents:
        word = place.relative_to(folder.resolve()).as_posix()  # A suite may be named by its place, too.
    known = names(folder)
    if word in known:
        chosen: Sequence[str] = (word,)
    else:
        chosen = [name for name in known if name.startswith(f"{word}/")] if word else []
    if not chosen:
        raise UsageError(f"no scenario or suite {what!r} in {folder}{suggest(word, [*known, *suites(known)])}")
    return tuple(_named(name, folder) for name in chosen)


def suites(known: Sequence[str]) -> tuple[str, ...]:
    """The folders that hold scenarios."""
    return tuple(sorted({name.rpartition("/")[0] for name in known if "/" in name}))


def _named(name: str, folder: Path) -> Named:
    path = folder / f"{name}.toml"
    return Named(name, path, read(path))


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _check_names(scenario: Scenario) -> None:
    """Check behaviours with their options, faults and figures: known only by what is in the seams and the judge."""
    behaviours, injectors = seam(BEHAVIOURS), seam(INJECTORS)
    for place, bot in enumerate(scenario.bots):
        try:
            plugins.build(behaviours, bot.behaviour, bot.options, f"$.bots[{place}].options")
        except PluginError as error:
            raise ScenarioError(f"$.bots[{place}].behaviour: {error}") from None
    for place, fault in enumerate(scenario.faults):
        if fault.kind not in plugins.names(injectors):
            raise ScenarioError(
                f"$.faults[{place}].kind: no fault {fault.kind!r}{suggest(fault.kind, plugins.names(injectors))}"
            )
    check_expectations(scenario)
