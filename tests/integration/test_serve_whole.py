"""The whole over HTTP and WebSocket: capacity, mode, score, pace, processes that come and go."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from tests.conftest import Served


def run(story: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story

    asyncio.run(bounded())


def get(service: Served, path: str) -> Any:
    status, body = service.call("GET", path)
    assert status == 200, body
    return body if isinstance(body, dict) else json.loads(body)


def test_capacity_says_how_full_everything_is_and_a_limit_can_be_changed(service: Served) -> None:
    service.launch("echo")
    report = get(service, "/api/capacity")
    assert report["limits"]["bots"]["used"] == 1
    assert report["bots"]["echo"]["instances"] == 1
    assert report["recommendation"]["action"] in ("hold", "read-again")
    status, changed = service.call("PUT", "/api/capacity/tasks_per_s", {"allowed": 7, "author": "ada"})
    assert status == 200, changed
    assert (status, changed["limits"]["tasks_per_s"]["allowed"]) == (200, 7)
    for limit, allowed in (("cows", 7), ("bots", -1), ("queue_bytes", 1e308), ("bots", 10**19), ("queue_age_s", 1e300)):
        status, refused = service.call("PUT", f"/api/capacity/{limit}", {"allowed": allowed, "author": "ada"})
        assert (status, refused["error"]["code"]) == (422, "bad-field")
    assert get(service, "/api/capacity")["limits"]["bots"]["allowed"] == 32


def test_memory_is_measured_and_limited(chat: Served) -> None:
    chat.start("--set", "memory_bytes_max=1000000")
    session = chat.session(chat.launch("echo"))

    async def story() -> None:
        async with chat.joined(session) as talk:
            await talk.tell(type="say", cid="c1", text="hi")
            refused = (await talk.until("rejected"))[-1]
            assert refused["code"] == "over-capacity"
            assert "memory_bytes" in refused["message"]

    run(story())


def test_the_score_is_there_after_a_moment_and_its_parts_add_up(service: Served) -> None:
    service.launch("echo")
    deadline = time.monotonic() + 20
    while (score := get(service, "/api/score")["score"]) is None or score["score"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert abs(sum(part["points"] for part in score["contributions"]) - score["score"]) < 1e-6
    assert {part["component"] for part in score["contributions"]} >= {"store", "memory_share", "cpu_share"}


def test_maintenance_is_told_to_everybody_and_refuses_messages(service: Served) -> None:
    session = service.session(service.launch("echo"))

    async def story() -> None:
        async with service.joined(session) as talk:
            assert talk.welcome["mode"]["mode"] == "full"
            order = {"mode": "maintenance", "author": "ada", "reason": "new disks", "ttl_s": 60}
            status, mode = await asyncio.to_thread(service.call, "PUT", "/api/mode", order)
            assert (status, mode["mode"], mode["why"]) == (200, "maintenance", "new disks")
            told = (await talk.until("service-mode"))[-1]
            assert (told["mode"], "messages" in told["off"]) == ("maintenance", True)
            await talk.tell(type="say", cid="c1", text="hi")
            refused = (await talk.until("rejected"))[-1]
            assert refused["code"] == "maintenance"
            assert refused["retry_after_s"] <= 60
            status, ready = await asyncio.to_thread(service.call, "GET", "/health/ready")
            assert (status, ready["output"]) == (503, "maintenance: new disks")
            await asyncio.to_thread(service.call, "PUT", "/api/mode", {"mode": "auto", "author": "ada"})
            assert (await talk.say("c2", "and now"))[-1]["type"] == "end"

    run(story())
    assert service.call("GET", "/health/ready")[0] == 200
    status, refused = service.call("PUT", "/api/mode", {"mode": "fast", "author": "ada", "reason": "x"})
    assert (status, refused["error"]["code"]) == (422, "bad-field")


def test_a_degraded_service_does_without_what_is_missed_least(service: Served) -> None:
    session = service.session(service.launch("echo"))
    order = {"mode": "degraded", "author": "ada", "reason": "we save our strength", "ttl_s": 60}
    assert service.call("PUT", "/api/mode", order)[1]["off"] == ["launches", "series", "checkpoints", "retries"]
    for method, path, body in (
        ("GET", "/api/series?name=chat_sockets", None),
        ("POST", "/api/bots", {"behaviour": "echo", "name": "another"}),
    ):
        status, refused = service.call(method, path, body)
        assert (status, refused["error"]["code"]) == (503, "degraded")
        assert "the mode of the service is degraded (we save our strength)" in refused["error"]["message"]
        assert refused["error"]["retry_after_s"] > 0
    assert {"kind": "transient", "code": "degraded", "count": 2, "recent": 2} in get(service, "/api/errors")["failures"]

    async def story() -> None:
        async with service.joined(session) as talk:
            assert (await talk.say("c1", "still there?"))[-1]["type"] == "end"

    run(story())


def test_a_breaker_can_be_forced_by_hand_and_the_order_ends_by_itself(service: Served) -> None:
    bot = service.launch("echo")
    session = service.session(bot)
    path = f"/api/bots/{bot}/breaker"

    async def story() -> None:
        async with service.joined(session) as talk:
            order = {"state": "forced-open", "author": "ada", "ttl_s": 1.5}
            status, told = await asyncio.to_thread(service.call, "PUT", path, order)
            assert (status, told["breaker"], told["why"]) == (200, "forced-open", "forced-open by ada")
            assert (await talk.until("bot-status"))[-1]["breaker"] == "forced-open"
            refused = (await talk.say("c1", "hi"))[-1]
            assert (refused["type"], refused["code"]) == ("rejected", "circuit-open")
            assert 0 < refused["retry_after_s"] <= 1.5
            while (await talk.until("bot-status"))[-1]["breaker"] != "half-open":
                pass
            assert (await talk.say("c1", "hi"))[-1]["type"] == "end"

    run(story())
    service.await_bot(bot, breaker="closed")
    lines = [json.loads(line) for line in (service.bot_logs / "circuit-breaker.jsonl").read_text().splitlines()]
    moves = [(line["to"], line["cause"], line["author"], line["ttl_s"]) for line in lines if "to" in line]
    assert moves == [
        ("forced-open", "manual", "ada", 1.5),
        ("half-open", "ttl", "", 0.0),
        ("closed", "probe-ok", "", 0.0),
    ]
    for state, value in (("forced-open", 3), ("disabled", -1), ("metrics-only", -2), ("closed", 0)):
        assert service.call("PUT", path, {"state": state, "author": "ada"})[0] == 200
        assert f'chat_breaker_state{{bot="{bot}"}} {value}\n' in service.call("GET", "/metrics")[1].decode()
    for wrong in (
        {"state": "open", "author": "ada"},
        {"state": "forced-open", "author": ""},
        {"state": "forced-open", "author": "a" * 101},
        {"state": "forced-open", "author": "ada", "ttl_s": 0},
        {"state": "forced-open", "author": "ada", "ttl_s": 1e300},
    ):
        status, refusal = service.call("PUT", path, wrong)
        assert (status, refusal["error"]["code"]) == (422, "bad-field"), wrong
    assert service.call("PUT", "/api/bots/nobody/breaker", {"state": "closed", "author": "ada"})[0] == 404
    assert service.bot(bot)["breaker"] == "closed"


def test_a_session_that_sends_too_fast_is_slowed_down(chat: Served) -> None:
    chat.start("--set", "session_rate_per_s=2", "--set", "session_burst=2")
    session = chat.session(chat.launch("echo"))

    async def story() -> None:
        async with chat.joined(session) as talk:
            for number in range(3):
                await talk.tell(type="say", cid=f"c{number}", text="hi")
            refused = (await talk.until("rejected"))[-1]
            assert (refused["cid"], refused["code"]) == ("c2", "rate-limited")
            await asyncio.sleep(refused["retry_after_s"])
            assert (await talk.say("c3", "hi"))[-1]["type"] == "end"

    run(story())


def test_a_busy_bot_gets_real_processes_and_gives_them_back(chat: Served) -> None:
    chat.start(
        *("--set", "instances_max=3", "--set", "turns_max=2", "--set", "scale_down_window_s=1"),
        *("--set", "session_rate_per_s=1000", "--set", "session_burst=1000"),
    )
    bot = chat.launch("slow", first_token_s=0.3, token_s=0.05)
    session = chat.session(bot)

    def processes() -> list[psutil.Process]:
        return [child for child in psutil.Process(chat.pid).children() if "fake_bots" in child.cmdline()]

    async def story() -> None:
        async with chat.joined(session) as talk:
            for number in range(60):
                await talk.tell(type="say", cid=f"c{number}", text="a few words to say back")
            ended = most = 0
            while ended < 60:
                ended += (await talk.hear())["type"] == "end"
                most = max(most, len(await asyncio.to_thread(processes)))
            assert most >= 2

    run(story())
    states = [message["state"] for message in chat.messages(session)]
    assert states.count("done") == states.count("accepted") == 60
    # One a minute may go: that is the policy, however idle they are.
    before = len(processes())
    deadline = time.monotonic() + 75
    while before > 1 and len(processes()) >= before:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert chat.bot(bot)["state"] == "online"
    assert chat.stop() == 0
