"""The official clients push our numbers to real receivers on loopback; what arrives is read by parsers of our own."""

from __future__ import annotations

import gzip
import json
import math
import re
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.adapters.datadog_push import ApiPush, StatsdPush
from harness.adapters.otlp_push import OtlpPush
from harness.core.events import BotSeen, TurnSettled
from harness.core.histogram import Histogram
from harness.errors import UnavailableError, UsageError
from harness.exporters import datadog, otlp
from harness.services.metrics import Metrics

# The grammar of DogStatsD's protocol 1.0: name:value|type, then sample rate and tags, in any order, each once.
LINE = re.compile(
    r"(?P<name>[a-zA-Z][a-zA-Z0-9_.]*):(?P<value>-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?)\|(?P<kind>c|g|ms|h|s|d)"
    r"(\|@(?P<rate>[01](\.[0-9]+)?))?(\|#(?P<tags>[^|,\n#]+(,[^|,\n#]+)*))?"
)


def metrics() -> Metrics:
    made = Metrics()
    made.record(BotSeen("echo", "started", 1))
    for number in range(20):
        made.record(TurnSettled("echo", f"t{number}", "done" if number % 4 else "bot-gone", 0.25 * (number + 1), 0.125))
    return made


@contextmanager
def udp() -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        yield receiver, f"127.0.0.1:{receiver.getsockname()[1]}"


class Received(ThreadingHTTPServer):
    """Keeps what it is sent, and answers as it is told to."""

    def __init__(self, status: int = 202) -> None:
        self.status = status
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Received

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        elif self.headers.get("content-encoding") == "deflate":
            body = zlib.decompress(body)
        self.server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        answer = b""
        if "json" in self.headers.get("content-type", ""):
            answer = b'{"status": "ok"}' if self.server.status < 400 else b'{"errors": ["Forbidden"]}'
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def http(status: int = 202) -> Iterator[Received]:
    with Received(status) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def lines(receiver: socket.socket, expected: int) -> list[dict[str, str | None]]:
    found: list[dict[str, str | None]] = []
    while len(found) < expected:
        for line in receiver.recv(65_536).decode("ascii").splitlines():
            match = LINE.fullmatch(line)
            assert match is not None, f"no line of DogStatsD: {line!r}"
            found.append(match.groupdict())
    return found


def test_an_agent_gets_every_number_right_in_few_datagrams() -> None:
    readings = datadog.Changes().readings(metrics().collect())
    with udp() as (receiver, address):
        push = StatsdPush(address)
        push.push(readings, 0.0)
        got = lines(receiver, len(readings))
        push.close()
    kinds = {"count": "c", "gauge": "g"}
    sent = sorted((one.name, kinds[one.kind], ",".join(one.tags) or None) for one in readings)
    assert sorted((one["name"], one["kind"], one["tags"]) for one in got) == sent
    values = {(one["name"], one["tags"]): float(one["value"] or "nan") for one in got}
    for one in readings:
        assert math.isclose(values[one.name, ",".join(one.tags) or None], one.value), one
    assert values["chat.turns", "bot:echo,outcome:done"] == 15
    assert values["chat.turns", "bot:echo,outcome:bot-gone"] == 5
    assert values["chat.reply_seconds.count", "bot:echo"] == 20
    assert all(one["rate"] is None for one in got)


def test_counts_of_two_pushes_add_up() -> None:
    counted, changes = metrics(), datadog.Changes()
    with udp() as (receiver, address):
        push = StatsdPush(address)
        total = 0.0
        for _ in range(2):
            readings = changes.readings(counted.collect())
            push.push(readings, 0.0)
            changes.sent()
            total += sum(
                float(one["value"] or "nan") for one in lines(receiver, len(readings)) if one["name"] == "chat.turns"
            )
            counted.record(TurnSettled("echo", "more", "done", 1.0, None))
        push.close()
    assert total == 21


def test_an_agent_that_is_not_there_costs_nothing() -> None:
    with udp() as (_, address):
        pass
    push = StatsdPush(address)
    push.push(datadog.Changes().readings(metrics().collect()), 0.0)
    push.push((), 0.0)
    push.close()


