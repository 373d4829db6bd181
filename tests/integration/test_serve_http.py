"""The HTTP interface: what it answers, what it refuses, and that it describes itself truly."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.server.http import Api

if TYPE_CHECKING:
    from tests.conftest import Served

OPENAPI = json.loads((Path(__file__).parents[2] / "harness" / "server" / "openapi.json").read_text("utf-8"))
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "array": list,
}


def fits(schema: dict[str, Any], value: Any, where: str = "$") -> None:
    """Check a value against as much of JSON Schema as the document uses."""
    if "$ref" in schema:
        schema = OPENAPI["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        assert value in schema["enum"], where
        return
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if kinds:
        assert any(isinstance(value, TYPES[kind]) for kind in kinds), (where, value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in schema.get("required", []):
            assert name in value, f"{where}.{name} is missing"
        for name, item in value.items():
            extra = schema.get("additionalProperties", True)
            assert name in known or extra, f"{where}.{name} is not described"
            inner = known.get(name, extra)
            if isinstance(inner, dict):
                fits(inner, item, f"{where}.{name}")
    if isinstance(value, list):
        for place, item in enumerate(value):
            fits(schema["items"], item, f"{where}[{place}]")


def call(service: Served, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One call whose answer must be as the document describes it."""
    status, answer = service.call(method, path, body)
    parts = path.partition("?")[0].split("/")
    for template, operations in OPENAPI["paths"].items():
        pattern = template.split("/")
        fitting = len(pattern) == len(parts) and all(
            a == b or a[:1] == "{" for a, b in zip(pattern, parts, strict=True)
        )
        if fitting and method.lower() in operations:
            described = operations[method.lower()]["responses"]
            assert str(status) in described, (method, path, status, answer)
            for content in described[str(status)].get("content", {}).values():
                if "schema" in content and not isinstance(answer, bytes):
                    fits(content["schema"], answer)
            return status, answer
    raise AssertionError(f"{method} {path} is not described")


def test_routes_and_document_agree() -> None:
    described = {
        (path, method.upper())
        for path, operations in OPENAPI["paths"].items()
        for method in operations
        if method != "parameters"
    }
    routes = Api.routes(object.__new__(Api))
    there = {(route.path, method) for route in routes for method in (route.methods or set()) if method != "HEAD"}
    assert there == described


def test_every_reference_page_names_every_path() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "http-api.md").read_text("utf-8")
    for path in OPENAPI["paths"]:
        assert path.replace("{session}", "{id}") in page


def test_the_life_of_a_bot_and_a_session(service: Served) -> None:
    status, bot = call(service, "POST", "/api/bots", {"behaviour": "echo", "options": {"prefix": "> "}, "seed": 7})
    assert (status, bot["bot"], bot["state"]) == (201, "echo", "starting")
    assert call(service, "POST", "/api/bots", {"behaviour": "echo"})[1]["bot"] == "echo-2"
    assert call(service, "POST", "/api/bots", {"behaviour": "echo", "name": "echo"})[0] == 409
    status, session = call(service, "POST", "/api/sessions", {"bot": "echo", "title": " First "})
    assert (status, session["title"], session["messages"]) == (201, "First", 0)
    other = call(service, "POST", "/api/sessions", {"bot": "echo-2"})[1]
    assert [entry["id"] for entry in call(service, "GET", "/api/sessions")[1]["sessions"]] == [
        other["id"],
        session["id"],
    ]
    assert len(call(service, "GET", "/api/sessions?limit=1")[1]["sessions"]) == 1
    assert [one["id"] for one in call(service, "GET", "/api/sessions?bot=echo")[1]["sessions"]] == [session["id"]]
    assert call(service, "GET", f"/api/sessions/{session['id']}/messages") == (200, {"messages": [], "more": False})
    assert call(service, "DELETE", "/api/bots/echo") == (204, b"")
    assert call(service, "DELETE", "/api/bots/echo")[0] == 404
    assert call(service, "POST", "/api/sessions", {"bot": "echo"})[0] == 404
    status, listed = call(service, "GET", "/api/bots")
    assert [entry["bot"] for entry in listed["bots"]] == ["echo-2"]
    assert listed["behaviours"]["echo"] == {"prefix": "You said: "}
    assert len(call(service, "GET", "/api/sessions")[1]["sessions"]) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        pytest.param("/api/bots", b"{", 400, "not JSON", id="broken JSON"),
        pytest.param("/api/bots", b"\xff", 400, "not JSON", id="no UTF-8"),
        pytest.param("/api/bots", [], 422, "$: must be a table", id="a list"),
        pytest.param("/api/bots", {}, 422, "needs the field 'behaviour'", id="nothing in it"),
        pytest.param("/api/bots", {"behavior": "echo"}, 422, "did you mean 'behaviour'", id="a misspelt field"),
        pytest.param("/api/bots", {"behaviour": 7}, 422, "$.behaviour: must be a text", id="a number"),
        pytest.param("/api/bots", {"behaviour": ""}, 422, "is no name", id="an empty behaviour"),
        pytest.param("/api/bots", {"behaviour": "--help"}, 422, "is no name", id="an option for the program"),
        pytest.param("/api/bots", {"behaviour": "echo", "name": "../x"}, 422, "name:", id="a path as name"),
        pytest.param("/api/bots", {"behaviour": "echo", "seed": -1}, 422, "seed:", id="a negative seed"),
        pytest.param("/api/bots", {"behaviour": "echo", "seed": 2**63}, 422, "seed:", id="a seed too large"),
        pytest.param("/api/bots", {"behaviour": "echo", "seed": True}, 422, "$.seed", id="a truth as seed"),
        pytest.param(
            "/api/bots",
            {"behaviour": "echo", "options": {"prefx": ""}},
            422,
            "did you mean 'prefix'",
            id="unknown option",
        ),
        pytest.param(
            "/api/bots",
            {"behaviour": "slow", "options": {"token_s": "x"}},
            422,
            "options.token_s",
            id="a text for a number",
        ),
        pytest.param(
            "/api/bots", {"behaviour": "echo", "options": {"prefix": []}}, 422, "prefix", id="a list as option"
        ),
        pytest.param("/api/bots", b'"' + b"x" * 300_000 + b'"', 413, "262,144", id="a body too big"),
        pytest.param("/api/sessions", {"bot": "nobody"}, 404, "'nobody'", id="no such bot"),
        pytest.param("/api/sessions", {"bot": "x", "title": "x" * 201}, 422, "200", id="a title too long"),
    ],
)
def test_a_bad_body_is_refused_with_the_place(steady: Served, path: str, body: object, status: int, says: str) -> None:
    got, answer = call(steady, "POST", path, body)
    assert got == status, answer
    assert says in answer["error"]["message"]
    assert call(steady, "GET", "/api/bots")[1]["bots"] == []


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/sessions?limit=0", 400, "limit: must be from 1 to 10000, got '0'"),
        ("/api/sessions?limit=x", 400, "limit"),
        ("/api/sessions?bots=echo", 400, "unknown parameter 'bots'; this call knows bot, limit"),
        ("/api/sessions?bot=a&bot=b", 400, "twice"),
        ("/api/sessions/nope/messages", 404, "'nope'"),
    ],
)
def test_a_bad_query_is_refused_with_the_reason(steady: Served, path: str, status: int, says: str) -> None:
    got, answer = call(steady, "GET", path)
    assert got == status
    assert says in answer["error"]["message"]


