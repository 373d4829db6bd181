"""Starting and ending the service: what it refuses, what it says, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.server.startup import replace

if TYPE_CHECKING:
    from tests.conftest import Served


def refused(*words: str, before: tuple[str, ...] = ()) -> str:
    """Run ``harness serve`` to its end; its one line of complaint."""
    command = [*before, sys.executable, "-m", "harness", "serve", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_ready_file_and_clean_end(service: Served) -> None:
    assert json.loads(service.ready_file.read_text()) == {"url": service.url, "pid": service.pid}
    service.launch("echo")
    assert service.call("GET", "/health/live")[0] == 200
    assert service.stop() == 0
    assert not service.ready_file.exists()
    kept = ["alerts.json", "bot-logs", "chat.sqlite3", "series.sqlite3", "service.lock"]
    assert sorted(path.name for path in service.state_dir.iterdir()) == kept
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", service.port)):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_polite_signal_ends_it_with_0_and_tells_the_sockets(service: Served, number: int) -> None:
    session = service.session(service.launch("slow", token_s=0.05))

    async def story() -> None:
        async with service.joined(session) as talk:
            await talk.tell(
                type="say", cid="c1", text="a reply that will not be finished before the end of the service"
            )
            await talk.until("delta")
            ending = asyncio.create_task(asyncio.to_thread(service.stop, number))
            assert (await talk.until_closed())[0] == 1012
            assert await ending == 0

    asyncio.run(story())


def test_a_busy_port_names_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        line = refused("--port", str(port), "--state-dir", str(tmp_path / "state"))
    name = psutil.Process().name()
    holder_said = f"(by pid {os.getpid()} {name})"
    remedy = "stop it or use --port 0 for a free one"
    assert line == f"harness: port {port} on 127.0.0.1 is taken {holder_said}: {remedy}"


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    line = refused("--host", "192.0.2.1", "--port", "0", "--state-dir", str(tmp_path))
    assert "192.0.2.1" in line
    assert "--host" in line


def _a_file(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.write_text("I am a file")
    return path


def _below_a_file(tmp_path: Path) -> Path:
    return _a_file(tmp_path) / "state"


def _in_proc(tmp_path: Path) -> Path:
    if not Path("/proc/self").exists():
        pytest.skip(f"{tmp_path}: no /proc on this system")
    return Path("/proc/harness-state")


@pytest.mark.parametrize("make", [_a_file, _below_a_file, _in_proc])
def test_a_state_dir_that_cannot_be_names_path_and_remedy(tmp_path: Path, make: object) -> None:
    assert callable(make)
    path = make(tmp_path)
    line = refused("--port", "0", "--state-dir", str(path))
    assert line.startswith(f"harness: {path}: cannot be written (")
    assert "--state-dir" in line


def test_a_read_only_state_dir(chat: Served, tmp_path: Path) -> None:
    """On a file system that is mounted read-only, so that it holds for root too."""
    chat.start()
    session = chat.session(chat.launch("echo"))
    chat.stop()
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" || exit 77; exec "$@"'
    before = ("unshare", "--mount", "--map-root-user", "sh", "-c", mount, str(chat.state_dir))
    if (
        shutil.which("unshare") is None
        or subprocess.run([*before, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip(
            "this machine lets nobody mount in a name space of their own: no read-only file system to test with"
        )
    line = refused(
        "--port", "0", "--state-dir", str(chat.state_dir), "--bot-logs", str(tmp_path / "logs"), before=before
    )
    assert line.startswith(f"harness: {chat.state_dir}: cannot be written (Read-only file system)")
    chat.start()
    assert chat.messages(session) == []


def test_a_database_that_is_none(chat: Served) -> None:
    chat.state_dir.mkdir()
    path = chat.state_dir / "chat.sqlite3"
    path.write_bytes(b"not a database, but somebody's file " * 100)
    line = refused("--port", "0", "--state-dir", str(chat.state_dir))
    assert str(path) in line
    assert "--state-dir" in line
    assert path.read_bytes().startswith(b"not a database")


def test_a_database_of_a_newer_version(chat: Served) -> None:
    chat.state_dir.mkdir()
    with closing(sqlite3.connect(chat.state_dir / "chat.sqlite3")) as connection:
        connection.execute("PRAGMA user_version = 99")
    line = refused("--port", "0", "--state-dir", str(chat.state_dir))
    assert "newer" in line
    assert "99" in line


def test_two_services_on_one_state_dir(service: Served) -> None:
    line = refused("--port", "0", "--state-dir", str(service.state_dir))
    assert line == (
        f"harness: {service.state_dir}: another service (process {service.pid}) uses it; "
        "stop that one or choose another --state-dir"
    )


@pytest.mark.parametrize("option", ["--journal", "--ready-file", "--bot-logs"])
def test_other_files_that_cannot_be_written(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("")
    line = refused("--port", "0", "--state-dir", str(tmp_path / "state"), option, str(tmp_path / "file" / "below"))
    assert str(tmp_path / "file") in line
    assert option in line


def test_the_page_and_its_files(steady: Served) -> None:
    status, page = steady.call("GET", "/")
    assert status == 200
    assert b"<html" in page
    for path in (
        "/static/../serve.py",
        "/static/%2e%2e/serve.py",
        "/static/nope.js",
        "/static/core",
        "/static/a%00.js",
    ):
        assert steady.call("GET", path)[0] == 404, path


def test_security_headers_stand_on_every_answer(steady: Served) -> None:
    for path in ("/", "/api/bots", "/nowhere", "/static/nope.js"):
        with socket.create_connection(("127.0.0.1", steady.port)) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            head = b"".join(iter(lambda: link.recv(65_536), b"")).partition(b"\r\n\r\n")[0].lower()
        assert b"content-security-policy: default-src 'none'; script-src 'self';" in head, path
        assert b"require-trusted-types-for 'script'" in head
        assert b"x-content-type-options: nosniff" in head
        assert b"\r\nserver:" not in head


def test_a_ready_file_that_is_a_folder_is_refused_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thing").write_text("x")
    line = refused("--port", "0", "--state-dir", str(tmp_path / "state"), "--ready-file", str(folder))
    assert line.startswith(f"harness: {folder}: is a folder")
    assert "--ready-file" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "state"]
    assert (folder / "thing").read_text() == "x"


def test_a_draft_that_cannot_take_its_place_is_removed(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        replace(tmp_path, b"x")
    assert list(tmp_path.parent.glob(f"{tmp_path.name}.*")) == []


def test_a_lock_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "service.lock").mkdir()
    line = refused("--port", "0", "--state-dir", str(tmp_path))
    assert line.startswith(f"harness: {tmp_path / 'service.lock'}: cannot be written (Is a directory)")
    assert "--state-dir" in line


def test_a_database_without_its_tables(chat: Served) -> None:
    """One that opens, and cannot be read."""
    chat.start()
    assert chat.stop() == 0
    with closing(sqlite3.connect(chat.state_dir / "chat.sqlite3")) as connection:
        connection.execute("DROP TABLE bot")
        connection.commit()
    line = refused("--port", "0", "--state-dir", str(chat.state_dir))
    assert "no such table: bot" in line
    assert "--state-dir" in line


def test_a_service_on_a_leash_ends_with_who_holds_it(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "harness", "serve", "--port", "0", "--state-dir", str(tmp_path / "state")]
    with subprocess.Popen(
        [*command, "--ready-file", str(ready)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "HARNESS_UNTIL_EOF": "1"},
    ) as process:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    assert not ready.exists()
