"""What failed, and what was done about it, as the running service tells it."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from harness.adapters.sqlite import BUSY_MAX_S, FILE_NAME, TRY_S

if TYPE_CHECKING:
    from tests.conftest import Served


def report_of(service: Served) -> dict[str, Any]:
    status, report = service.call("GET", "/api/errors")
    assert status == 200
    return dict(report)


def counts(report: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(each["kind"], each["code"]): each["count"] for each in report["failures"]}


def strategy(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next((dict(each) for each in report["strategies"] if each["strategy"] == name), {})


def test_refused_calls_are_counted_by_their_codes(service: Served) -> None:
    for path in ("/api/bots?nope=1", "/api/bots?nope=2", "/api/sessions?limit=0"):
        assert service.call("GET", path)[0] == 400
    assert service.call("POST", "/api/sessions", {"bot": "nobody"})[0] == 404
    report = report_of(service)
    assert counts(report) == {("permanent", "bad-query"): 3, ("permanent", "unknown-bot"): 1}
    assert report["unknown"] == 0
    assert {each["name"] for each in report["dependencies"]} <= {"store", "behaviours"}


def test_a_lock_that_goes_is_waited_for_and_one_that_stays_is_told(service: Served) -> None:
    service.launch("echo")
    with closing(
        sqlite3.connect(service.state_dir / FILE_NAME, isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        letting_go = threading.Timer(TRY_S * 1.2, other.execute, ("ROLLBACK",))
        letting_go.start()
        assert service.call("POST", "/api/sessions", {"bot": "echo"})[0] == 201
        letting_go.join()
        before = report_of(service)
        assert strategy(before, "retry")["worked"] == 1

        other.execute("BEGIN IMMEDIATE")
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        with closing(connection):
            began = time.monotonic()
            body = json.dumps({"bot": "echo"})
            connection.request("POST", "/api/sessions", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told = json.loads(answer.read())["error"]
        assert (answer.status, told["code"], answer.headers["retry-after"]) == (503, "store-busy", "1")
        assert time.monotonic() - began < 3 * BUSY_MAX_S, "bounded, however long the lock is held"
        other.execute("ROLLBACK")
    after = report_of(service)
    assert strategy(after, "retry")["failed"] == 1
    assert counts(after)["transient", "store-busy"] >= 3
    assert after["given_up"]
