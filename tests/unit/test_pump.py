"""The pump between engine and store: what follows a save waits for it, whatever the store says and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from harness.adapters.breaker_log import BreakerLog
from harness.adapters.sqlite import Done, Group
from harness.core.events import Began, BotEnded, BotReady, BotSaid, BotStarted, BotWanted, Felt, StartBot, UserCancelled
from harness.core.events import UserSaid as Said
from harness.core.settings import Settings
from harness.core.wire import Ask, Cancel, Question
from harness.errors import StoreError
from harness.server.service import Service


class SlowStore:
    """A store that says yes or no when the test wants it."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Sequence[Group], Done]] = []

    def save(self, groups: Sequence[Group], done: Done) -> None:
        self.jobs.append((groups, done))

    async def answer(self, *, well: bool) -> None:
        groups, done = self.jobs.pop(0)
        done([None if well else StoreError("disk full")] * len(groups))
        await asyncio.sleep(0.01)


class Room:
    """Processes that only listen."""

    def __init__(self) -> None:
        self.heard: list[Question] = []

    def say(self, bot: str, line: Question) -> None:
        assert bot == "a"
        self.heard.append(line)

    def start(self, act: StartBot) -> None:
        assert act.bot == "a"

    def pause(self, *, paused: bool) -> None:
        raise AssertionError(paused)


def play(tmp_path: Path, story: Callable[[Service, SlowStore, Room], Awaitable[None]]) -> None:
    async def tell() -> None:
        store, room, log = SlowStore(), Room(), BreakerLog(tmp_path)
        settings = Settings(turns_max=1)
        service = Service(settings=settings, epoch="e", store=store, breaker_log=log, journal=None)  # type: ignore[arg-type]
        service.connect(room)  # type: ignore[arg-type]
        for fact in (BotWanted("a", "echo"), BotStarted("a", 7), BotReady("a")):
            service.handle(fact)
        await story(service, store, room)
        await service.close(drain_max_s=1.0)
        log.close()

    asyncio.run(asyncio.wait_for(tell(), 30))


def test_a_message_that_could_not_be_saved_is_not_asked_by_what_was_decided_meanwhile(tmp_path: Path) -> None:
    async def story(service: Service, store: SlowStore, room: Room) -> None:
        service.handle(Said(1, "s", "a", "c1", "first"))
        await store.answer(well=True)
        (first,) = room.heard
        service.handle(Said(1, "s", "a", "c2", "second"))  # Waits for the only place, and for the store.
        service.handle(BotEnded("a", first.turn))  # Frees the place, before the store has spoken.
        await store.answer(well=False)
        await store.answer(well=True)
        assert not [line for line in room.heard if isinstance(line, Ask) and line.text == "second"]
        service.handle(Said(1, "s", "a", "c3", "third"))
        await store.answer(well=True)
        assert isinstance(room.heard[-1], Ask)
        assert room.heard[-1].text == "third"

    play(tmp_path, story)


def test_a_bot_hears_that_nobody_waits_also_if_that_could_not_be_saved(tmp_path: Path) -> None:
    async def story(service: Service, store: SlowStore, room: Room) -> None:
        service.handle(Said(1, "s", "a", "c1", "first"))
        await store.answer(well=True)
        (first,) = room.heard
        service.handle(BotSaid("a", first.turn, "well"))
        service.handle(UserCancelled("s", first.turn))
        await store.answer(well=False)
        assert room.heard[1:] == [Cancel(first.turn)]

    play(tmp_path, story)


def test_a_tick_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.server.service.CARE_EVERY_S", 0.05)

    async def story(service: Service, store: SlowStore, room: Room) -> None:
        del store, room
        failed, problems = asyncio.Event(), list[object]()

        def hear(_: object, context: dict[str, object]) -> None:
            problems.append(context.get("exception"))
            failed.set()

        asyncio.get_running_loop().set_exception_handler(hear)
        service.handle(Felt(store_ok=True, loop_lag_s=float("nan"), memory_bytes=1))
        service.handle(Began())
        async with asyncio.timeout(10):
            await failed.wait()
            service.handle(Felt(store_ok=True, loop_lag_s=0.0, memory_bytes=1))
            while service.score() is None:  # noqa: ASYNC110 - the score is no event: who wants it looks.
                await asyncio.sleep(0.01)
        assert {type(problem) for problem in problems} == {ValueError}

    play(tmp_path, story)
