"""Counters: what a process holds after a collection, and a socket through which another process can ask.

In    nothing (the own process), or the path of another process's probe socket
Out   counters by name: blocks objects heap_bytes handles threads tasks are judged, rss_bytes is only shown
Rule  both sides collect first and count the allocations before everything else, for counting allocates too
Why   the memory of the operating system (RSS) grows without a leak; what Python holds after a collection does not

    HARNESS_PROBE_DIR=/tmp/x    the service opens /tmp/x/service.sock, a bot (HARNESS_BOT_NAME) /tmp/x/bot-NAME.sock
    the line "probe"            is answered by  {"pid": 4711, "blocks": 81234, "objects": 40321, ...}

A probed program says ``async with await serve_probe(path): ...`` or keeps the server and closes it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import TargetDownError, UsageError

ENV_DIR: Final = "HARNESS_PROBE_DIR"
ENV_BOT: Final = "HARNESS_BOT_NAME"
"""Whoever has it is a bot: its socket is never that of another program, whatever the bot is called."""
SERVICE: Final = "service"
PATH_BYTES_MAX: Final = 100
"""The smallest limit of a Unix socket's path is 104 bytes (macOS, with its end mark)."""
LINE_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Probed:
    """What one process said of itself; ``pid`` is 0 if it did not say."""

    pid: int
    counters: dict[str, int]


def probe_path(name: str) -> Path | None:
    """Where the own process, called ``name`` unless it is a bot, shall listen; None if nobody asked for probes."""
    folder = os.environ.get(ENV_DIR, "")
    if not folder:
        return None
    bot = os.environ.get(ENV_BOT, "")
    return bot_socket_path(Path(folder), bot) if bot else socket_path(Path(folder), name)


def bot_socket_path(folder: Path, bot: str) -> Path:
    """The socket of a bot in a probe directory."""
    return socket_path(folder, f"bot-{bot}")


def socket_path(folder: Path, name: str) -> Path:
    """The socket of ``name`` in a probe directory; UsageError if the system could not bind it."""
    path = folder / f"{name}.sock"
    size = len(os.fsencode(path))
    if size > PATH_BYTES_MAX:
        raise UsageError(
            f"{path}: a Unix socket's path may have {PATH_BYTES_MAX} bytes, this has {size}; choose a shorter {ENV_DIR}"
        )
    return path


def make_way(path: Path) -> None:
    """Remove the socket that a killed predecessor left at ``path``; UsageError if somebody still answers there."""
    with socket.socket(socket.AF_UNIX) as trial:
        trial.setblocking(False)
        try:
            trial.connect(os.fspath(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:  # Somebody listens and is busy.
            pass
    raise UsageError(f"{path}: another process answers probes there; choose another {ENV_DIR}")


def own_answer() -> dict[str, int]:
    """Give what the own process answers to a probe."""
    return {"pid": os.getpid(), **read_counters()}


def read_counters() -> dict[str, int]:
    """Collect twice, then count what the own process holds."""
    import psutil  # noqa: PLC0415 - only a probed process pays for it

    collect()
    blocks = sys.getallocatedblocks()
    counters = {"blocks": blocks, "objects": len(gc.get_objects())}
    process = psutil.Process()
    if hasattr(psutil, "heap_info"):  # glibc, musl and a few more; since psutil 7.2.
        heap = psutil.heap_info()
        counters["heap_bytes"] = heap.heap_used + heap.mmap_used
    counters["handles"] = process.num_fds()
    counters["threads"] = process.num_threads()
    counters["tasks"] = _tasks()
    counters["rss_bytes"] = process.memory_info().rss
    return counters


def collect() -> None:
    """Let go of everything that only waits to be let go."""
    # CPython's cache of attribute look-ups holds on to their names, up to 4,096 of them; every class pattern in a
    # ``match`` makes a new one ("__match_args__"), so for thousands of messages that looks like a slow leak.
    clear = getattr(sys, "_clear_internal_caches", None) or getattr(sys, "_clear_type_cache", None)
    if clear is not None:
        clear()
    gc.collect()
    gc.collect()  # What the finalizers of the first collection let go.


async def serve_probe(path: Path) -> asyncio.AbstractServer:
    """Answer probes on a Unix socket until the returned server is closed."""
    # The first count imports psutil and fills its caches: done here, so that no probe ever sees that growth.
    read_counters()
    make_way(path)
    return await asyncio.start_unix_server(_answer, path, limit=LINE_BYTES_MAX)


async def probe(path: Path, *, timeout_s: float = 30.0) -> Probed:
    """Ask the process behind ``path`` for its counters; TargetDownError if it does not answer."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES_MAX)
            try:
                writer.write(b"probe\n")
                line = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
        counters: dict[str, int] = json.loads(line)
    except (OSError, TimeoutError, ValueError) as error:
        why = str(error) or f"no answer within {timeout_s:g} s"
        raise TargetDownError(f"{path.stem}: its memory cannot be probed at {path} ({why})") from None
    return Probed(counters.pop("pid", 0), counters)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while (await reader.readline()) == b"probe\n":
            writer.write(json.dumps(own_answer()).encode() + b"\n")
            await writer.drain()
    except (ConnectionError, ValueError):
        pass  # Whoever asked is gone, or never meant us.
    finally:
        writer.close()


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # No loop runs in this thread.
        return 0
