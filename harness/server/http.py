"""HTTP: the calls of docs/reference/http-api.md, strictly checked.

In    requests
Out   JSON; an error is {"error": {"code", "message"}} and its message says what to change
Rule  a body is a JSON object of at most BODY_BYTES_MAX; unknown fields and values are refused, nothing is guessed
Why   a call that is half understood launches the wrong bot
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic, time
from typing import Any, Final, TypeVar
from uuid import uuid4

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from harness import __version__
from harness.adapters.sqlite import Session
from harness.core.decode import decode
from harness.core.events import BotUnwanted, BotWanted, BreakerForced, ForgetBot, LimitOrdered, ModeOrdered
from harness.core.families import FAMILIES
from harness.core.scenario import NAME
from harness.errors import HarnessError
from harness.exporters import openmetrics, prometheus, prometheus_rules
from harness.server import series, watching
from harness.server.assets import openapi
from harness.server.behaviours import Behaviours
from harness.server.origin import same_origin
from harness.server.recorder import Recorder
from harness.server.refusals import CallError, ReducedError, refuse
from harness.server.service import Service
from harness.server.vitals import Vitals
from harness.server.watcher import Watcher
from harness.services.degradation import DegradationConfig
from harness.services.health_check import MEDIA_TYPE as HEALTH_TYPE

T = TypeVar("T")
BODY_BYTES_MAX: Final = 262_144
TITLE_CHARS_MAX: Final = 200
AUTHOR_CHARS_MAX: Final = 100
"""Everybody is shown who has decided about a breaker."""
MESSAGES_MAX: Final = 500
MESSAGES_CHARS_MAX: Final = 2_000_000
"""About this many characters in one answer: to read and encode more would hold up every reply that streams."""
SESSIONS: Final = 100
SESSIONS_MAX: Final = 10_000
FEATURE_BACK_S: Final = DegradationConfig(features=()).on_every_s
"""What is switched off comes back in steps of so many seconds: sooner there is no sense in asking."""
REPORT_FRESH_S: Final = 1
"""The report may be kept for as long as nothing new is observed."""
SEED_MAX: Final = 2**63 - 1
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Body of ``POST /api/bots``."""

    behaviour: str
    name: str = ""
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """Body of ``POST /api/sessions``."""

    bot: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLimit:
    """Body of ``PUT /api/capacity/{limit}``."""

    allowed: float | None
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMode:
    """Body of ``PUT /api/mode``."""

    mode: str
    author: str
    reason: str = ""
    ttl_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBreaker:
    """Body of ``PUT /api/bots/{bot}/breaker``."""

    state: str
    author: str
    ttl_s: float = 3600.0


