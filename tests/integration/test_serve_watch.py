"""A service that watches itself: alerts from a failure to the log and over a restart; rules, dashboard, exports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from harness import exporters
from harness.exporters.dashboard import SCHEMA_FILE
from tests.oracles import oracle

if TYPE_CHECKING:
    from tests.conftest import Served

WAIT_MAX_S = 40.0
RULES = """
[[rules]]
id = "bot-gone"
summary = "A bot is gone."
op = ">="
threshold = 1
for_s = FOR_S
keep_firing_for_s = 1
coverage_min = 0.01
of = { metric = "chat_bots", match = { state = ["restarting"] }, agg = "last", window_s = 5 }
"""


def alert(service: Served) -> dict[str, Any]:
    status, answer = service.call("GET", "/api/alerts")
    assert status == 200
    found: dict[str, Any] = answer["rules"][0]
    return found


def until(what: Callable[[], bool], words: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_MAX_S
    while not what():
        assert time.monotonic() < deadline, words()
        time.sleep(0.1)


def kill(service: Served, bot: str) -> None:
    os.kill(service.bot(bot)["pid"], signal.SIGKILL)


def rules(folder: Path, for_s: float) -> str:
    path = folder / "rules.toml"
    path.write_text(RULES.replace("FOR_S", str(for_s)), "utf-8")
    return str(path)


def test_a_bot_that_dies_raises_an_alert_that_is_written_down_and_ends(chat: Served) -> None:
    chat.start("--alerts", rules(chat.folder, 0), "--set", "bot_restart_min_s=4", "--set", "bot_restart_max_s=4")
    until(lambda: alert(chat)["state"] == "inactive", lambda: alert(chat))
    chat.launch("echo")
    kill(chat, "echo")
    until(lambda: alert(chat)["state"] == "firing", lambda: alert(chat))
    found = alert(chat)
    assert found["reason"].startswith("1 is at or above 1")
    assert found["alerts"][0]["labels"] == {"state": "restarting"}
    until(lambda: alert(chat)["state"] == "inactive", lambda: alert(chat))
    recent = chat.call("GET", "/api/alerts")[1]["recent"]
    path = [(one["from"], one["to"], one["cause"]) for one in reversed(recent)]
    assert path[:3] == [
        ("inactive", "pending", "exceeded"),
        ("pending", "firing", "held"),
        ("firing", "recovering", "eased"),
    ]
    assert path[-1] == ("recovering", "inactive", "outlasted")
    assert chat.stop() == 0
    logged = [json.loads(line) for line in (chat.bot_logs / "alerts.jsonl").read_text("utf-8").splitlines()]
    assert [(one["from"], one["to"], one["cause"]) for one in logged] == path
    facts = [json.loads(line) for line in chat.journal.read_text("utf-8").splitlines()]
    moved = [(fact["before"], fact["after"], fact["cause"]) for fact in facts if fact["fact"] == "alert-moved"]
    assert moved == path


def test_a_restart_does_not_begin_the_wait_again(chat: Served) -> None:
    words = ("--alerts", rules(chat.folder, 3600), "--set", "bot_restart_min_s=500", "--set", "bot_restart_max_s=500")
    chat.start(*words)
    chat.launch("crash")
    kill(chat, "crash")
    until(lambda: alert(chat)["state"] == "pending", lambda: alert(chat))
    until(lambda: alert(chat)["alerts"][0]["state_s"] > 2, lambda: alert(chat))
    assert chat.stop() == 0
    saved = json.loads((chat.state_dir / "alerts.json").read_text("utf-8"))["alerts"]
    assert [one["state"] for one in saved] == ["pending"]
    chat.start(*words)
    found = alert(chat)
    assert found["state"] == "pending"
    assert found["alerts"][0]["state_s"] > 2
    assert found["alerts"][0]["frozen"]


def test_a_broken_state_of_alerts_is_told_and_left_behind(chat: Served) -> None:
    chat.state_dir.mkdir(parents=True)
    (chat.state_dir / "alerts.json").write_text("{", "utf-8")
    chat.start()
    assert "alerts start anew" in chat.words()
    assert "cannot be understood" in chat.words()


class TestAnswers:
    def test_the_dashboard_fits_the_published_schema(self, steady: Served) -> None:
        schema = json.loads(Path(exporters.__file__).with_name(SCHEMA_FILE).read_text("utf-8"))
        status, answer = steady.call("GET", "/api/dashboard")
        assert status == 200
        Draft202012Validator(schema).validate(answer)

    def test_the_dashboard_for_grafana(self, steady: Served) -> None:
        status, answer = steady.call("GET", "/api/dashboard?format=grafana")
        assert (status, answer["schemaVersion"]) == (200, 39)

    def test_an_unknown_format_is_refused(self, steady: Served) -> None:
        status, answer = steady.call("GET", "/api/dashboard?format=pdf")
        assert (status, answer["error"]["code"]) == (400, "bad-query")

    def test_the_rules_are_accepted_by_prometheus(self, steady: Served, tmp_path: Path) -> None:
        status, answer = steady.call("GET", "/api/rules")
        assert status == 200
        path = tmp_path / "rules.yml"
        path.write_bytes(answer)
        done = subprocess.run([oracle("promtool"), "check", "rules", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_page_is_there(self, steady: Served) -> None:
        status, answer = steady.call("GET", "/dashboard")
        assert status == 200
        assert b"/static/dashboard.js" in answer


def test_metrics_are_pushed_to_an_agent(chat: Served) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(WAIT_MAX_S)
        chat.start("--export", f"dogstatsd=127.0.0.1:{receiver.getsockname()[1]}")
        assert chat.stop() == 0, "what was counted last is sent at the end"
        got = receiver.recv(65_536).decode()
    assert "chat.sockets:0" in got


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--export", "statsd"), "--export statsd: unknown kind (did you mean 'dogstatsd'?)"),
        (("--export", "datadog"), "needs the key in DD_API_KEY"),
        (("--export", "otlp=localhost"), "must be a URL"),
        (("--alerts", "no-such.toml"), "no-such.toml: cannot be read: No such file or directory"),
        (("--dashboard", "pyproject.toml"), "pyproject.toml: $: unknown field"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-m", "harness", "serve", "--port", "0", "--state-dir", str(tmp_path / "state"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert not (tmp_path / "state").exists()
