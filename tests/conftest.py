"""Fixtures for all tests: the real ``harness serve`` as a child process, on a free port, in a folder of the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import HealthCheck, settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from harness.adapters.processes import signal_group

if TYPE_CHECKING:
    from tests.sample_journals import Samples

START_MAX_S = 30.0
ANSWER_MAX_S = 30.0
MARK = "HARNESS_TEST_FOLDER"
"""In the environment of everything that a service of a test starts, and whatever that starts in turn."""

# How fast examples come says something about the machine (and whether it measures coverage), not about the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

BESIDE = ("bot-status", "service-mode")
"""Frames that come whenever something changes, beside any conversation."""


class Served:
    """One chat service: a process of its own, and what a client of it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.bot_logs = self.state_dir / "bot-logs"
        self.ready_file = folder / "ready.json"
        self.journal = folder / "service.jsonl"
        self.log = folder / "service.log"
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str, port: int = 0, env: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it listens."""
        self.ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "harness", "serve", "--port", str(port), "--state-dir", str(self.state_dir)]
        command += ["--ready-file", str(self.ready_file), "--journal", str(self.journal), *words]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                # A leash: if the tests themselves are killed, the pipe closes and the service ends.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "HARNESS_UNTIL_EOF": "1", MARK: str(self.folder), **(env or {})},
            )
        deadline = time.monotonic() + START_MAX_S
        while not self.ready_file.exists():
            assert self._process.poll() is None, self.words()
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.02)
        self.url = json.loads(self.ready_file.read_text("utf-8"))["url"]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def words(self) -> str:
        """What it printed."""
        return self.log.read_text("utf-8", "replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(timeout=START_MAX_S)
        self._let_go()
        return code

    def kill(self) -> None:
        """kill -9, the service only: what becomes of its bots is what is tested."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._let_go()

    def close(self) -> None:
        """Whatever the test left running."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                signal_group(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._let_go()

    def _let_go(self) -> None:
        """Close the leash of a service that has ended."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    # --- Calls --------------------------------------------------------------------------------------------------------
    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """One HTTP call: status and JSON (or bytes)."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(self.url + path, data, {**given, **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_MAX_S) as response:
                status, raw = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, raw = error.code, error.read()
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw

    def launch(self, behaviour: str, name: str = "", **options: object) -> str:
        """Launch a bot and wait until it takes messages; its name."""
        body = {"behaviour": behaviour, "options": options, **({"name": name} if name else {})}
        status, answer = self.call("POST", "/api/bots", body)
        assert status == 201, answer
        self.await_bot(answer["bot"], state="online")
        return str(answer["bot"])

    def bot(self, name: str) -> dict[str, Any]:
        """The newest state of a bot."""
        _, answer = self.call("GET", "/api/bots")
        found: dict[str, Any] = next(bot for bot in answer["bots"] if bot["bot"] == name)
        return found

    def await_bot(self, name: str, **wanted: object) -> dict[str, Any]:
        """Wait until a bot's status holds these values."""
        deadline = time.monotonic() + ANSWER_MAX_S
        while not wanted.items() <= (now := self.bot(name)).items():
            assert time.monotonic() < deadline, (wanted, now, self.words())
            time.sleep(0.02)
        return now

    def session(self, bot: str, title: str = "") -> str:
        """Open a session; its id."""
        status, answer = self.call("POST", "/api/sessions", {"bot": bot, "title": title})
        assert status == 201, answer
        return str(answer["id"])

    def messages(self, session: str) -> list[dict[str, Any]]:
        """All messages of a session."""
        status, answer = self.call("GET", f"/api/sessions/{session}/messages?limit=500")
        assert status == 200, answer
        return list(answer["messages"])

    @asynccontextmanager
    async def socket(self, **options: Any) -> AsyncIterator[Talk]:
        """A WebSocket that has not said anything yet."""
        async with connect(f"ws://{self.url.removeprefix('http://')}/ws", compression=None, **options) as link:
            yield Talk(link)

    @asynccontextmanager
    async def joined(self, session: str, epoch: str | None = None, last_seq: int = 0) -> AsyncIterator[Talk]:
        """A WebSocket in a session, welcomed."""
        async with self.socket() as talk:
            await talk.hello(session, epoch, last_seq)
            yield talk

    def assert_nothing_left(self) -> None:
        """Fail if a process outlived the service; its helpers may take a moment."""
        deadline = time.monotonic() + ANSWER_MAX_S
        while left := [
            process for process in psutil.process_iter(["cmdline"]) if _mark_of(process) == str(self.folder)
        ]:
            assert time.monotonic() < deadline, f"left behind: {[process.info for process in left]}"
            time.sleep(0.02)
        assert not self.ready_file.exists()


class Talk:
    """A WebSocket to the service."""

    def __init__(self, link: ClientConnection) -> None:
        self.link = link
        self.welcome: dict[str, Any] = {}
        self.seen = 0

    async def tell(self, **frame: object) -> None:
        """Send one frame."""
        await self.link.send(json.dumps(frame))

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(await self.link.recv())
        return frame

    async def until(self, *kinds: str) -> list[dict[str, Any]]:
        """All frames up to the first of these kinds; states of bots and of the whole only if they are asked for."""
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1]["type"] not in kinds:
            frame = await self.hear()
            if frame["type"] not in BESIDE or frame["type"] in kinds:
                frames.append(frame)
        return frames

    async def until_closed(self) -> tuple[int, str]:
        """Read on until the service closes; code and reason. The last ``seq`` is kept in ``seen``."""
        try:
            while True:
                self.seen = (await self.hear()).get("seq", self.seen)
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                raise
            return closed.rcvd.code, closed.rcvd.reason

    async def hello(self, session: str | None, epoch: str | None = None, last_seq: int = 0) -> dict[str, Any]:
        """Say hello; the welcome."""
        await self.tell(type="hello", v=1, session=session, epoch=epoch, last_seq=last_seq)
        self.welcome = (await self.until("welcome"))[-1]
        return self.welcome

    async def say(self, cid: str, text: str) -> list[dict[str, Any]]:
        """Send a message; all frames up to its end."""
        await self.tell(type="say", cid=cid, text=text)
        return await self.until("end", "failed", "rejected")


@pytest.fixture(scope="session")
def samples() -> Samples:
    """Sample journals, made without drivers; loaded by path, because tests are no package."""
    name = "sample_journals"
    if name not in sys.modules:
        spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    made: Samples = sys.modules[name].Samples()
    return made


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Served]:
    """A chat service that is not started yet; it and everything it started is gone when the test ends."""
    served = Served(tmp_path)
    yield served
    served.close()
    served.assert_nothing_left()


@pytest.fixture
def service(chat: Served) -> Served:
    """A chat service that runs."""
    chat.start()
    return chat


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A chat service for all tests of a module that do not mind what the others said to it."""
    served = Served(tmp_path_factory.mktemp("steady"))
    served.start()
    yield served
    served.close()
    served.assert_nothing_left()


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:  # Gone meanwhile, or somebody else's.
        return None
