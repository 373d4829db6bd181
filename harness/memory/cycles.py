"""Cycles: the load of a leak check: the same few sockets over and over, and one that comes and goes.

In    the service's address, the bots, how many messages
Out   what became of them; afterwards nothing is in flight
Rule  seeded words; every bot gets its share; a cycle is over when the service says that no bot is busy
Why   sockets that stay show what a message costs, the one that leaves shows what a visitor costs
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from harness.memory import chat

SESSIONS_PER_BOT: Final = 2
FILL_CHARS: Final = 3_000_000
"""Characters that go through the service before the first cycle: half as questions, half as replies."""
AHEAD: Final = 4
"""Messages of one session that are on their way at once: enough to overlap, far below the bot's turns_max."""
WORDS: Final = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "juniper")


class Load:
    """What is sent to one service during one pass."""

    def __init__(self, service: str, talks: Sequence[tuple[str, str, chat.Talk]], *, words: int, seed: int) -> None:
        """Use ``Load.open``; ``talks`` are (bot, session, socket)."""
        self._service, self._talks, self._words = service, talks, words
        self._dice = random.Random(seed)
        self.sent = {bot: 0 for bot, _, _ in talks}
        self.answered = dict(self.sent)
        self.heard = chat.Heard()

    @classmethod
    async def open(cls, stack: AsyncExitStack, service: str, bots: Sequence[str], *, words: int, seed: int) -> Load:
        """Open a few sessions with every bot; ``stack`` closes their sockets."""
        talks = []
        for bot in bots:
            for _ in range(SESSIONS_PER_BOT):
                session = await chat.open_session(service, bot)
                talks.append((bot, session, await stack.enter_async_context(chat.talk(service, session))))
        return cls(service, talks, words=words, seed=seed)

    def total(self) -> int:
        """Count the messages to all bots so far."""
        return sum(self.sent.values())

    async def fill(self, chars_max: int) -> None:
        """Send some very long words, so that caches with a limit in bytes (SQLite's: 2 MB) are full from the start."""
        chars = min(chars_max, FILL_CHARS // (2 * len(self._talks)))
        await self._send(["x" * chars] * -(-FILL_CHARS // (2 * chars)))

    async def run(self, messages: int) -> chat.Heard:
        """Send ``messages`` in all, shared among the sockets, and come back when nothing is in flight."""
        return await self._send([self._text() for _ in range(messages)])

    async def _send(self, texts: Sequence[str]) -> chat.Heard:
        batches = [texts[place :: len(self._talks)] for place in range(len(self._talks))]
        visited = self._talks[0][1]
        async with chat.talk(self._service, visited) as visitor:
            await visitor.settle()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(talk.converse(batch, ahead=AHEAD))
                    for (_, _, talk), batch in zip(self._talks, batches, strict=True)
                ]
        except ExceptionGroup as problems:
            raise problems.exceptions[0] from None  # All of them lost the same service: one line says it.
        await chat.idle(self._service)
        heard = sum((task.result() for task in tasks), chat.Heard())
        for (bot, _, _), batch, task in zip(self._talks, batches, tasks, strict=True):
            self.sent[bot] += len(batch)
            self.answered[bot] += task.result().answered
        self.heard += heard
        return heard

    def _text(self) -> str:
        return " ".join(self._dice.choice(WORDS) for _ in range(self._words))
