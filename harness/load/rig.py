"""Rig: what all users of one Locust process share.

In    Locust's events; the ``--harness-...`` arguments
Out   the recorder, the bots to talk to, each user's number; an exit code that means something
Rule  attached once, by the locustfile; works with none of the arguments given
Why   the same locustfile is a load test by hand, with Locust's web page, and the load of a run with its journal
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from argparse import ArgumentTypeError
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import gevent
from gevent.lock import BoundedSemaphore
from locust import FastHttpUser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import LocalRunner

from harness.adapters.journal import Book
from harness.core.events import GeneratorSeen
from harness.core.scenario import Burst, Load
from harness.errors import EXIT_NO_VERDICT, ScenarioError
from harness.load.habits import Habits
from harness.load.recorder import Recorder
from harness.load.self_watch import SOURCE, watch

DRAIN_S: Final = 35.0
"""Seconds for outstanding replies at the end, unless ``--stop-timeout`` says otherwise."""
SAY_EVERY_S_MAX: Final = 3600.0
WORDS_MAX: Final = 2000
_LAUNCH_S: Final = 10.0
_SILENCE_S: Final = 2.0
_LOG: Final = logging.getLogger(__name__)


class Rig:
    """The shared part; made by ``attach``."""

    def __init__(self) -> None:
        """Use ``Rig.attach``."""
        self.recorder: Recorder
        self._options: Any = None
        self._bots: list[str] | None = None
        self._numbers = itertools.count()
        self._began = 0.0
        self._lock = BoundedSemaphore(1)
        self._watcher: gevent.Greenlet | None = None

    @classmethod
    def attach(cls, events: Any) -> Self:
        """Listen to Locust's events."""
        rig = cls()
        events.init_command_line_parser.add_listener(_arguments)
        events.init.add_listener(rig.on_init)
        events.test_start.add_listener(rig.on_test_start)
        events.test_stop.add_listener(rig.on_test_stop)
        events.quitting.add_listener(rig.on_quitting)
        return rig

    # --- What users ask ---------------------------------------------------------------------------------------------
    def enlist(self) -> tuple[int, Habits, float, float]:
        """Give a new user its number, its habits, and when it comes and goes (CLOCK_MONOTONIC)."""
        number, options = next(self._numbers), self._options
        if number == 0:
            self._began = time.monotonic()
        habits = Habits(
            seed=options.harness_seed,
            user=number,
            think_s_mean=options.harness_say_every,
            words=options.harness_words,
        )
        burst = options.harness_burst
        steady = options.num_users - burst.users if burst and options.num_users else 0
        load = Load(users=max(1, steady), burst=burst)
        comes_s, goes_s = load.stay_s(number)
        # Each comes when it is started; only a burst has a moment of its own.
        return number, habits, self._began + comes_s if comes_s else time.monotonic(), self._began + goes_s

    def bot_for(self, number: int, user: FastHttpUser) -> str:
        """Deal users out over the bots; the first user finds out which there are, or launches one."""
        with self._lock:
            if self._bots is None:
                named = [name.strip() for name in self._options.harness_bots.split(",")]
                self._bots = [name for name in named if name] or _find_bots(user)
                if not self._bots:
                    _LOG.error("no bot to talk to: is the chat service running at %s?", user.host)
                    gevent.spawn(user.environment.runner.quit)
        if not self._bots:
            raise StopUser
        return self._bots[number % len(self._bots)]

    # --- What Locust says -------------------------------------------------------------------------------------------
    def on_init(self, environment: Environment, **_: object) -> None:
        """Let users finish their message when the test stops."""
        self._options = environment.parsed_options
        # gevent counts timers from its loop's last turn: without this, ``--run-time`` loses the time of the imports.
        gevent.get_hub().loop.update_now()
        environment.stop_timeout = environment.stop_timeout or DRAIN_S
        if self._options.harness_journal and not isinstance(environment.runner, LocalRunner):
            raise SystemExit("--harness-journal: one process writes it; leave out --processes, --master and --worker")

    def on_test_start(self, environment: Environment, **_: object) -> None:
        """Begin a new record."""
        self._options = environment.parsed_options
        self._bots = None
        journal = self._options.harness_journal
        book = Book(Path(journal)) if journal else None
        self.recorder = Recorder(environment.events.request.fire, book)

        def tell(now: float, fact: GeneratorSeen) -> None:
            if book is not None:
                book.write(now, SOURCE, fact)

        def users() -> int:
            return environment.runner.user_count if environment.runner else 0

        self._watcher = gevent.spawn(watch, tell, users)

    def on_test_stop(self, **_: object) -> None:
        """Close the record: every user has left."""
        if self._watcher is not None:
            self._watcher.kill()
        self.recorder.close()

    def on_quitting(self, environment: Environment, **_: object) -> None:
        """A refused or failed message is an answer, which the reader judges; Locust would end with 1 for it."""
        runner = environment.runner
        if runner is None or environment.process_exit_code is not None:
            return
        if runner.exceptions:
            environment.process_exit_code = EXIT_NO_VERDICT  # Our own code broke: such a load measures nothing.
            return
        recorder = getattr(self, "recorder", None)
        answers = {"refused", "failed"}
        if recorder and recorder.sent and all(error.name in answers for error in runner.errors.values()):
            environment.process_exit_code = 0


