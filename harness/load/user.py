"""ChatUser: a person at the chat page, as a Locust user.

In    Locust's start and stop; the frames of the service
Out   messages, each sent after a think time and followed to its end
Rule  one message at a time; a lost connection is made again and resumed; a stop never cuts a message that was sent
Why   a person waits for the answer before typing on, so that is the load that a chat service sees

    start --> session, socket --> think --> say, read to the end --> think --> ...
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar, Final

import gevent
from locust import FastHttpUser, task
from locust.env import Environment
from locust.exception import StopUser

from harness.core.events import ClientBroke, Sent
from harness.core.texts import crc_of
from harness.load.conversation import Conversation
from harness.load.link import Link, LinkLostError
from harness.load.rig import Rig

PATIENCE_S: Final = 120.0
"""A message without any outcome after this long is left open, and the user goes on."""
ATTEMPTS_MAX: Final = 30
_TIMEOUT_S: Final = 5.0
_PAUSE_MAX_S: Final = 2.0


class ChatUser(FastHttpUser):
    """Opens a session by HTTP, then talks over the WebSocket."""

    abstract = True
    rig: ClassVar[Rig]

    def __init__(self, environment: Environment) -> None:
        """Know nothing yet: ``on_start`` does the work, and ``on_stop`` may come before it is done."""
        super().__init__(environment)
        self._link: Link | None = None
        self._talk = Conversation("")
        self._started = self._held_up = False

    # --- What Locust calls ------------------------------------------------------------------------------------------
    def on_start(self) -> None:
        """Open a session and connect."""
        number, self._habits, comes, self._goes = self.rig.enlist()
        self._dice = random.Random(number)  # For pauses only: habits must not depend on lost connections.
        self._bot = self.rig.bot_for(number, self)
        self._talk = Conversation(self._open_session())
        self._connect()
        self._due = max(comes, time.monotonic()) + self._habits.start_s()

    def wait_time(self) -> float:
        """Think; Locust calls this in the one state in which a stop takes effect at once, so all waiting is here."""
        if self._started:
            self._due = time.monotonic() + self._habits.think_s()
        self._started, self._held_up = True, False
        # Reading goes on meanwhile: pings want answers, and news of bots would fill the socket's buffer.
        while (now := time.monotonic()) < self._due:
            self._listen(self._due - now)
        return 0.0

    @task
    def turn(self) -> None:
        """Say something and read until its outcome."""
        if not self._started:
            wait: Callable[[], None] = self.wait
            wait()
        # A stop that came while we were waking up ends us at the next switch: here, before anything is sent.
        gevent.sleep(0)
        if time.monotonic() >= self._goes:
            raise StopUser
        cid, text = self._habits.message()
        # A lost connection holds the message, not the person: that delay is the service's, not the generator's.
        now = self._due if self._held_up else time.monotonic()
        self.rig.recorder.send(now, Sent(self._talk.session, self._bot, cid, self._due, crc_of(text)))
        say, deadline = self._talk.say(cid, text), time.monotonic() + PATIENCE_S
        try:
            self._require().send(say)
        except LinkLostError as error:
            self._mend(error)
        while self._talk.open == cid and (now := time.monotonic()) < deadline:
            self._listen(deadline - now)
        self._leave_open()

    def on_stop(self) -> None:
        """Hang up."""
        self._leave_open()
        if self._link is not None:
            self._link.close()

    # --- The connection ---------------------------------------------------------------------------------------------
    def _listen(self, timeout_s: float) -> None:
        """Read what comes next and note it."""
        try:
            self._read(timeout_s)
        except LinkLostError as error:
            self._mend(error)

    def _read(self, timeout_s: float) -> None:
        link = self._require()
        frames = link.receive(timeout_s)
        now = time.monotonic()
        for raw in frames:
            fact = self._talk.read(raw)
            if isinstance(fact, ClientBroke):
                raise LinkLostError(fact.why)
            if fact is not None:
                self.rig.recorder.note(now, fact)
        ack = self._talk.ack(now=self._talk.open is None)
        if ack is not None:
            link.send(ack)

    def _mend(self, error: LinkLostError) -> None:
        self._broke(str(error))
        self._held_up = True
        self._connect()

    def _connect(self) -> None:
        """Connect, or connect again: with pauses that grow and differ from user to user, and an end."""
        why = ""
        for attempt in range(ATTEMPTS_MAX):
            if self._link is not None:
                self._link.close()
            if attempt:
                gevent.sleep(self._dice.uniform(0, min(_PAUSE_MAX_S, 0.1 * 2**attempt)))
            try:
                self._link = Link(f"{self.host}/ws", timeout_s=_TIMEOUT_S)
                self._greet(self._link)
            except LinkLostError as error:
                why = str(error)
            else:
                return
        self._broke(f"gave up after {ATTEMPTS_MAX} attempts: {why}")
        raise StopUser

    def _greet(self, link: Link) -> None:
        link.send(self._talk.hello())
        deadline = time.monotonic() + _TIMEOUT_S
        while not self._talk.welcomed:
            if time.monotonic() > deadline:
                raise LinkLostError(f"no welcome after {_TIMEOUT_S:g} s")
            self._read(deadline - time.monotonic())
        repeat = self._talk.repeat()
        if repeat is not None:
            link.send(repeat)

    def _open_session(self) -> str:
        why = ""
        for attempt in range(ATTEMPTS_MAX):
            with self.client.post("/api/sessions", json={"bot": self._bot}, catch_response=True) as response:
                why = f"{response.status_code}: {response.text or response.error}"
                if response.status_code == HTTPStatus.CREATED:
                    try:
                        return str(response.json()["id"])
                    except (ValueError, TypeError, KeyError):
                        why = f"not understood: {why}"
                response.failure(why)
            if response.status_code in range(400, 500):
                break  # The service has understood, and will say the same again.
            gevent.sleep(self._dice.uniform(0, min(_PAUSE_MAX_S, 0.1 * 2**attempt)))
        self._broke(f"no session with {self._bot!r}: {why}")
        raise StopUser

    def _require(self) -> Link:
        assert self._link is not None
        return self._link

    def _broke(self, why: str) -> None:
        self.rig.recorder.note(time.monotonic(), ClientBroke(self._talk.session, why))

    def _leave_open(self) -> None:
        if self._talk.open is not None:
            self.rig.recorder.leave_open(time.monotonic(), self._talk.open)
            self._talk.give_up()