class Api:
    """All calls but the page and the WebSocket."""

    def __init__(
        self, service: Service, behaviours: Behaviours, vitals: Vitals, recorder: Recorder, watcher: Watcher
    ) -> None:
        """Answer for this service."""
        self._service, self._behaviours = service, behaviours
        self._recorder, self._watcher = recorder, watcher
        self._vitals, self._health = vitals, vitals.health
        self._launching: set[str] = set()

    def routes(self) -> list[Route]:
        """Give every path with what answers it."""
        guarded = self._guarded
        return [
            Route("/api/bots", guarded(self._bots), methods=["GET"]),
            Route("/api/bots", guarded(self._launch), methods=["POST"]),
            Route("/api/bots/{bot}", guarded(self._remove), methods=["DELETE"]),
            Route("/api/bots/{bot}/breaker", guarded(self._breaker_forced), methods=["PUT"]),
            Route("/api/sessions", guarded(self._sessions), methods=["GET"]),
            Route("/api/sessions", guarded(self._new_session), methods=["POST"]),
            Route("/api/sessions/{session}/messages", guarded(self._messages), methods=["GET"]),
            Route("/api/openapi.json", guarded(self._openapi), methods=["GET"]),
            Route("/health/live", guarded(self._live), methods=["GET"]),
            Route("/health/startup", guarded(self._startup), methods=["GET"]),
            Route("/health/ready", guarded(self._ready), methods=["GET"]),
            Route("/health", guarded(self._full), methods=["GET"]),
            Route("/api/capacity", guarded(self._capacity), methods=["GET"]),
            Route("/api/capacity/{limit}", guarded(self._limit_changed), methods=["PUT"]),
            Route("/api/mode", guarded(self._mode), methods=["GET"]),
            Route("/api/mode", guarded(self._mode_ordered), methods=["PUT"]),
            Route("/api/score", guarded(self._score), methods=["GET"]),
            Route("/api/errors", guarded(self._errors), methods=["GET"]),
            Route("/metrics", guarded(self._metrics), methods=["GET"]),
            Route("/api/series", guarded(self._series), methods=["GET"]),
            Route("/api/alerts", guarded(self._alerts), methods=["GET"]),
            Route("/api/rules", guarded(self._rules), methods=["GET"]),
            Route("/api/dashboard", guarded(self._dashboard), methods=["GET"]),
            Route("/api/dashboard/data", guarded(self._columns), methods=["GET"]),
        ]

    def _guarded(self, call: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Turn errors that a call raises on purpose into answers, and count them."""

        async def answer(request: Request) -> Response:
            try:
                return await call(request)
            except ClientDisconnect:
                return Response(status_code=HTTPStatus.BAD_REQUEST)  # Nobody reads it.
            except HarnessError as error:
                self._service.recovery.note(error, monotonic())
                return refuse(error)

        return answer

    # --- Bots ---------------------------------------------------------------------------------------------------------
    async def _bots(self, request: Request) -> Response:
        _query(request)
        options = await self._behaviours.options()
        return _json({"bots": self._service.statuses(), "behaviours": options})

    async def _launch(self, request: Request) -> Response:
        launch = await _body(Launch, request)
        await self._behaviours.check(launch.behaviour, launch.options)
        taken = {status.bot for status in self._service.statuses()} | self._launching
        name = launch.name or _free(launch.behaviour, taken, self._service.bot_busy)
        if not NAME.fullmatch(name):
            said = f"name: {name!r} must be 1 to 40 of a-z, 0-9 and '-', starting with a letter or digit"
            raise CallError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad-field", said)
        if not 0 <= launch.seed <= SEED_MAX:
            said = f"seed: must be from 0 to {SEED_MAX}, got {launch.seed}"
            raise CallError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad-field", said)
        if name in taken:
            raise CallError(HTTPStatus.CONFLICT, "name-taken", f"there is a bot {name!r} already: choose another name")
        if self._service.bot_busy(name):
            raise CallError(HTTPStatus.CONFLICT, "name-taken", f"{name!r} was removed and is still ending: try again")
        self._require("launches", "launches nothing new")
        limit = self._service.settings.bots_max
        if len(taken) >= limit:
            raise CallError(HTTPStatus.CONFLICT, "too-many-bots", f"{limit} bots run already: remove one first")
        wanted = BotWanted(name, launch.behaviour, launch.options, launch.seed)
        self._launching.add(name)
        try:
            await self._service.save(wanted)
        finally:
            self._launching.discard(name)
        self._service.handle(wanted)
        return _json(self._status(name), HTTPStatus.CREATED)

    def _require(self, feature: str, without: str) -> None:
        """Refuse what the service does without while its mode switches it off."""
        if not self._service.enabled(feature):
            mode = self._service.mode()
            why = f" ({mode.why})" if mode.why else ""
            wait_s = mode.retry_after_s or FEATURE_BACK_S
            raise ReducedError(
                f"the mode of the service is {mode.mode}{why}: it {without}; try again later", retry_after_s=wait_s
            )

    async def _remove(self, request: Request) -> Response:
        _check_origin(request)
        bot = request.path_params["bot"]
        self._status(bot)
        # Forgotten before it is stopped: a bot that came back at the next start would be a surprise.
        await self._service.save(ForgetBot(bot))
        self._service.handle(BotUnwanted(bot))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _breaker_forced(self, request: Request) -> Response:
        wanted = await _body(NewBreaker, request)
        bot = request.path_params["bot"]
        self._status(bot)
        if len(wanted.author) > AUTHOR_CHARS_MAX:
            said = f"author: must have at most {AUTHOR_CHARS_MAX} characters, got {len(wanted.author)}"
            raise CallError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad-field", said)
        self._order(BreakerForced(bot, wanted.state, wanted.author, wanted.ttl_s))
        return _json(self._status(bot))

    def _status(self, bot: str) -> object:
        for status in self._service.statuses():
            if status.bot == bot:
                return status
        raise CallError(HTTPStatus.NOT_FOUND, "unknown-bot", f"there is no bot {bot!r}")

    # --- Sessions -----------------------------------------------------------------------------------------------------
    async def _sessions(self, request: Request) -> Response:
        query = _query(request, "bot", "limit")
        sessions = self._service.store.sessions(query.get("bot"), _limit(query, SESSIONS, SESSIONS_MAX))
        return _json({"sessions": sessions})

    async def _new_session(self, request: Request) -> Response:
        wanted = await _body(NewSession, request)
        if len(wanted.title) > TITLE_CHARS_MAX:
            said = f"title: must have at most {TITLE_CHARS_MAX} characters, got {len(wanted.title)}"
            raise CallError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad-field", said)
        self._status(wanted.bot)
        now = round(time(), 3)
        session = Session(uuid4().hex, wanted.bot, wanted.title.strip(), now, now)
        await self._service.save(session)
        return _json(session, HTTPStatus.CREATED)

    async def _messages(self, request: Request) -> Response:
        query = _query(request, "before", "limit")
        session = request.path_params["session"]
        store = self._service.store
        if store.bot_of(session) is None:
            raise CallError(HTTPStatus.NOT_FOUND, "unknown-session", f"there is no session {session!r}")
        before = query.get("before")
        if before is not None and store.message(session, before) is None:
            said = f"before: there is no message {before!r} in this session"
            raise CallError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad-field", said)
        limit = _limit(query, 50, MESSAGES_MAX)
        messages, more = store.messages(session, limit, before, chars_max=MESSAGES_CHARS_MAX)
        return _json({"messages": messages, "more": more})

    # --- The service itself -------------------------------------------------------------------------------------------
    async def _openapi(self, request: Request) -> Response:
        _query(request)
        return Response(openapi(), media_type="application/json")

    async def _live(self, request: Request) -> Response:
        _query(request)
        return _probe(*self._vitals.live())

    async def _startup(self, request: Request) -> Response:
        _query(request)
        return _probe(*self._health.startup(monotonic()))

    async def _ready(self, request: Request) -> Response:
        _query(request)
        good, said = self._health.ready(monotonic())
        mode = self._service.mode()
        if good and "messages" in mode.off:  # Whoever spreads messages must spare a service that takes none.
            return _probe(False, f"{mode.mode}: {mode.why}")
        return _probe(good, said)

    async def _full(self, request: Request) -> Response:
        _query(request)
        report = self._health.report(monotonic())
        status = HTTPStatus.SERVICE_UNAVAILABLE if report.level == "fail" else HTTPStatus.OK
        body = report.as_json(release=__version__, service="hive-harness chat")
        answer = _json({**body, "notes": self._vitals.notes()}, status, HEALTH_TYPE)
        answer.headers["cache-control"] = f"max-age={REPORT_FRESH_S}"
        return answer

    async def _capacity(self, request: Request) -> Response:
        _query(request)
        return _json(self._service.capacity())

    async def _limit_changed(self, request: Request) -> Response:
        wanted = await _body(NewLimit, request)
        allowed = wanted.allowed
        if allowed is not None and allowed.is_integer():
            allowed = int(allowed)  # What is counted is limited by whole numbers.
        self._order(LimitOrdered(request.path_params["limit"], allowed, wanted.author))
        return _json(self._service.capacity())

    async def _mode(self, request: Request) -> Response:
        _query(request)
        return _json(self._service.mode())

    async def _mode_ordered(self, request: Request) -> Response:
        wanted = await _body(NewMode, request)
        self._order(ModeOrdered(wanted.mode, wanted.author, wanted.reason, wanted.ttl_s))
        return _json(self._service.mode())

    def _order(self, order: LimitOrdered | ModeOrdered | BreakerForced) -> None:
        try:
            self._service.handle(order)
        except ValueError as error:  # It was refused as a whole: nothing has changed.
            raise CallError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad-field", str(error)) from None

    async def _score(self, request: Request) -> Response:
        _query(request)
        return _json({"score": self._service.score()})

    async def _errors(self, request: Request) -> Response:
        _query(request)
        return _json(self._service.recovery.report(monotonic()))

    async def _metrics(self, request: Request) -> Response:
        _query(request)
        kind = openmetrics if openmetrics.wanted(request.headers.get("accept", "")) else prometheus
        text = kind.render(self._service.metrics.collect())
        return Response(text, headers={"content-type": kind.MEDIA_TYPE, "vary": "Accept"})

    async def _alerts(self, request: Request) -> Response:
        _query(request)
        return _json(watching.alerts(self._watcher))

    async def _rules(self, request: Request) -> Response:
        _query(request)
        text = prometheus_rules.render(self._watcher.engine.rules)
        return Response(text, headers={"content-type": prometheus_rules.MEDIA_TYPE})

    async def _dashboard(self, request: Request) -> Response:
        kind = _query(request, "format").get("format", "own")
        if kind not in watching.FORMATS:
            known = ", ".join(watching.FORMATS)
            raise CallError(HTTPStatus.BAD_REQUEST, "bad-query", f"format: must be one of {known}, got {kind!r}")
        return Response(watching.FORMATS[kind](self._watcher.board.dashboard), media_type="application/json")

    async def _columns(self, request: Request) -> Response:
        _query(request)
        return _json(watching.columns(self._watcher))

    async def _series(self, request: Request) -> Response:
        query = _query(request, "name", "from", "to", "step")
        self._require("series", "answers no questions about its past")
        name = query.get("name", "")
        if name not in FAMILIES:
            raise CallError(HTTPStatus.NOT_FOUND, "unknown-metric", f"name: there is no metric {name!r}; see /metrics")
        last = _seconds(query, "to", int(self._recorder.now()))
        first = _seconds(query, "from", last - 3_600)
        if first > last:
            raise CallError(HTTPStatus.BAD_REQUEST, "bad-query", f"from: must not be after to, got {first} and {last}")
        span = series.Span(name=name, first=first, last=last, step=_seconds(query, "step", 0))
        try:
            return _json(await series.answer(self._recorder, span))
        except ValueError as error:
            raise CallError(HTTPStatus.BAD_REQUEST, "bad-query", f"step: {error}") from None


def _probe(good: bool, said: str) -> Response:  # noqa: FBT001 - what a check gives, handed on
    """Answer one of the three short questions; nobody may keep the answer."""
    body = {"status": "pass" if good else "fail", **({"output": said} if said else {})}
    answer = _json(body, HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, HEALTH_TYPE)
    answer.headers["cache-control"] = "no-store"
    return answer


def _json(body: object, status: int = HTTPStatus.OK, media_type: str = "application/json") -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type=media_type)


async def _body(cls: type[T], request: Request) -> T:
    """Read the body as ``cls``; CallError or ScenarioError says what is wrong with it."""
    _check_origin(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        said = f"the body must be application/json, not {kind or 'of unknown type'}"
        raise CallError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "bad-type", said)
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES_MAX:
            said = f"the body has more than {BODY_BYTES_MAX:,} bytes, which is the limit"
            raise CallError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-big", said)
    try:
        data: Any = orjson.loads(raw)
    except ValueError as error:
        raise CallError(HTTPStatus.BAD_REQUEST, "not-json", f"the body is not JSON: {error}") from None
    return decode(cls, data)


def _check_origin(request: Request) -> None:
    if not same_origin(request.scope["headers"]):
        raise CallError(HTTPStatus.FORBIDDEN, "foreign-origin", "a page of another origin may not call this service")


def _query(request: Request, *known: str) -> dict[str, str]:
    """Read the query; a parameter that is unknown or comes twice is refused."""
    pairs = request.query_params.multi_items()
    for name, _ in pairs:
        if name not in known:
            said = f"unknown parameter {name!r}; this call knows {', '.join(known) or 'none'}"
            raise CallError(HTTPStatus.BAD_REQUEST, "bad-query", said)
    query = dict(pairs)
    if len(query) != len(pairs):
        raise CallError(HTTPStatus.BAD_REQUEST, "bad-query", "a parameter stands twice in the query")
    return query


def _limit(query: Mapping[str, str], default: int, most: int) -> int:
    text = query.get("limit", str(default))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise CallError(HTTPStatus.BAD_REQUEST, "bad-query", f"limit: must be from 1 to {most}, got {text!r}")
    return int(text)


def _seconds(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not _SECONDS.fullmatch(text):
        raise CallError(HTTPStatus.BAD_REQUEST, "bad-query", f"{name}: must be whole seconds, got {text!r}")
    return int(text)


def _free(behaviour: str, taken: set[str], busy: Callable[[str], bool]) -> str:
    """Find a name for a bot that was given none: "echo", "echo-2", "echo-3" ..."""
    name, number = behaviour, 1
    while name in taken or busy(name):
        number += 1
        name = f"{behaviour}-{number}"
    return name
