"""The metrics of a running service: the page names what is there, and what was counted is kept and answered."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from harness.core.families import FAMILIES

if TYPE_CHECKING:
    from tests.conftest import Served

ROOT = Path(__file__).parents[2]
ORACLES = ROOT / ".venv" / "oracles" / "usr" / "bin"
WAIT_MAX_S = 40.0


def scraped(service: Served, accept: str) -> tuple[str, str]:
    with socket.create_connection(("127.0.0.1", service.port)) as link:
        link.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: %b\r\n\r\n" % accept.encode()
        )
        head, _, text = b"".join(iter(lambda: link.recv(65_536), b"")).partition(b"\r\n\r\n")
    (kind,) = [line.partition(b":")[2] for line in head.splitlines() if line.lower().startswith(b"content-type")]
    return kind.decode().strip(), text.decode()


def talked(service: Served, messages: int = 3) -> str:
    bot = service.launch("echo")
    session = service.session(bot)

    async def story() -> None:
        async with service.joined(session) as talk:
            for number in range(messages):
                await talk.say(f"c{number}", "hi")

    asyncio.run(story())
    return bot


def until(found: Callable[[], Any]) -> Any:
    """Ask until there is an answer, for a bounded time."""
    deadline = time.monotonic() + WAIT_MAX_S
    while not (answer := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)
    return answer


def history(service: Served, name: str, **query: int) -> list[dict[str, Any]]:
    words = urllib.parse.urlencode({"name": name, **query})
    status, answer = service.call("GET", f"/api/series?{words}")
    assert status == 200, answer
    found: list[dict[str, Any]] = answer["series"]
    return found


def added(service: Served, name: str, **query: int) -> float:
    return sum(sum(one["sum"]) for one in history(service, name, **query))


def test_the_page_has_exactly_the_families_of_a_live_service(service: Served) -> None:
    talked(service)
    text = text_string_to_metric_families(scraped(service, "")[1])
    live = {(family.name, family.type, family.documentation) for family in text}
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(chat_\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert {(name.removesuffix("_total"), kind, words) for name, kind, _, _, words in rows} == live
    for name, _, unit, labels, _ in rows:
        assert unit == FAMILIES[name].unit
        assert labels == ", ".join(f"`{label}`" for label in FAMILIES[name].labels)


def test_openmetrics_is_given_to_who_asks_for_it(service: Served) -> None:
    talked(service)
    kind, text = scraped(service, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {
        family.name: family
        for family in openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    }
    done = [one for one in families["chat_turns"].samples if one.labels == {"bot": "echo", "outcome": "done"}]
    assert [sample.value for sample in done] == [3]
    assert families["chat_reply_seconds"].unit == "seconds"
    assert scraped(service, "*/*")[0] == "text/plain; version=0.0.4; charset=utf-8"


def test_what_was_counted_is_in_the_history_of_the_last_seconds(service: Served) -> None:
    talked(service)
    until(lambda: added(service, "chat_turns_total") == 3)
    (reply,) = history(service, "chat_reply_seconds")
    assert reply["labels"] == {"bot": "echo"}
    assert sum(reply["count"]) == 3
    assert all(
        p50 is None or 0 < low <= p50 <= high
        for low, p50, high in zip(reply["min"], reply["p50"], reply["max"], strict=True)
    )
    (sockets,) = history(service, "chat_sockets", step=1)
    assert all(after - before == 1 for before, after in zip(sockets["at"], sockets["at"][1:], strict=False))
    assert history(service, "chat_turns_total", **{"from": 0, "to": 10}) == []
    per_minute = until(lambda: [one for one in history(service, "chat_service_messages_per_minute") if max(one["max"])])
    assert max(per_minute[0]["max"]) == 3
    per_bot = until(lambda: [one for one in history(service, "chat_messages_per_minute") if max(one["max"]) == 3])
    assert per_bot[0]["labels"] == {"bot": "echo"}
    assert max(history(service, "chat_error_ratio")[0]["max"]) == 0


def test_history_goes_on_after_a_restart(chat: Served) -> None:
    chat.start()
    talked(chat)
    until(lambda: added(chat, "chat_turns_total") == 3)
    chat.stop()
    chat.start()
    until(lambda: history(chat, "chat_sockets", step=60))
    assert added(chat, "chat_turns_total", step=60) == 3
    assert sum(history(chat, "chat_reply_seconds", step=60)[0]["count"]) == 3


def test_a_broken_history_costs_no_chat(chat: Served) -> None:
    chat.state_dir.mkdir()
    (chat.state_dir / "series.sqlite3").write_bytes(b"no database" * 1_000)
    chat.start()
    talked(chat)
    assert "it is now series.sqlite3.broken, and history begins anew" in until(chat.words)
    until(lambda: added(chat, "chat_turns_total") == 3)


def test_a_history_that_cannot_be_opened_costs_no_chat(chat: Served) -> None:
    (chat.state_dir / "series.sqlite3").mkdir(parents=True)
    chat.start()
    talked(chat)
    assert "no history: unable to open database file" in chat.words()
    until(lambda: added(chat, "chat_turns_total") == 3)


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("", 404, "there is no metric ''"),
        ("?name=chat_nothing", 404, "'chat_nothing'"),
        ("?name=chat_sockets&from=x", 400, "from: must be whole seconds"),
        ("?name=chat_sockets&from=9&to=5", 400, "must not be after to"),
        ("?name=chat_sockets&from=0&to=9999999&step=1", 400, "take a step of 200 or more"),
        ("?name=chat_sockets&bot=x", 400, "unknown parameter 'bot'"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(steady: Served, query: str, status: int, says: str) -> None:
    got, answer = steady.call("GET", f"/api/series{query}")
    assert (got, says in answer["error"]["message"]) == (status, True), answer


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A real Prometheus that scrapes ``target`` every second; its address."""
    program = shutil.which("prometheus") or shutil.which(ORACLES / "prometheus")
    if program is None:
        pytest.skip("prometheus is not on this machine: ./ci/oracles fetches it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: chat, static_configs: [{{targets: ['{target}']}}]}}]\n",
        "utf-8",
    )
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *words], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def test_a_real_prometheus_scrapes_it_and_gives_the_values_back(service: Served, tmp_path: Path) -> None:
    with prometheus(tmp_path, f"127.0.0.1:{service.port}") as url:
        talked(service)

        def value(expression: str) -> float | None:
            try:
                with urllib.request.urlopen(
                    f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
                ) as reply:
                    (result,) = json.load(reply)["data"]["result"] or [None]
            except OSError:
                return None  # It is not up yet.
            return None if result is None else float(result["value"][1])

        assert until(lambda: value('chat_turns_total{bot="echo",outcome="done"} == 3')) == 3
        assert value('up{job="chat"}') == 1
        assert value('chat_reply_seconds_count{bot="echo"}') == 3
        assert value('chat_reply_seconds_bucket{bot="echo",le="64.0"}') == 3
        quantile = value('histogram_quantile(0.5, chat_reply_seconds_bucket{bot="echo"})')
        assert quantile is not None
        assert 0 < quantile <= 64
        assert value("chat_metrics_overflow_total") is None
