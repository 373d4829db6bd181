"""Serve: put the reference chat service together, run it until it is told to end, and leave nothing behind.

In    where to listen, where to keep things, the limits, the bot program
Out   exit code 0 after SIGTERM or SIGINT; TargetDownError with one clear line if it cannot start
Rule  whatever can be refused is refused before the port is open: the ready file means ready
Why   "it started, but ..." costs an hour; a line that names the path and the remedy costs a minute
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import orjson
import uvicorn
import uvloop

from harness.adapters import counters
from harness.adapters.breaker_log import BreakerLog
from harness.adapters.journal import Book
from harness.adapters.processes import Guardian
from harness.adapters.retry import make_recovery
from harness.adapters.sqlite import POLICY as STORE_POLICY
from harness.adapters.sqlite import STORE, Store
from harness.chat.engine import recovery_of
from harness.core.events import Began
from harness.core.settings import Settings
from harness.errors import EXIT_PASS
from harness.server import app
from harness.server.backups import BackupKeeper, rules_of
from harness.server.behaviours import BEHAVIOURS, DEFAULT_COMMAND, Behaviours
from harness.server.behaviours import POLICY as BEHAVIOURS_POLICY
from harness.server.bots import Bots
from harness.server.checks import Checks
from harness.server.http import Api
from harness.server.loop_watch import LoopWatch
from harness.server.origin import allowed_names
from harness.server.recorder import open_recorder
from harness.server.service import Service
from harness.server.startup import BACKLOG, alone, folder, listen, open_store, opened, plain_file, recall, replace
from harness.server.vitals import Vitals
from harness.server.watch_plan import WatchPlan, watch, watch_plan
from harness.server.websocket import Endpoint
from harness.services.health_check import HealthCheck
from harness.services.recovery import Recovery, RecoveryConfig

FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
"""A WebSocket message above this ends the connection (1009) unread; between this and Settings.frame_bytes_max it gets
an error frame."""
PING_EVERY_S: Final = 20.0
PONG_MAX_S: Final = 20.0
SHUTDOWN_MAX_S: Final = 5
UNTIL_EOF: Final = "HARNESS_UNTIL_EOF"
"""In the environment of a service that must not outlive its parent: the end of its stdin is its end."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What ``serve`` was asked for."""

    host: str
    port: int
    state_dir: Path
    bot_logs: Path
    ready_file: Path | None
    journal: Path | None
    settings: Settings
    bot_command: tuple[str, ...]
    backup_dir: Path
    watch: WatchPlan


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    state_dir: Path = Path(".deia"),
    bot_logs: Path | None = None,
    ready_file: Path | None = None,
    journal: Path | None = None,
    settings: Settings | None = None,
    bot_command: Sequence[str] = (),
    backup_dir: Path | None = None,
    alerts: Path | None = None,
    dashboard: Path | None = None,
    export: Sequence[str] = (),
) -> int:
    """Run the service in this process; give back its exit code."""
    plan = Plan(
        host=host,
        port=port,
        state_dir=state_dir,
        bot_logs=bot_logs if bot_logs is not None else state_dir / "bot-logs",
        ready_file=ready_file,
        journal=journal,
        settings=settings or Settings(),
        bot_command=tuple(bot_command) or DEFAULT_COMMAND,
        backup_dir=backup_dir if backup_dir is not None else state_dir / "backups",
        watch=watch_plan(alerts, dashboard, export),
    )
    rules_of(plan.settings)  # What cannot be is refused before anything is made.
    _quiet()
    folder(plan.state_dir, "--state-dir")
    folder(plan.bot_logs, "--bot-logs")
    if ready_file is not None:
        folder(ready_file.absolute().parent, "--ready-file")
        plain_file(ready_file, "--ready-file")
    with alone(plan.state_dir), listen(plan.host, plan.port) as listener:
        # Whatever has no policy of its own is a bot.
        bots = recovery_of(plan.settings).policy
        recovery = make_recovery(
            RecoveryConfig(policy=bots, policies={STORE: STORE_POLICY, BEHAVIOURS: BEHAVIOURS_POLICY})
        )
        store = open_store(plan.state_dir, recovery)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_run(plan, listener, store, recovery))
        finally:
            store.close()
    return EXIT_PASS


