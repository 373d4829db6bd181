"""Behaviours: what the bot program can be told to be, as it says itself.

In    ``BOT_COMMAND --list``, asked once in the background
Out   each behaviour with its options and their defaults; a clear error for a wish that the program would refuse
Rule  only the project's own bot program is asked: a stranger's might take "--list" for a message to send
Why   a bot that dies of a misspelt option three seconds later is a riddle; a 422 that names the option is not
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from harness.adapters.processes import Guardian, reason
from harness.adapters.retry import Retrying
from harness.core.backoff import Backoff
from harness.core.decode import suggest
from harness.errors import ScenarioError, TimedOutError, UnavailableError, WireError
from harness.services.recovery import Policy, Recovery

ANSWER_MAX_S: Final = 10.0
BEHAVIOURS: Final = "behaviours"
"""The dependency's name in the figures of recovery."""
POLICY: Final = Policy(backoff=Backoff(base_s=0.2, cap_s=1.0))
DEFAULT_COMMAND: Final = (sys.executable, "-m", "fake_bots")

Catalogue = Mapping[str, Mapping[str, Any]]


class Behaviours:
    """The catalogue of one bot program; empty for a program that cannot be asked."""

    def __init__(self, command: Sequence[str], *, guardian: Guardian, recovery: Recovery) -> None:
        """Ask in the background from now on; whoever is asked ends with us, says the guardian."""
        self._command, self._guardian = tuple(command), guardian
        self._retrying = Retrying(recovery, BEHAVIOURS, keyed=True, within_s=ANSWER_MAX_S)
        self._asking = asyncio.get_running_loop().create_task(self._ask(), name="behaviours")

    async def options(self) -> dict[str, dict[str, str]]:
        """Map each behaviour to its options and their defaults as text."""
        catalogue = await asyncio.shield(self._asking)
        return {name: {option: _shown(value) for option, value in known.items()} for name, known in catalogue.items()}

    async def check(self, behaviour: str, options: Mapping[str, object]) -> None:
        """Refuse what the program would refuse; ScenarioError says why."""
        catalogue = await asyncio.shield(self._asking)
        if not behaviour or behaviour.startswith("-"):
            raise ScenarioError(f"behaviour: {behaviour!r} is no name")
        if not catalogue:
            return
        known = catalogue.get(behaviour)
        if known is None:
            raise ScenarioError(f"behaviour: no behaviour {behaviour!r}{suggest(behaviour, catalogue)}")
        for name, value in options.items():
            if name not in known:
                raise ScenarioError(f"options: {behaviour} has no option {name!r}{suggest(name, known)}")
            wanted = type(known[name])
            if type(value) is not wanted and not (wanted is float and type(value) is int):
                said = f"must be like its default {_shown(known[name])!r}, got {value!r}"
                raise ScenarioError(f"options.{name}: {said}")

    async def close(self) -> None:
        """Stop asking."""
        self._asking.cancel()
        await asyncio.wait([self._asking])

    async def _ask(self) -> Catalogue:
        if self._command != DEFAULT_COMMAND:
            return {}
        try:
            return await self._retrying.run_async(self._ask_once)
        except OSError as error:
            return _unlisted(f"cannot be started ({error.strerror})")
        except (TimedOutError, UnavailableError, WireError) as error:
            return _unlisted(f"did not list its behaviours: {error}")

    async def _ask_once(self) -> Catalogue:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "--list",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._guardian.env(),
        )
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                text, _ = await process.communicate()
        except TimeoutError:
            raise TimedOutError(f"no answer within {ANSWER_MAX_S:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise UnavailableError(reason(process.returncode))
        return _catalogue(text)


def _catalogue(text: bytes) -> Catalogue:
    try:
        found = orjson.loads(text)["behaviours"]
        return {
            name: {option: about["default"] for option, about in entry["options"].items()}
            for name, entry in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WireError("its answer is not understood") from None


def _unlisted(why: str) -> Catalogue:
    with contextlib.suppress(OSError):
        print(f"chat: the bot program {why}; what is launched is not checked", file=sys.stderr)
    return {}


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