def test_the_series_api_gets_what_the_official_client_sends() -> None:
    readings = datadog.Changes().readings(metrics().collect())
    with http() as server:
        push = ApiPush(server.url, {"DD_API_KEY": "0" * 32})
        push.push(readings, 1_700_000_000.0)
        push.close()
        assert len(server.requests) == 1
        path, headers, body = server.requests[0]
    assert path.partition("?")[0] == "/api/v1/series"
    assert "0" * 32 in headers.get("dd-api-key", "") + path
    series = json.loads(body)["series"]
    assert [(one["metric"], one["type"], one["tags"]) for one in series] == [
        (one.name, one.kind, list(one.tags)) for one in readings
    ]
    for one, reading in zip(series, readings, strict=True):
        ((at, value),) = one["points"]
        assert at == 1_700_000_000
        assert math.isclose(value, reading.value)


def test_a_request_that_is_refused_is_told() -> None:
    readings = datadog.Changes().readings(metrics().collect())
    with http(403) as server:
        push = ApiPush(server.url, {"DD_API_KEY": "0" * 32})
        with pytest.raises(UnavailableError, match="Datadog does not take"):
            push.push(readings, 1_700_000_000.0)


def test_a_collector_gets_exact_histograms_and_growing_sums() -> None:
    service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
    counted = metrics()
    with http(200) as server:
        push = OtlpPush(f"{server.url}/v1/metrics", started=1_700_000_000.0)
        push.push(otlp.metrics(counted.collect()), 1_700_000_060.0)
        push.close()
        ((path, headers, body),) = server.requests
    assert (path, headers["content-type"]) == ("/v1/metrics", "application/x-protobuf")
    request: Any = service.ExportMetricsServiceRequest.FromString(body)
    (resource,) = request.resource_metrics
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == (
        "hive-harness-chat"
    )
    got = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    turns = got["chat_turns"].sum
    assert (turns.is_monotonic, turns.aggregation_temporality) == (True, 2)
    by_outcome = {
        next(one.value.string_value for one in point.attributes if one.key == "outcome"): point.as_double
        for point in turns.data_points
    }
    assert (by_outcome["done"], by_outcome["bot-gone"]) == (15, 5)
    (point,) = got["chat_reply_seconds"].exponential_histogram.data_points
    (ours,) = [
        value
        for snapshot in counted.collect()
        if snapshot.family.name == "chat_reply_seconds"
        for _, value in snapshot.series
    ]
    assert isinstance(ours, Histogram)
    assert (point.count, point.sum, point.scale, point.zero_count) == (20, ours.total, ours.scale, 0)
    there = {
        point.positive.offset + place + 1: count for place, count in enumerate(point.positive.bucket_counts) if count
    }
    assert there == ours.counts
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1_700_000_000 * 10**9, 1_700_000_060 * 10**9)


def test_a_collector_that_refuses_is_told() -> None:
    with http(400) as server:
        push = OtlpPush(f"{server.url}/v1/metrics", started=0.0)
        with pytest.raises(UnavailableError, match="OTLP collector"):
            push.push(otlp.metrics(metrics().collect()), 1.0)
        push.close()


def test_what_is_missing_is_told_with_the_remedy() -> None:
    with pytest.raises(UsageError, match="DD_API_KEY"):
        ApiPush("", {})
    with pytest.raises(UsageError, match="must be HOST:PORT"):
        StatsdPush("local host:x")
    with pytest.raises(UsageError, match="must be a URL"):
        OtlpPush("localhost", 0.0)


@pytest.mark.parametrize(
    ("make", "extra"),
    [
        ("datadog_push.StatsdPush('')", "datadog"),
        ("datadog_push.ApiPush('', {'DD_API_KEY': 'x'})", "datadog"),
        ("otlp_push.OtlpPush('', 0.0)", "otlp"),
    ],
)
def test_a_missing_extra_is_told_by_its_name(make: str, extra: str) -> None:
    code = (
        "import sys\n"
        "sys.modules['datadog'] = sys.modules['opentelemetry'] = None\n"
        "from harness.adapters import datadog_push, otlp_push\n"
        "from harness.errors import UsageError\n"
        f"try: {make}\n"
        "except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'hive-harness[{extra}]'" in done.stdout