def test_unknown_paths_and_methods_answer_in_the_same_shape(steady: Served) -> None:
    status, answer = steady.call("GET", "/api/nothing")
    assert (status, answer["error"]["code"]) == (404, "not-found")
    status, answer = steady.call("DELETE", "/api/bots")
    assert (status, answer["error"]["code"]) == (405, "bad-method")


def test_a_form_or_a_foreign_page_may_not_launch_a_bot(steady: Served) -> None:
    body = json.dumps({"behaviour": "echo"}).encode()
    assert steady.call("POST", "/api/bots", body, {"Content-Type": "text/plain"})[0] == 415
    assert steady.call("POST", "/api/bots", body, {"Origin": "http://evil.example"})[0] == 403
    assert steady.call("DELETE", "/api/bots/x", headers={"Origin": "http://evil.example"})[0] == 403
    assert steady.call("GET", "/api/bots")[1]["bots"] == []


def test_pages_of_messages_join_without_gap(service: Served) -> None:

    session = service.session(service.launch("echo"))

    async def story() -> None:
        async with service.joined(session) as talk:
            for number in range(7):
                await talk.say(f"c{number}", f"message {number}")

    asyncio.run(story())
    whole = service.messages(session)
    pages: list[dict[str, Any]] = []
    query = "limit=4"
    while page := call(service, "GET", f"/api/sessions/{session}/messages?{query}")[1]["messages"]:
        pages[:0] = page
        query = f"limit=4&before={page[0]['mid']}"
    assert pages == whole
    assert len(whole) == 14
    status, answer = call(service, "GET", f"/api/sessions/{session}/messages?before=nope")
    assert (status, answer["error"]["code"]) == (422, "bad-field")


def test_health_reads_pass_and_names_a_bot_that_is_away(chat: Served) -> None:
    chat.start("--set", "breaker_failures_max=1")
    assert call(chat, "GET", "/health/live") == (200, {"status": "pass"})
    assert call(chat, "GET", "/health/ready") == (200, {"status": "pass"})
    assert call(chat, "GET", "/health")[1]["status"] == "pass"
    bot = chat.launch("crash", after=1)
    session = chat.session(bot)

    async def story() -> None:
        async with chat.joined(session) as talk:
            await talk.say("c1", "die")

    asyncio.run(story())
    chat.await_bot(bot, breaker="open")
    while (report := call(chat, "GET", "/health")[1])["status"] == "pass":
        pass
    assert report["status"] == "warn"
    assert bot in report["output"]
    assert call(chat, "GET", "/health/ready")[0] == 200


def test_metrics_are_what_prometheus_reads(service: Served) -> None:

    session = service.session(service.launch("echo"))

    async def story() -> None:
        async with service.joined(session) as talk:
            await talk.say("c1", "hi")
            await talk.say("c2", " ")

    asyncio.run(story())
    with socket.create_connection(("127.0.0.1", service.port)) as link:
        link.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, text = b"".join(iter(lambda: link.recv(65_536), b"")).partition(b"\r\n\r\n")
    assert b"content-type: text/plain; version=0.0.4; charset=utf-8" in head.lower()
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert samples["chat_turns_total", (("bot", "echo"), ("outcome", "done"))] == 1
    assert samples["chat_refused_total", (("bot", "echo"), ("code", "empty"))] == 1
    assert samples["chat_reply_seconds_count", (("bot", "echo"),)] == 1
    assert samples["chat_bots", (("state", "online"),)] == 1
    assert samples["chat_breaker_state", (("bot", "echo"),)] == 0
