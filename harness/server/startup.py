"""Startup: everything that can be wrong before a service starts, found out before it starts.

In    paths, an address, and the options that they came from
Out   folders, a lock, an open store, a listening socket; or TargetDownError
Rule  the error's one line names the path or address, the cause and the option that changes it
Why   whoever starts a service has the command line before their eyes, not this code
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EADDRINUSE, ENOSPC
from io import FileIO
from pathlib import Path
from typing import Final, TypeVar

import psutil

from harness.adapters import disk
from harness.adapters.sqlite import FILE_NAME, Store
from harness.core.events import BotWanted, Recalled
from harness.errors import StoreError, TargetDownError
from harness.services.recovery import Recovery

T = TypeVar("T")
BACKLOG: Final = 1024
UNREAD_MAX_MS: Final = 60_000
"""A peer that takes no byte for this long is cut off by the kernel; nobody else would ever notice."""


def folder(path: Path, option: str) -> None:
    """Make a folder and prove that it can be written to."""
    try:
        disk.try_folder(path)
    except OSError as error:
        raise TargetDownError(
            f"{path}: cannot be written ({error.strerror}); make it a writable folder or choose another with {option}"
        ) from None


def plain_file(path: Path, option: str) -> None:
    """Refuse what is there and no file: it would have to go, and nobody has asked for that."""
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no ordinary file"
        raise TargetDownError(f"{path}: is {what}; name a file, or nothing that is there yet, with {option}")


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Hold the state directory: two services on one database would each believe the other's bots are theirs."""
    path = state_dir / "service.lock"
    with opened(lambda: path.open("a+b", buffering=0), "--state-dir") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = (lock.read(20) or b"").decode("ascii", "replace").strip()
            raise TargetDownError(
                f"{state_dir}: another service (process {owner}) uses it; stop that one or choose another --state-dir"
            ) from None
        opened(lambda: _sign(lock, path), "--state-dir")
        yield
        with suppress(OSError):
            lock.truncate(0)


def _sign(lock: FileIO, path: Path) -> None:
    pid = str(os.getpid()).encode()
    lock.truncate(0)
    if lock.write(pid) != len(pid):
        raise OSError(ENOSPC, os.strerror(ENOSPC), str(path))


def open_store(state_dir: Path, recovery: Recovery) -> Store:
    """Open the database of a state directory."""
    try:
        return Store(state_dir / FILE_NAME, recovery)
    except StoreError as error:
        raise TargetDownError(f"{error}; repair it or choose another --state-dir") from None


def recall(store: Store, wait_max_s: float) -> tuple[int, list[BotWanted | Recalled]]:
    """Settle what the last service left: replies that it cut short, and the bots and messages that go on.

    A message that was accepted less than ``wait_max_s`` seconds ago and has no reply waits again.
    """
    try:
        cut, waiting = store.settle(wait_max_s)
        return cut, [*store.bots(), *waiting]
    except StoreError as error:
        raise TargetDownError(f"{error}; repair it or choose another --state-dir") from None


def listen(host: str, port: int) -> socket.socket:
    """Give a listening socket; port 0 takes any free one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError) as error:
        raise TargetDownError(f"{host}:{port} is no address to listen on ({error}); check --host and --port") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MAX_MS)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == EADDRINUSE:
            raise TargetDownError(
                f"port {port} on {host} is taken{_holder(port)}: stop it or use --port 0 for a free one"
            ) from None
        raise TargetDownError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose others with --host and --port"
        ) from None
    listener.setblocking(False)
    return listener


def _holder(port: int) -> str:
    """Say who listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f" (by pid {connection.pid} {psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):
        pass
    return ""


def opened(make: Callable[[], T], option: str) -> T:
    """Open or write a file that ``option`` has named."""
    try:
        return make()
    except OSError as error:
        where = error.filename or "a file"
        raise TargetDownError(f"{where}: cannot be written ({error.strerror}); check {option}") from None


def replace(path: Path, content: bytes) -> None:
    """Put a whole file in place at once: whoever waits for it never reads half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        with suppress(OSError):  # There is none any more, unless something went wrong.
            draft.unlink()
