"""What one connection writes, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import orjson

from harness.adapters.sqlite import Message
from harness.core.events import BotStatus, Delta, ServiceMode
from harness.core.settings import Settings
from harness.server.hub import CHARS_MAX, CLOSE_TOO_SLOW, Connection, Tally, encode


def status(state: str) -> BotStatus:
    return BotStatus("b", "echo", state, "closed", None, 1, 0, 0, 0, "")


WELL = ServiceMode("full", "good", 100.0, (), "")


def test_a_state_that_is_newer_than_a_welcome_does_not_overtake_it() -> None:
    """The welcome lists the bots: an older list behind a newer state would win."""
    sent: list[dict[str, Any]] = []

    async def story() -> None:
        all_three = asyncio.Event()

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(orjson.loads(message["text"]) if "text" in message else {"type": "close"})
            if len(sent) >= 3:
                all_three.set()

        connection = Connection(1, send, frames_max=10)
        connection.tell_status("b", encode(status("starting")))  # Older than the welcome: it is in there.
        connection.welcome(
            session=None,
            epoch="e",
            head_seq=0,
            recovered=False,
            messages=[],
            more=False,
            settings=Settings(),
            statuses=[status("starting")],
            mode=WELL,
        )
        connection.tell_status("b", encode(status("online")))
        connection.tell_status("b", encode(status("restarting")))
        connection.tell(encode(status("stopped")))
        writing = asyncio.create_task(connection.write_on())
        await all_three.wait()
        connection.close(1000, "")
        await writing

    asyncio.run(asyncio.wait_for(story(), 10))
    assert [frame["type"] for frame in sent] == ["welcome", "bot-status", "bot-status", "close"]
    assert [frame.get("state") for frame in sent[1:3]] == ["restarting", "stopped"]


def welcomed(connection: Connection, text: str) -> None:
    connection.welcome(
        session="s",
        epoch="e",
        head_seq=0,
        recovered=False,
        messages=[Message("m", "c", "user", text, "accepted", "", 1.0)],
        more=False,
        settings=Settings(),
        statuses=[],
        mode=WELL,
    )


def written(connection: Connection) -> list[dict[str, Any]]:
    """Everything that a connection writes, up to its close frame."""
    sent: list[dict[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(orjson.loads(message["text"]) if "text" in message else dict(message))
        if "text" in message and sent[-1]["type"] == "pong":
            connection.close(1000, "")

    connection._send = send
    asyncio.run(asyncio.wait_for(connection.write_on(), 10))
    return sent


async def nowhere(message: MutableMapping[str, Any]) -> None:
    raise AssertionError(message)


def test_a_newer_welcome_takes_the_place_of_one_that_waits() -> None:
    connection = Connection(1, nowhere, frames_max=10)
    for number in range(100):
        welcomed(connection, f"{number} {'x' * CHARS_MAX}")
    connection.tell('{"type":"pong"}')
    (welcome, pong, close) = written(connection)
    assert welcome["messages"][0]["text"].startswith("99 ")
    assert (pong["type"], close["code"]) == ("pong", 1000)


def test_what_waits_is_bounded_in_characters() -> None:
    connection = Connection(1, nowhere, frames_max=1_000)
    welcomed(connection, "x" * CHARS_MAX)  # Beside the bound, whatever its length.
    for _ in range(8):
        connection.tell("x" * (CHARS_MAX // 8))
    assert connection._closing is None
    connection.tell("x")
    welcomed(connection, "too late")
    (close,) = written(connection)
    assert close["code"] == CLOSE_TOO_SLOW


def test_what_was_missed_and_is_sent_again_does_not_count_in_characters_either() -> None:
    connection = Connection(1, nowhere, frames_max=10)
    connection.replay([(1, Delta("t", 0, "x" * CHARS_MAX)), (2, Delta("t", CHARS_MAX, "y"))])
    connection.tell('{"type":"pong"}')
    assert [frame["type"] for frame in written(connection)] == ["delta", "delta", "pong", "websocket.close"]


class Door:
    """A socket that takes frames only when it is told to."""

    def __init__(self) -> None:
        self.taken = 0
        self._open = asyncio.Semaphore(0)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self._open.acquire()
        assert message
        self.taken += 1

    async def take(self, frames: int) -> None:
        wanted = self.taken + frames
        for _ in range(frames):
            self._open.release()
        while self.taken < wanted:  # noqa: ASYNC110 - the writer's own turns are what is waited for
            await asyncio.sleep(0)
        await asyncio.sleep(0)


def filled(door: Door, *, frames: int, tally: Tally | None = None) -> Connection:
    connection = Connection(1, door.send, frames_max=100, tally=tally)
    for number in range(frames):
        connection.tell(f'{{"n":{number}}}')
    return connection


def paused(connection: Connection) -> bool:
    """Ask anew each time: a type checker takes a property for a value that stays."""
    return connection.paused


def test_who_has_half_of_what_may_wait_is_not_listened_to_until_only_a_quarter_waits() -> None:
    async def story() -> None:
        door, tally = Door(), Tally()
        connection = filled(door, frames=49, tally=tally)
        assert not paused(connection)
        connection.tell("{}")
        assert paused(connection)
        connection.tell("{}")
        waits = asyncio.create_task(connection.calm())
        writing = asyncio.create_task(connection.write_on())
        await door.take(25)
        assert paused(connection)
        assert not waits.done()
        await door.take(2)
        assert not paused(connection)
        await waits
        assert (tally.pauses, tally.dropped) == (1, 0)
        writing.cancel()

    asyncio.run(asyncio.wait_for(story(), 10))


def test_few_long_frames_count_as_much_as_many_short_ones() -> None:
    connection = Connection(1, nowhere, frames_max=1_000)
    connection.tell("x" * (CHARS_MAX // 2 + 1))
    assert connection.paused


def test_who_is_sent_away_or_gone_keeps_nobody_waiting() -> None:
    async def story() -> None:
        tally = Tally()
        connection = filled(Door(), frames=101, tally=tally)
        assert connection.closing
        assert not connection.paused
        await connection.calm()
        connection.tell("{}")
        assert (tally.pauses, tally.dropped) == (1, 1)

        async def broken(message: MutableMapping[str, Any]) -> None:
            raise OSError(f"gone before {message}")

        lost = Connection(2, broken, frames_max=2)
        lost.tell("{}")
        assert lost.paused
        await lost.write_on()
        await lost.calm()

    asyncio.run(asyncio.wait_for(story(), 10))
