"""Bots that fail in every way, and the service that stays."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import textwrap
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from harness.core.events import BreakerMoved

if TYPE_CHECKING:
    from tests.conftest import Served


def run(story: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story

    asyncio.run(bounded())


def program(folder: Path, body: str) -> str:
    """Write a bot program; the command that runs it. ``say`` and ``asks`` are there for it."""
    path = folder / "bot.py"
    head = """
        import json, os, sys, time
        out = sys.stdout.buffer
        def say(**line):
            out.write(json.dumps(line).encode() + b"\\n")
            out.flush()
        def asks():
            for line in sys.stdin:
                line = json.loads(line)
                if line["type"] == "ask":
                    yield line["turn"], line["text"]
    """
    path.write_text(textwrap.dedent(head) + textwrap.dedent(body))
    return f"{sys.executable} {path}"


def talked(chat: Served, bot: str, *texts: str) -> list[dict[str, Any]]:
    """Say these texts one after another; the last frame of each."""
    session = chat.session(bot)
    ends: list[dict[str, Any]] = []

    async def story() -> None:
        async with chat.joined(session) as talk:
            for number, text in enumerate(texts):
                ends.append((await talk.say(f"c{number}", text))[-1])

    run(story())
    return ends


def transitions(chat: Served) -> list[tuple[int, str, str, str]]:
    lines = (chat.bot_logs / "circuit-breaker.jsonl").read_text().splitlines()
    start, *found = [json.loads(line) for line in lines]
    assert (start["record"], start["why"], start["breakers"]) == ("anchor", "start", {})
    assert [line["line"] for line in found] == list(range(2, len(lines) + 1))
    names = {"before": "from", "after": "to"}
    told = {names.get(field.name, field.name) for field in fields(BreakerMoved)}
    assert all(set(line) == {"ts", "mono", "line"} | told for line in found)
    return [(line["seq"], line["bot"], line["from"], line["to"]) for line in found]


def test_invalid_utf8_from_a_bot_fails_the_turn_with_the_defect_and_nothing_else(service: Served) -> None:
    garbled, echo = service.launch("garbled", defect="utf-8", after=1), service.launch("echo")
    (end,) = talked(service, garbled, "one")
    assert (end["type"], end["code"]) == ("failed", "bot-garbled")
    assert "not UTF-8" in end["message"]
    assert talked(service, echo, "still there?")[0]["type"] == "end"
    assert service.bot(garbled)["state"] == "online"


@pytest.mark.parametrize(
    ("line", "defect"),
    [
        pytest.param(b"hello\n", "not JSON", id="no JSON"),
        pytest.param(b"[]\n", "not an object", id="a list"),
        pytest.param(b'{"type":"shout"}\n', "unknown type 'shout'", id="an unknown type"),
        pytest.param(b'{"type":"delta","turn":1,"text":"x"}\n', "'turn' as a string", id="a number as turn"),
        pytest.param(b'{"type":"ready","v":2}\n', "version 2", id="another version"),
        pytest.param(b"x" * 3_000_000 + b"\n", "more than 1,048,576 bytes", id="a line of three megabytes"),
    ],
)
def test_a_broken_line_is_named_and_the_bot_may_go_on(chat: Served, tmp_path: Path, line: bytes, defect: str) -> None:
    broken = tmp_path / "line"
    broken.write_bytes(line)
    command = program(
        tmp_path,
        f"""
        say(type="ready", v=1)
        for turn, text in asks():
            if text == "break it":
                out.write(open({str(broken)!r}, "rb").read())
                out.flush()
            else:
                say(type="delta", turn=turn, text="fine")
                say(type="end", turn=turn)
        """,
    )
    chat.start("--bot-command", command)
    bot = chat.launch("mine")
    broke, fine = talked(chat, bot, "break it", "and now?")
    assert (broke["type"], broke["code"]) == ("failed", "bot-garbled")
    assert defect in broke["message"]
    assert fine["type"] == "end"


def test_half_characters_become_replacement_marks(chat: Served, tmp_path: Path) -> None:
    command = program(
        tmp_path,
        r"""
        say(type="ready", v=1)
        for turn, text in asks():
            say(type="delta", turn=turn, text="a\ud83d")
            say(type="delta", turn=turn, text="\0b")
            say(type="end", turn=turn)
        """,
    )
    chat.start("--bot-command", command)
    session = chat.session(chat.launch("mine"))

    async def story() -> None:
        async with chat.joined(session) as talk:
            assert (await talk.say("c1", "x"))[-1]["chars"] == 4

    run(story())
    assert chat.messages(session)[-1]["text"] == "a\ufffd\0b"


def test_a_missing_bot_program_is_named(chat: Served) -> None:
    chat.start(
        "--bot-command", "/nowhere/bot-program", "--set", "bot_restart_min_s=0.01", "--set", "bot_restart_max_s=0.02"
    )
    status, answer = chat.call("POST", "/api/bots", {"behaviour": "echo"})
    assert status == 201, answer
    found = chat.await_bot("echo", breaker="open")
    assert found["why"] == "cannot start: /nowhere/bot-program: no such program; check --bot-command"
    rejected = talked(chat, "echo", "hello?")[0]
    assert (rejected["type"], rejected["code"]) == ("rejected", "circuit-open")
    assert "no such program" in rejected["message"]
    assert rejected["retry_after_s"] > 0
    assert transitions(chat) == [(1, "echo", "closed", "open")]


def test_an_unknown_behaviour_is_refused_with_a_suggestion(steady: Served) -> None:
    status, answer = steady.call("POST", "/api/bots", {"behaviour": "ecko"})
    assert (status, answer["error"]["code"]) == (422, "bad-field")
    assert answer["error"]["message"] == "behaviour: no behaviour 'ecko' (did you mean 'echo'?)"
    assert steady.call("GET", "/api/bots")[1]["bots"] == []


def test_a_bot_that_is_killed_fails_its_turn_and_comes_back(service: Served) -> None:
    bot = service.launch("slow", first_token_s=0.0, token_s=0.05)
    session = service.session(bot)

    async def story() -> None:
        async with service.joined(session) as talk:
            await talk.tell(type="say", cid="c1", text="one two three four five six seven eight nine ten")
            await talk.until("delta")
            os.kill(service.bot(bot)["pid"], signal.SIGKILL)
            failed = (await talk.until("failed"))[-1]
            assert failed["code"] == "bot-gone"
            assert "signal 9" in failed["message"]
        await asyncio.to_thread(service.await_bot, bot, state="online", restarts=1)
        async with service.joined(session) as talk:
            assert (await talk.say("c2", "hi"))[-1]["type"] == "end"

    run(story())
    replies = [message for message in service.messages(session) if message["role"] == "bot"]
    assert [reply["state"] for reply in replies] == ["failed", "done"]
    assert replies[0]["text"]


def test_the_breaker_opens_refuses_probes_and_closes_and_every_move_is_written_down(chat: Served) -> None:
    limits = ("breaker_cooldown_s=0.5", "breaker_failures_max=3", "bot_restart_min_s=0.01", "bot_restart_max_s=0.05")
    chat.start(*(word for limit in limits for word in ("--set", limit)))
    bot = chat.launch("echo")
    while (now := chat.bot(bot))["breaker"] == "closed":
        if now["state"] == "online" and now["pid"] is not None and psutil.pid_exists(now["pid"]):
            os.kill(now["pid"], signal.SIGKILL)
    (rejected,) = talked(chat, bot, "x")
    assert rejected["code"] == "circuit-open"
    assert rejected["message"].startswith("Bot Unavailable (recovering)")
    chat.await_bot(bot, breaker="half-open", state="online")
    assert talked(chat, bot, "probe")[0]["type"] == "end"
    assert chat.bot(bot)["breaker"] == "closed"
    assert transitions(chat) == [
        (1, bot, "closed", "open"),
        (2, bot, "open", "half-open"),
        (3, bot, "half-open", "closed"),
    ]
    _, metrics = chat.call("GET", "/metrics")
    assert b'chat_breaker_transitions_total{bot="echo",from="closed",to="open"} 1' in metrics


def test_what_a_bot_writes_to_stderr_stands_in_its_log(chat: Served, tmp_path: Path) -> None:
    command = program(
        tmp_path,
        """
        for _ in range(300):
            sys.stderr.write("x" * 9_999 + "\\n")
        sys.stderr.write("last words\\n")
        sys.stderr.flush()
        say(type="ready", v=1)
        for turn, text in asks():
            say(type="end", turn=turn)
        """,
    )
    chat.start("--bot-command", command)
    chat.launch("mine", name="talker")
    chat.stop()
    newer, older = chat.bot_logs / "talker.log", chat.bot_logs / "talker.log.1"
    assert newer.read_text().endswith("last words\n")
    assert newer.stat().st_size <= 1_048_576
    assert older.stat().st_size <= 1_048_576


def test_a_flood_from_one_bot_does_not_silence_another(chat: Served, tmp_path: Path) -> None:
    command = program(
        tmp_path,
        """
        say(type="ready", v=1)
        for turn, text in asks():
            for _ in range(20_000 if text == "flood" else 1):
                say(type="delta", turn=turn, text="word ")
            say(type="end", turn=turn)
        """,
    )
    chat.start("--bot-command", command)
    wild, calm = chat.session(chat.launch("mine", name="wild")), chat.session(chat.launch("mine", name="calm"))

    async def story() -> None:
        async with chat.joined(wild) as loud, chat.joined(calm) as quiet:
            await loud.tell(type="say", cid="c1", text="flood")
            for number in range(10):
                assert (await quiet.say(f"q{number}", "hi"))[-1]["type"] == "end"
            assert (await loud.until("end"))[-1]["chars"] == 100_000

    run(story())


def test_a_bot_that_does_not_start_in_time_is_ended_and_tried_again(chat: Served, tmp_path: Path) -> None:
    chat.start("--bot-command", program(tmp_path, "time.sleep(600)"), "--set", "bot_start_max_s=0.2")
    chat.call("POST", "/api/bots", {"behaviour": "mute"})
    deadline = time.monotonic() + 30
    while chat.bot("mute")["restarts"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    gone = [line for line in map(json.loads, chat.journal.read_text().splitlines()) if line.get("what") == "gone"]
    assert gone[0]["why"] == "signal 15 (SIGTERM)"


def test_a_bot_that_ignores_its_end_is_killed_with_what_it_forked(chat: Served, tmp_path: Path) -> None:
    command = program(
        tmp_path,
        """
        import signal, subprocess
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "FORKED-BY-BOT"])
        say(type="ready", v=1)
        for turn, text in asks():
            say(type="delta", turn=turn, text=str(child.pid))
            say(type="end", turn=turn)
        while True:
            time.sleep(1)
        """,
    )
    chat.start("--bot-command", command)
    bot = chat.launch("mine")
    pid = chat.bot(bot)["pid"]
    session = chat.session(bot)
    talk_once = talked(chat, bot, "who is there?")
    assert talk_once[0]["type"] == "end"
    listed = chat.call("GET", "/api/sessions?bot=mine")[1]["sessions"]
    forked = next(
        int(reply["text"]) for entry in listed for reply in chat.messages(entry["id"]) if reply["role"] == "bot"
    )
    assert psutil.pid_exists(forked)
    assert chat.call("DELETE", f"/api/bots/{bot}")[0] == 204
    status, answer = chat.call("POST", "/api/bots", {"behaviour": "mine", "name": bot})
    assert (status, answer["error"]["code"]) == (409, "name-taken")
    gone = {psutil.Process(each) for each in (pid, forked) if psutil.pid_exists(each)}
    _, alive = psutil.wait_procs(gone, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert chat.messages(session) == []


def test_a_bot_that_was_removed_refuses_and_its_sessions_stay(service: Served) -> None:
    bot = service.launch("echo")
    session = service.session(bot)

    async def story() -> None:
        async with service.joined(session) as talk:
            await talk.say("c1", "hi")
            await asyncio.to_thread(service.call, "DELETE", f"/api/bots/{bot}")
            rejected = (await talk.say("c2", "hello?"))[-1]
            assert (rejected["type"], rejected["code"]) == ("rejected", "no-bot")

    run(story())
    assert len(service.messages(session)) == 2
    assert service.call("GET", "/api/bots")[1]["bots"] == []


def test_a_bot_that_was_removed_and_launched_again_survives_a_restart(chat: Served) -> None:
    """Under load: what the removal still had to write must not come after what the launch wrote."""
    limits = ("turns_max=500", "bot_restart_min_s=60", "bot_restart_max_s=60")
    chat.start(*(word for limit in limits for word in ("--set", limit)))
    crowd = chat.launch("echo", "crowd")
    sessions = [chat.session(crowd) for _ in range(8)]
    bots = [chat.launch("echo") for _ in range(8)]
    # A bot whose process is gone can be launched again at once.
    for bot in bots:
        os.kill(chat.bot(bot)["pid"], signal.SIGKILL)
        chat.await_bot(bot, state="restarting")

    async def story() -> None:
        async def chatter(session: str) -> None:
            async with chat.joined(session) as talk:
                for number in itertools.count():
                    await talk.say(f"c{number}", "hi")

        crowded = [asyncio.create_task(chatter(session)) for session in sessions]
        for bot in bots:
            assert (await asyncio.to_thread(chat.call, "DELETE", f"/api/bots/{bot}"))[0] == 204
            await asyncio.to_thread(launched_again, chat, bot)
        for one in crowded:
            one.cancel()
        await asyncio.wait(crowded)

    run(story())
    assert chat.stop() == 0
    chat.start()
    assert {bot["bot"] for bot in chat.call("GET", "/api/bots")[1]["bots"]} == {crowd, *bots}


def launched_again(chat: Served, bot: str) -> None:
    deadline = time.monotonic() + 30
    while (answer := chat.call("POST", "/api/bots", {"behaviour": "echo", "name": bot}))[0] == 409:
        assert time.monotonic() < deadline, answer
        time.sleep(0.002)
    assert answer[0] == 201
