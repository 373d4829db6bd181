"""What is left after kill -9, after a restart, and when the disk is full."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from websockets.exceptions import ConnectionClosed

from harness.adapters.counters import bot_socket_path, probe, socket_path

if TYPE_CHECKING:
    from tests.conftest import Served, Talk

USERS, EACH = 20, 25


def run(story: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90):
            await story

    asyncio.run(bounded())


def bots_of(service: Served) -> list[psutil.Process]:
    """The bots of this service, while it runs."""
    return [child for child in psutil.Process(service.pid).children() if "fake_bots" in child.cmdline()]


def test_kill_9_under_load_loses_no_accepted_message_and_doubles_none(chat: Served) -> None:
    chat.start("--set", "turns_max=500")
    sessions = [
        chat.session(bot) for bot in (chat.launch("slow", "a"), chat.launch("slow", "b")) for _ in range(USERS // 2)
    ]
    accepted: dict[str, set[str]] = {session: set() for session in sessions}
    enough = asyncio.Event()

    async def user(session: str) -> None:
        with suppress(ConnectionClosed):  # Perhaps even before it was welcome.
            async with chat.joined(session) as talk:
                for number in range(EACH):
                    await talk.tell(type="say", cid=f"c{number}", text=f"message {number} of {session}")
                while True:
                    frame = await talk.hear()
                    if frame["type"] == "accepted":
                        accepted[session].add(frame["cid"])
                        if sum(map(len, accepted.values())) >= USERS * EACH // 2:
                            enough.set()

    async def story() -> None:
        users = [asyncio.create_task(user(session)) for session in sessions]
        await enough.wait()
        chat.kill()
        await asyncio.gather(*users)

    bots = bots_of(chat)
    assert len(bots) == 2
    run(story())
    _, alive = psutil.wait_procs(bots, timeout=20)
    assert not alive, "bots outlived their service"

    port = chat.port
    chat.start("--set", "turns_max=500", port=port)
    for session in sessions:
        stored = Counter(message["cid"] for message in chat.messages(session) if message["role"] == "user")
        assert set(stored) >= accepted[session]
        assert set(stored.values()) <= {1}
        for reply in chat.messages(session):
            if reply["role"] == "bot":
                assert reply["state"] in ("interrupted", "done")
    assert sum(map(len, accepted.values())) >= USERS * EACH // 2

    async def again() -> None:
        """Who heard nothing sends again with the same cid: it is answered, and still there once."""
        await asyncio.to_thread(chat.await_bot, "a", state="online")
        async with chat.joined(sessions[0]) as talk:
            for number in range(EACH):
                await talk.tell(type="say", cid=f"c{number}", text=f"message {number} of {sessions[0]}")
            heard: set[str] = set()
            while len(heard) < EACH:
                frame = await talk.hear()
                if frame["type"] == "accepted":
                    heard.add(frame["cid"])

    run(again())
    stored = Counter(message["cid"] for message in chat.messages(sessions[0]) if message["role"] == "user")
    assert stored == Counter(f"c{number}" for number in range(EACH))


def test_a_restart_marks_what_it_cut_short_and_brings_the_bots_back(chat: Served) -> None:
    chat.start("--set", "checkpoint_s=0.05")
    streaming = chat.session(chat.launch("slow", "talker", first_token_s=0.0, token_s=0.03))
    silent = chat.session(chat.launch("slow", "mute", first_token_s=1.0))
    done = chat.session(chat.launch("echo"))
    epochs = {}

    async def story() -> None:
        async with chat.joined(streaming) as a, chat.joined(silent) as b, chat.joined(done) as c:
            epochs["talker"] = a.welcome["epoch"]
            await c.say("c1", "finished")
            await b.tell(type="say", cid="c1", text="nobody was quick enough")
            await b.until("accepted")
            await a.tell(type="say", cid="c1", text=" ".join(["word"] * 200))
            heard = 0
            while heard < 15:
                heard += (await a.until("delta"))[-1]["type"] == "delta"
        chat.kill()

    run(story())
    chat.start("--set", "checkpoint_s=0.05")
    asked, reply = chat.messages(streaming)
    assert (asked["state"], reply["state"], reply["cid"]) == ("accepted", "interrupted", "c1")
    assert "word" in reply["text"]
    assert reply["error"] == "the service was restarted before the bot answered; send it again"
    assert [message["state"] for message in chat.messages(done)] == ["accepted", "done"]
    for bot in ("talker", "mute", "echo"):
        chat.await_bot(bot, state="online")
    # What was accepted and not begun is asked again, under the same name: nobody has to send it twice.
    while len(found := chat.messages(silent)) < 2 or found[1]["state"] == "streaming":
        time.sleep(0.05)
    asked, reply = found
    assert (reply["state"], reply["cid"]) == ("done", "c1")
    assert "quick" in reply["text"]
    assert reply["mid"] == asked["mid"].removesuffix(".q")

    async def resumed() -> None:
        async with chat.joined(streaming, epochs["talker"], 5) as talk:
            assert talk.welcome["recovered"] is False
            assert talk.welcome["epoch"] != epochs["talker"]
            assert [message["state"] for message in talk.welcome["messages"]] == ["accepted", "interrupted"]
            # The same cid again is the same message: nothing is doubled, and the reply stays interrupted.
            await talk.tell(type="say", cid="c1", text="x")
            again = (await talk.until("accepted"))[-1]
            assert again["mid"] == talk.welcome["messages"][0]["mid"]
            await talk.tell(type="say", cid="c2", text="and now")
            assert (await talk.until("begin"))[0]["type"] == "accepted"

    run(resumed())
    assert len([message for message in chat.messages(streaming) if message["cid"] == "c1"]) == 2
    chat.stop()
    chat.start()
    # A second restart finds nothing of the first one to mark or to ask again.
    assert chat.messages(silent)[1]["mid"] == reply["mid"]
    assert len(chat.messages(silent)) == 2


def test_what_waits_in_the_queue_survives_kill_9_and_is_answered_in_its_order(chat: Served) -> None:
    """One place, ten messages: one is being answered, nine wait when the service is killed."""
    chat.start("--set", "turns_max=1", "--set", "checkpoint_s=0.05")
    session = chat.session(chat.launch("slow", "one", first_token_s=0.2, token_s=0.02))

    async def story() -> None:
        async with chat.joined(session) as talk:
            for number in range(10):
                await talk.tell(type="say", cid=f"c{number}", text=f"question {number}")
            accepted = 0
            while accepted < 10:
                accepted += (await talk.until("accepted"))[-1]["type"] == "accepted"
            await talk.until("delta")
        chat.kill()

    run(story())
    chat.start("--set", "turns_max=1")
    deadline = time.monotonic() + 60
    while len(replies := [each for each in chat.messages(session) if each["role"] == "bot"]) < 10 or any(
        each["state"] == "streaming" for each in replies
    ):
        assert time.monotonic() < deadline, replies
        time.sleep(0.1)
    asked = [each["cid"] for each in chat.messages(session) if each["role"] == "user"]
    assert asked == [f"c{number}" for number in range(10)]
    states = {each["cid"]: each["state"] for each in replies}
    # The one whose reply had begun may be cut short; whoever waited gets a whole one.
    assert Counter(states.values())["done"] >= 9
    assert states["c9"] == "done"
    done = [each for each in replies if each["state"] == "done"]
    assert [each["cid"] for each in sorted(done, key=lambda each: each["at"])] == [each["cid"] for each in done]


def test_a_polite_end_in_the_middle_of_a_reply_reads_the_same_after_the_restart(chat: Served) -> None:
    chat.start("--set", "checkpoint_s=0.05")
    session = chat.session(chat.launch("slow", first_token_s=0.0, token_s=0.05))

    async def story() -> None:
        async with chat.joined(session) as talk:
            await talk.tell(type="say", cid="c1", text=" ".join(["word"] * 100))
            for _ in range(6):
                await talk.until("delta")

    run(story())
    assert chat.stop() == 0
    chat.start()
    assert [message["state"] for message in chat.messages(session)] == ["accepted", "interrupted"]


def test_what_cannot_be_saved_is_rejected_and_nothing_stored_is_lost(service: Served) -> None:
    """A limit on the size of files is what a full disk is to a writer: it fails in the middle, and can be lifted."""
    bot, hanging = service.launch("echo"), service.launch("hang", after=1)
    session, waiting = service.session(bot), service.session(hanging)

    def limit(size: int) -> None:
        _, hard = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (size, hard))

    async def rejected(talk: Talk, cid: str) -> dict[str, Any]:
        await talk.tell(type="say", cid=cid, text="can you keep this?")
        return (await talk.until("rejected"))[-1]

    async def story() -> None:
        async with service.joined(session) as talk, service.joined(waiting) as other, service.joined(session) as tab:
            assert (await talk.say("c1", "before"))[-1]["type"] == "end"
            await other.tell(type="say", cid="w1", text="wait for me")
            await other.until("accepted")
            limit(1)
            for cid in ("c2", "c3"):
                frame = await rejected(talk, cid)
                assert (frame["code"], frame["cid"]) == ("not-saved", cid)
                assert "chat.sqlite3" in frame["message"]
            assert (await asyncio.to_thread(service.call, "POST", "/api/sessions", {"bot": bot}))[0] == 503
            status, ready = await asyncio.to_thread(service.call, "GET", "/health/ready")
            while status == 200:
                status, ready = await asyncio.to_thread(service.call, "GET", "/health/ready")
            assert "store:write" in ready["output"]
            assert [message["text"] for message in service.messages(session)] == ["before", "You said: before"]
            limit(resource.RLIM_INFINITY)
            while (await asyncio.to_thread(service.call, "GET", "/health/ready"))[0] != 200:
                pass
            await talk.tell(type="say", cid="c4", text="after")
            while (await talk.until("end"))[-1]["cid"] != "c4":
                pass
            # Another tab of the session has seen no gap, and nothing of what was refused.
            log = await tab.until("end") + await tab.until("end")
            assert [frame["seq"] for frame in log] == list(range(1, len(log) + 1))
            assert not {frame.get("cid") for frame in log} & {"c2", "c3"}

    run(story())
    stored = service.messages(session)
    assert [message["cid"] for message in stored] == ["c1", "c1", "c4", "c4"]
    assert [message["role"] for message in stored] == ["user", "bot"] * 2
    assert service.bot(bot)["breaker"] == "closed"
    assert service.bot(bot)["in_flight"] == 0
    _, metrics = service.call("GET", "/metrics")
    assert b"chat_not_saved_total 0" not in metrics
    assert service.stop() == 0


def test_a_bot_that_dies_while_nothing_can_be_saved_comes_back_all_the_same(chat: Served) -> None:
    chat.start("--set", "breaker_failures_max=20")
    bot = chat.launch("slow", first_token_s=30.0)
    session = chat.session(bot)

    async def story() -> None:
        async with chat.joined(session) as talk:
            await talk.tell(type="say", cid="c1", text="you will not answer this")
            await talk.until("accepted")
            _, hard = resource.prlimit(chat.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(chat.pid, resource.RLIMIT_FSIZE, (1, hard))
            psutil.Process(chat.bot(bot)["pid"]).kill()
            failed = (await talk.until("failed"))[-1]
            assert failed["code"] == "not-saved"
            await asyncio.to_thread(chat.await_bot, bot, state="online", restarts=1)
            resource.prlimit(chat.pid, resource.RLIMIT_FSIZE, (hard, hard))

    run(story())


def test_kill_9_of_the_service_removes_ready_file_and_bots(service: Served) -> None:
    service.launch("hang")
    bots = bots_of(service)
    service.kill()
    _, alive = psutil.wait_procs(bots, timeout=20)
    assert not alive
    deadline = time.monotonic() + 20
    while service.ready_file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_probe_socket_answers_and_goes(chat: Served) -> None:
    """A folder with a short name: a Unix socket's path has about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="h", dir="/tmp") as folder:
        chat.start(env={"HARNESS_PROBE_DIR": folder})
        chat.launch("echo")
        for path in (socket_path(Path(folder), "service"), bot_socket_path(Path(folder), "echo")):
            assert asyncio.run(probe(path)).counters["blocks"] > 0
        chat.stop()
        assert list(Path(folder).iterdir()) == []