def _arguments(parser: Any, **_: object) -> None:
    group = parser.add_argument_group("hive-harness")
    group.add_argument("--harness-bots", default="", metavar="A,B", help="Bots to talk to; else all that are there.")
    every = "Mean seconds from a reply to the next message."
    group.add_argument("--harness-say-every", type=_seconds, default=2.0, metavar="S", help=every)
    group.add_argument("--harness-words", type=_count, default=4, metavar="N", help="Words in each message.")
    group.add_argument("--harness-seed", type=int, default=7, metavar="N", help="All dice are thrown from it.")
    more = "More users for a while, out of all that --users names: come at AT s, for FOR s."
    group.add_argument("--harness-burst", type=_burst, default=None, metavar="USERS@AT+FOR", help=more)
    group.add_argument("--harness-journal", default="", metavar="FILE", help="Write every fact into FILE.")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= SAY_EVERY_S_MAX:
        raise ArgumentTypeError(f"must be from 0 to {SAY_EVERY_S_MAX:g} seconds, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= WORDS_MAX:
        raise ArgumentTypeError(f"must be from 1 to {WORDS_MAX}, got {text}")
    return value


def _burst(text: str) -> Burst:
    found = re.fullmatch(r"(\d+)@(\d+(?:\.\d+)?)\+(\d+(?:\.\d+)?)", text)
    if found is None:
        raise ArgumentTypeError(f"must read like 100@10+30 (users, at s, for s), got {text!r}")
    try:
        return Burst(users=int(found[1]), at_s=float(found[2]), for_s=float(found[3]))
    except ScenarioError as error:
        raise ArgumentTypeError(str(error)) from None


def _find_bots(user: FastHttpUser) -> list[str]:
    """List the bots that run; launch an echo if there are none, and wait until it listens."""
    answered, launched = time.monotonic(), False
    deadline = answered + _LAUNCH_S
    while time.monotonic() < min(deadline, answered + _SILENCE_S):
        with user.client.get("/api/bots", catch_response=True) as response:
            bots = response.json()["bots"] if response.status_code == HTTPStatus.OK else None
        if bots is not None:
            answered = time.monotonic()
        if bots == [] and not launched:
            user.client.post("/api/bots", json={"behaviour": "echo"})
            launched = True
        names = [bot["bot"] for bot in bots or [] if bot["state"] == "online" or not launched]
        if names:
            return names
        gevent.sleep(0.1)
    return []