async def _run(plan: Plan, listener: socket.socket, store: Store, recovery: Recovery) -> None:
    async with AsyncExitStack() as stack:
        breaker_log = opened(lambda: BreakerLog(plan.bot_logs), "--bot-logs")
        stack.callback(_close, breaker_log)
        with suppress(OSError):  # A full disk: said with the first transition that fits.
            breaker_log.begin(monotonic())
        journal = None
        if plan.journal is not None:
            path = plan.journal
            journal = opened(lambda: Book(path), "--journal")
            stack.callback(_close, journal)
        guardian = Guardian.start(recovery)
        stack.callback(guardian.close)
        service = Service(
            settings=plan.settings,
            epoch=secrets.token_hex(6),
            store=store,
            breaker_log=breaker_log,
            journal=journal,
            recovery=recovery,
        )
        bots = Bots(service.handle, command=plan.bot_command, guardian=guardian, logs=plan.bot_logs)
        service.connect(bots)
        stack.push_async_callback(bots.close)
        stack.push_async_callback(service.close)
        behaviours = Behaviours(plan.bot_command, guardian=guardian, recovery=recovery)
        stack.push_async_callback(behaviours.close)
        loop_watch = LoopWatch(asyncio.get_running_loop())
        stack.callback(loop_watch.close)
        health = HealthCheck()
        vitals = Vitals(service, health, guardian=guardian, state_dir=plan.state_dir, loop_watch=loop_watch)
        checks = Checks(health, moved=vitals.moved)
        stack.push_async_callback(checks.close)
        for round_ in vitals.rounds():
            checks.start(round_)
        await checks.looked()
        recorder = await open_recorder(service.metrics, plan.state_dir, stack, ticks=plan.settings.history)
        await _open_probe(stack, guardian)
        cut, left = recall(store, plan.settings.answer_within_s)
        if cut:
            print(f"chat: {cut} replies were cut short when the service ended last time; they are marked as such")
        for fact in (Began(), *left):
            service.handle(fact)
        keeper = BackupKeeper(plan.backup_dir, store.path, plan.settings, guardian, oldest_at=store.oldest())
        keeper.watch(service.metrics)
        stack.push_async_callback(keeper.close)
        keeper.start()
        watcher = await watch(plan.watch, service, recorder, state_dir=plan.state_dir, logs=plan.bot_logs, stack=stack)
        api, endpoint = Api(service, behaviours, vitals, recorder, watcher), Endpoint(service)
        application = app.build(api, endpoint, recovery, names=allowed_names(plan.host))
        await _serve(plan, application, listener, stack, guardian)


async def _serve(
    plan: Plan, application: Any, listener: socket.socket, stack: AsyncExitStack, guardian: Guardian
) -> None:
    config = uvicorn.Config(
        application,
        loop="none",  # The runner above has made it: uvloop.
        http="httptools",
        ws="websockets-sansio",
        # Compression makes a small frame three times as expensive (21 instead of 6 microseconds) and a connection twice
        # as large, and on loopback saves nothing. Pieces of a reply are merged instead.
        ws_per_message_deflate=False,
        ws_max_size=FRAME_BYTES_MAX,
        ws_ping_interval=PING_EVERY_S,
        ws_ping_timeout=PONG_MAX_S,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=SHUTDOWN_MAX_S,
    )
    server = Server(config)
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, server.end)
        stack.callback(loop.remove_signal_handler, number)
    if os.environ.get(UNTIL_EOF):
        loop.add_reader(sys.stdin.fileno(), _listen_for_eof, loop, server)
        stack.callback(loop.remove_reader, sys.stdin.fileno())
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    server.on_listening = lambda: _announce(plan, url, stack, guardian)
    await server.serve(sockets=[listener])


class Server(uvicorn.Server):
    """Uvicorn's, but signals end it with exit code 0, and it says when it listens."""

    on_listening: Callable[[], None] = staticmethod(lambda: None)

    def end(self) -> None:
        """End politely; asked again, at once."""
        self.force_exit, self.should_exit = self.should_exit, True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the event loop."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.on_listening()


def _listen_for_eof(loop: asyncio.AbstractEventLoop, server: Server) -> None:
    """Whoever started us holds the other end of our stdin: at its end, however it came about, this is ours."""
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        server.end()


def _announce(plan: Plan, url: str, stack: AsyncExitStack, guardian: Guardian) -> None:
    if plan.ready_file is not None:
        path = plan.ready_file.absolute()
        guardian.watch_file(path)
        opened(lambda: replace(path, orjson.dumps({"url": url, "pid": os.getpid()}) + b"\n"), "--ready-file")
        stack.callback(path.unlink, missing_ok=True)
    print(f"chat: {url} (state in {plan.state_dir}); Ctrl-C ends it", flush=True)


async def _open_probe(stack: AsyncExitStack, guardian: Guardian) -> None:
    path = counters.probe_path(counters.SERVICE)
    if path is None:
        return
    guardian.watch_file(path)
    probe = await counters.serve_probe(path)
    stack.callback(path.unlink, missing_ok=True)
    stack.callback(probe.close)


def _close(file: BreakerLog | Book) -> None:
    """Close a file whose last lines may not fit on the disk any more."""
    with suppress(OSError):
        file.close()


class _NoNoise(logging.Filter):
    """Drops what any client could make the service print as often as it likes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep everything but garbage from clients."""
        return not str(record.msg).startswith("Invalid UTF-8")


def _quiet() -> None:
    """Let uvicorn say errors only, on stderr."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_NoNoise())
    logger.addHandler(handler)
    logger.propagate = False
