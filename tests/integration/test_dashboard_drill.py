"""The dashboard drill: a real Prometheus scrapes a service under load; every panel shows something, in both alike.

Rates and shares may differ by 5 % in the median of several moments: Prometheus extrapolates from its scrapes, the
service counts from its ticks. A percentile must lie in the classic bucket in which Prometheus places it: its buckets
are powers of two, ours 2.2 % wide. What moves from one look to the next (replies at work, messages that wait, lag) must
be there on both sides, and is not compared.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.core.indicator import Indicator, Selector
from harness.exporters._promql import promql
from harness.server import watch_plan
from tests.oracles import oracle

if TYPE_CHECKING:
    from tests.conftest import Served

WINDOW_S = 20
"""The windows of the default dashboard are minutes long; the drill looks back so far only."""
MOVING = {"in-flight", "queued", "loop-lag", "backup-age"}
MOMENTS = 5
ABOUT_ZERO = 0.005
EXACT = {"bots", "sockets", "breakers", "not-saved"}


def shorter(path: Path) -> Path:
    """The default dashboard with short windows."""
    text = watch_plan.DASHBOARD.read_text("utf-8").replace("refresh_s = 5", "refresh_s = 1")
    text = text.replace("range_s = 900", "range_s = 120")  # So that a column is made every second.
    path.write_text(re.sub(r"window_s = \d+", f"window_s = {WINDOW_S}", text), "utf-8")
    return path


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A real one, scraping once a second; its address."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "chat", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), "utf-8")
    log = folder / "prometheus.log"
    program = oracle("prometheus")
    words = [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]
    with log.open("wb") as out:
        process = subprocess.Popen([*words, "--log.format=json"], cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield f"http://{_address(process, log)}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text("utf-8").splitlines():
            said = json.loads(line)
            if said.get("msg") == "Listening on" and "address" in said:
                return str(said["address"])
        time.sleep(0.05)
    raise AssertionError(log.read_text("utf-8"))


def ask(url: str, expr: str, at: float) -> dict[str, float]:
    """What Prometheus says: labels as text -> value."""
    query = urllib.parse.urlencode({"query": expr, "time": f"{at:.3f}"})
    with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=10) as answer:
        found = json.load(answer)
    assert found["status"] == "success", found
    return {_key(one["metric"]): float(one["value"][1]) for one in found["data"]["result"]}


def _key(labels: dict[str, str]) -> str:
    """Labels without what a scrape adds."""
    return json.dumps({k: v for k, v in sorted(labels.items()) if k not in {"__name__", "instance", "job"}})


class Load:
    """One user a bot, who says something every 50 ms or as soon as there is an answer, until it is enough."""

    def __init__(self, service: Served, bots: tuple[str, ...]) -> None:
        self._service = service
        self._enough = asyncio.Event()
        self._begun = {bot: asyncio.Event() for bot in bots}
        self._users = [asyncio.create_task(self._user(bot)) for bot in bots]

    async def begun(self) -> None:
        """Wait until every bot has answered once."""
        for event in self._begun.values():
            await event.wait()

    async def end(self) -> None:
        self._enough.set()
        await asyncio.gather(*self._users)

    async def _user(self, bot: str) -> None:
        session = await asyncio.to_thread(self._service.session, bot)
        async with self._service.joined(session) as talk:
            number = 0
            while not self._enough.is_set():
                number += 1
                await talk.say(f"{bot}-{number}", "hello")
                self._begun[bot].set()
                await asyncio.sleep(0.05)


@pytest.mark.timeout(240)
def test_every_panel_shows_something_and_the_same_as_in_prometheus(chat: Served, tmp_path: Path) -> None:
    oracle("prometheus")
    chat.start("--dashboard", str(shorter(tmp_path / "dashboard.toml")))
    for bot in ("echo", "flaky"):
        chat.launch(bot)
    dashboard = chat.call("GET", "/api/dashboard")[1]

    targets = {panel["id"]: panel["targets"][0] for row in dashboard["rows"] for panel in row["panels"]}

    async def story(url: str) -> tuple[dict[str, Any], dict[str, list[dict[str, float]]]]:
        load = Load(chat, ("echo", "flaky"))
        await load.begun()
        # Windows that are not full yet are stretched by Prometheus, and not by us.
        await asyncio.sleep(WINDOW_S + 2 * MOMENTS)
        columns = await asyncio.to_thread(lambda: chat.call("GET", "/api/dashboard/data")[1])
        await asyncio.sleep(2)
        told = {
            name: [await asyncio.to_thread(ask, url, one["expr"], at) for at in columns["at"][-MOMENTS:]]
            for name, one in targets.items()
        }
        await load.end()
        return columns, told

    with prometheus(tmp_path, chat.url.removeprefix("http://")) as url:
        columns, told = asyncio.run(story(url))
    compared = 0
    for name, target in targets.items():
        ours = {_key(line["labels"]): line["values"][-MOMENTS:] for line in columns["panels"][name]}
        theirs = told[name]
        assert any(not math.isnan(value) for one in theirs for value in one.values()), f"{name}: nothing in Prometheus"
        assert any(value is not None for values in ours.values() for value in values), f"{name}: nothing here"
        for key, values in ours.items():
            pairs = [
                (mine, one[key])
                for mine, one in zip(values, theirs, strict=True)
                if mine is not None and not math.isnan(one.get(key, math.nan))
            ]
            if pairs and name not in MOVING:
                compared += 1
                assert agree(name, target["local"]["agg"], pairs), f"{name} {key}: here and in Prometheus {pairs}"
    assert compared >= 15


def agree(name: str, agg: str, pairs: list[tuple[float, float]]) -> bool:
    """Whether what both say of one line is the same, as far as it can be."""
    if name in EXACT:
        return pairs[-1][0] == pairs[-1][1]
    if agg.startswith("p"):
        return any(math.ceil(math.log2(mine)) == math.ceil(math.log2(other)) for mine, other in pairs)
    return median(abs(mine - other) - 0.05 * max(abs(mine), abs(other)) for mine, other in pairs) <= ABOUT_ZERO


def test_what_rules_and_panels_name_is_counted(service: Served) -> None:
    service.launch("echo")
    session = service.session("echo")

    async def once() -> None:
        async with service.joined(session) as talk:
            await talk.say("one", "hello")

    asyncio.run(once())
    families = {family.name: family for family in text_string_to_metric_families(_metrics(service))}
    asked: list[Indicator | Selector] = [rule.of for rule in watch_plan.alert_rules()]
    asked += [target.local for panel in watch_plan.dashboard().panels() for target in panel.targets]
    asked += [one.over for one in asked if isinstance(one, Indicator) and one.over is not None]
    for one in asked:
        family = families.get(one.metric.removesuffix("_total"))
        assert family is not None, f"{one.metric} is not in /metrics"
        labels = {label for sample in family.samples for label in sample.labels}
        if family.samples:
            named = {*one.match, *one.unless, *((one.by or ()) if isinstance(one, Indicator) else ())}
            assert named <= labels, f"{one.metric}: {named - labels}"


def _metrics(service: Served) -> str:
    answer = service.call("GET", "/metrics")[1]
    assert isinstance(answer, bytes)
    return answer.decode()


def test_the_dashboard_that_is_served_asks_prometheus_for_what_it_asks_itself() -> None:
    for panel in watch_plan.dashboard().panels():
        for target in panel.targets:
            assert target.expr in ("", promql(target.local))
