from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fake_bots.probe import Probe
from harness.adapters.counters import (
    ENV_BOT,
    ENV_DIR,
    PATH_BYTES_MAX,
    bot_socket_path,
    probe,
    probe_path,
    read_counters,
    serve_probe,
    socket_path,
)
from harness.errors import TargetDownError, UsageError

JUDGED = {"blocks", "objects", "handles", "threads", "tasks"}


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: pytest's paths are longer than a Unix socket's may be.
    path = Path(tempfile.mkdtemp(prefix="hive-"))
    yield path
    shutil.rmtree(path)


def test_every_counter_is_there() -> None:
    heap = {"heap_bytes"} if hasattr(psutil, "heap_info") else set()
    assert set(read_counters()) == JUDGED | heap | {"rss_bytes"}


def test_counting_by_itself_changes_nothing() -> None:
    for _ in range(3):
        read_counters()
    first = read_counters()
    for _ in range(10):
        last = read_counters()
    assert abs(last["blocks"] - first["blocks"]) < 40
    assert all(last[name] == first[name] for name in ("handles", "threads", "tasks"))


def test_what_is_kept_is_counted() -> None:
    read_counters()
    before = read_counters()
    kept = [[bytes(50 + number % 3)] for number in range(1000)]
    after = read_counters()
    assert after["blocks"] - before["blocks"] == pytest.approx(3 * len(kept), rel=0.05)  # List, its items, bytes.
    assert after["objects"] - before["objects"] == pytest.approx(len(kept), rel=0.05)


def test_garbage_is_collected_first() -> None:
    read_counters()
    before = read_counters()
    gc.disable()
    try:
        for _ in range(1000):
            ring: list[object] = []
            ring.append(ring)
        after = read_counters()
    finally:
        gc.enable()
    assert abs(after["objects"] - before["objects"]) < 40


def test_a_handle_and_a_thread_are_counted() -> None:
    before = read_counters()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    handle = os.dup(1)
    during = read_counters()
    os.close(handle)
    stop.set()
    thread.join()
    assert during["handles"] == before["handles"] + 1
    assert during["threads"] == before["threads"] + 1


def test_a_probe_answers_with_the_counters_and_counts_tasks(folder: Path) -> None:
    async def story() -> None:
        path = socket_path(folder, "x")
        async with await serve_probe(path):
            first = await probe(path)
            waiting = [asyncio.create_task(asyncio.sleep(60)) for _ in range(5)]
            second = await probe(path)
            for task in waiting:
                task.cancel()
        assert (first.pid, second.pid) == (os.getpid(), os.getpid())
        assert set(first.counters) >= JUDGED
        assert second.counters["tasks"] == first.counters["tasks"] + 5

    asyncio.run(story())


def test_a_stranger_on_the_socket_gets_no_answer_and_does_no_harm(folder: Path) -> None:
    async def story() -> None:
        path = socket_path(folder, "x")
        async with await serve_probe(path):
            for words in (b"hello\n", b"x" * 200_000, b""):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(words)
                writer.write_eof()
                # It may hang up while the long line is still on its way.
                with suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
            assert (await probe(path)).counters["blocks"] > 0

    asyncio.run(story())


def test_a_process_that_is_gone_is_named(folder: Path) -> None:
    with pytest.raises(TargetDownError, match="echo-1: its memory cannot be probed"):
        asyncio.run(probe(folder / "echo-1.sock"))


def test_a_process_that_is_silent_is_named(folder: Path) -> None:
    async def story() -> None:
        async with await asyncio.start_unix_server(lambda _reader, writer: held.append(writer), folder / "y.sock"):
            with pytest.raises(TargetDownError, match=r"no answer within 0\.1 s"):
                await probe(folder / "y.sock", timeout_s=0.1)
            for writer in held:
                writer.close()

    held: list[asyncio.StreamWriter] = []
    asyncio.run(story())


@pytest.mark.parametrize(("value", "expected"), [(None, "None"), ("", "None"), ("/tmp/p", "/tmp/p/echo-1.sock")])
def test_the_environment_says_where_to_listen(value: str | None, expected: str) -> None:
    env = {key: text for key, text in os.environ.items() if key != ENV_DIR}
    if value is not None:
        env[ENV_DIR] = value
    code = "from harness.adapters.counters import probe_path; print(probe_path('echo-1'))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_a_bot_never_has_the_socket_of_the_service() -> None:
    env = {**os.environ, ENV_DIR: "/tmp/p", ENV_BOT: "service"}
    code = "from harness.adapters.counters import probe_path; print(probe_path('echo'))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(bot_socket_path(Path("/tmp/p"), "service"))
    assert bot_socket_path(Path("/tmp/p"), "service") != socket_path(Path("/tmp/p"), "service")


@pytest.mark.parametrize("second", ["a service", "a bot"])
def test_a_socket_on_which_somebody_answers_is_left_alone(folder: Path, second: str) -> None:
    async def story() -> None:
        path = socket_path(folder, "x")
        async with await serve_probe(path):
            with pytest.raises(UsageError, match="another process answers probes there"):
                await serve_probe(path) if second == "a service" else Probe(path)
            assert (await probe(path)).pid == os.getpid()

    asyncio.run(story())


def test_the_socket_of_a_killed_predecessor_is_replaced(folder: Path) -> None:
    path = folder / "x.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with Probe(path):
        assert path.exists()
    assert not path.exists()


def test_a_bot_that_ends_leaves_the_socket_of_its_successor(folder: Path) -> None:
    path = folder / "x.sock"
    with Probe(path):
        path.unlink()
        successor = socket.socket(socket.AF_UNIX)
        successor.bind(str(path))
    successor.close()
    assert path.exists()


def test_nobody_listens_unless_asked() -> None:
    assert ENV_DIR not in os.environ, "the test suite itself must not be probed"
    assert probe_path("service") is None


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    with pytest.raises(UsageError, match=f"may have {PATH_BYTES_MAX} bytes"):
        socket_path(Path("/tmp") / ("x" * PATH_BYTES_MAX), "service")


def test_importing_it_costs_no_psutil() -> None:
    code = "import sys, harness.adapters.counters; print('psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
