"""Words: what may stand behind the options of a command, and how wrong ones are told.

In    single words as they were typed
Out   their values; or UsageError in one line, with the nearest word that there is
Rule  what a word means is decided here once, for every command that takes it
Why   a mistake of typing is answered in the same way everywhere
"""

from __future__ import annotations

import argparse
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from harness.core.decode import suggest
from harness.core.scenario import SEED_MAX
from harness.errors import UsageError

STATE_DIR: Final = Path(".deia")
REPORTS_DIR: Final = Path("reports")
PORT_MAX: Final = 65_535


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like every other error here."""

    def error(self, message: str) -> NoReturn:
        """Refuse the words."""
        wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if wrong is not None:
            known = re.findall(r"[\w-]+", wrong[2])
            message = f"{message[: wrong.start()]}no {wrong[1]!r}{suggest(wrong[1], known)}"
        raise UsageError(f"{message}; `{self.prog} --help` shows how")


def seed(text: str) -> int:
    """Read a seed: what every distance can throw its dice from."""
    value = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= value <= SEED_MAX:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {SEED_MAX}, got {text!r}")
    return value


def port(text: str) -> int:
    """Read a port: 0 (any free one) to 65535."""
    value = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= value <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"must be from 0 (any free one) to {PORT_MAX}, got {text!r}")
    return value


def setting(pair: str) -> tuple[str, int | float | str | bool]:
    """Read one KEY=VALUE; what is no number and not true or false stays text, for decode.py to refuse by its name."""
    name, equals, value = pair.partition("=")
    if not equals:
        raise UsageError(f"--set {pair}: must be KEY=VALUE, such as queue_max=10")
    for number in (int, float):
        with suppress(ValueError):
            return name, number(value)
    return name, {"true": True, "false": False}.get(value, value)


def split(command: str) -> list[str]:
    """Read the program that bots are, with its arguments."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--bot-command {command}: {error}") from None


def folders(parser: argparse.ArgumentParser, *which: str) -> None:
    """Add the options for folders that several commands share."""
    if "scenarios" in which:
        parser.add_argument("--scenarios", type=Path, metavar="DIR", help="use the scenarios in DIR")
    if "state" in which:
        parser.add_argument(
            "--state-dir",
            type=Path,
            default=STATE_DIR,
            metavar="DIR",
            help="status and bot logs (default: %(default)s)",
        )
    if "reports" in which:
        parser.add_argument(
            "--reports-dir",
            type=Path,
            default=REPORTS_DIR,
            metavar="DIR",
            help="runs and baselines (default: %(default)s)",
        )
