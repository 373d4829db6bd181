"""Health of the real service: what each path depends on, and what it does not."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Served


def health(service: Served) -> dict[str, Any]:
    document: dict[str, Any] = service.call("GET", "/health")[1]
    return document


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_path_is_there_at_once_and_says_how_long_it_may_be_kept(service: Served) -> None:
    for path, kept in (
        ("/health/live", "no-store"),
        ("/health/startup", "no-store"),
        ("/health/ready", "no-store"),
        ("/health", "max-age=1"),
    ):
        with urllib.request.urlopen(service.url + path) as answer:
            assert answer.headers["cache-control"] == kept
            assert answer.headers["content-type"] == "application/health+json"
    checks = health(service)["checks"]
    assert {"store:write", "loop:lag", "bots:available", "state:disk", "process:memory"} < set(checks)
    assert {"guardian:process", "process:leaks"} < set(checks)
    assert {entry["status"] for entries in checks.values() for entry in entries} == {"pass"}


def test_each_bot_has_its_checks_for_as_long_as_it_is_there(chat: Served) -> None:
    chat.start("--set", "breaker_failures_max=1")
    chat.launch("echo")
    bot = chat.launch("crash", after=1)

    def entry(name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = health(chat)["checks"].get(name, [])
        return next((one for one in found if one["componentId"] == bot), {})

    until(lambda: entry("bot:breaker").get("status") == "pass")
    until(lambda: entry("bot:process").get("status") == "pass")
    session = chat.session(bot)

    async def story() -> None:
        async with chat.joined(session) as talk:
            await talk.say("c1", "die")

    asyncio.run(story())
    until(lambda: entry("bot:breaker").get("status") == "fail")
    report = health(chat)
    assert report["status"] == "warn"  # One bot of two is not the service.
    assert f"bot:breaker/{bot}" in report["output"]
    assert any(f"bot:breaker/{bot}: pass -> fail" in note for note in report["notes"])
    assert chat.call("GET", "/health/ready")[0] == 200
    assert chat.call("DELETE", f"/api/bots/{bot}")[0] == 204
    until(lambda: not entry("bot:breaker"))


def test_a_store_that_is_locked_makes_it_unready_and_not_dead(service: Served) -> None:
    bot = service.launch("echo")
    with sqlite3.connect(service.state_dir / "chat.sqlite3", isolation_level=None) as person:
        person.execute("BEGIN EXCLUSIVE")
        assert service.call("POST", "/api/sessions", {"bot": bot})[0] == 503
        until(lambda: service.call("GET", "/health/ready")[0] == 503)
        assert service.call("GET", "/health/live")[0] == 200
        assert service.call("GET", "/health/startup")[0] == 200
        assert health(service)["checks"]["loop:lag"][0]["status"] == "pass"
        person.execute("ROLLBACK")
    person.close()
    until(lambda: service.call("GET", "/health/ready")[0] == 200)


def test_a_guardian_that_is_gone_is_seen_and_replaced(service: Served) -> None:
    pid = int(health(service)["checks"]["guardian:process"][0]["observedValue"])
    os.kill(pid, signal.SIGKILL)
    until(lambda: health(service)["checks"]["guardian:process"][0].get("observedValue") not in (pid, None))


def test_a_service_that_was_stopped_says_so_when_it_lives_again(service: Served) -> None:
    process = psutil.Process(service.pid)
    process.suspend()
    time.sleep(1.5)
    process.resume()
    until(lambda: "blocked" in service.call("GET", "/health/live")[1].get("output", ""))
    assert service.call("GET", "/health/live")[0] == 200


def test_what_is_watched_stands_on_the_metrics(service: Served) -> None:
    service.launch("echo")

    def watched() -> dict[str, str]:
        text = service.call("GET", "/metrics")[1].decode()
        pairs = [line.split() for line in text.splitlines() if line.startswith("chat_watched{")]
        return {name.partition('"')[2].partition('"')[0]: value for name, value in pairs}

    until(lambda: {"turns_overdue", "sessions_abandoned", "handles_unexplained"} < set(watched()))
    assert watched()["turns_overdue"] == "0"
    assert watched()["sessions_abandoned"] == "0"
