"""The guardian program: outlive the owner, then end whatever it left behind.

In    lines on stdin: "watch PID", "forget PID", "file PATH", "folder PATH", "unpath PATH" (a path is the hexadecimal
      form of its bytes: no name can pretend to be a line); its own token as the one argument
Out   at the end of stdin, however the owner ended: watched files are unlinked; every process group that is still
      watched, and every process whose environment carries the token, gets SIGTERM, a second later SIGKILL; then watched
      folders are removed
Rule  standard library only, started with -I -S: it must be there within milliseconds and survive everything. A "file"
      that turns out to be a folder stays, a line that was torn by the owner's end is none
Why   a process that is killed with -9 cannot clean up after itself; a pipe that closes is the one sign that never fails
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

GRACE_S = 1.0
PROC = Path("/proc")


def main() -> None:
    """Listen until the owner is gone, then clean up."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    token = sys.argv[1].encode()
    groups: set[int] = set()
    files: set[bytes] = set()
    folders: set[bytes] = set()
    for line in sys.stdin.buffer:
        if not line.endswith(b"\n"):
            break
        word, rest = line.decode("ascii").split()
        if word == "watch":
            groups.add(int(rest))
        elif word == "forget":
            groups.discard(int(rest))
        else:
            path = bytes.fromhex(rest)
            files.discard(path)
            folders.discard(path)
            if word == "file":
                files.add(path)
            elif word == "folder":
                folders.add(path)
    # Files first: one that says "I am ready" must not outlive who was. Folders last: the processes write there.
    for path in files:
        with contextlib.suppress(OSError):
            Path(os.fsdecode(path)).unlink()
    end_all(token, groups)
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)


def end_all(token: bytes, groups: set[int]) -> None:
    """Ask politely first; insist after the grace."""
    start = time.monotonic()
    while True:
        left = [pid for pid in groups if alive(pid)]
        marked = carriers(token)
        if not left and not marked:
            return
        waited = time.monotonic() - start
        if waited > 3 * GRACE_S:
            return  # What cannot be killed for two seconds (uninterruptible sleep) will not be by asking more often.
        number = signal.SIGTERM if waited < GRACE_S else signal.SIGKILL
        for pid in left:
            send(os.killpg, pid, number)
        for pid in marked:
            send(os.kill, pid, number)
        # A stopped process cannot act on SIGTERM; waking it lets it end in order.
        if number == signal.SIGTERM:
            for pid in left:
                send(os.killpg, pid, signal.SIGCONT)
        time.sleep(0.05)


def send(how: object, pid: int, number: int) -> None:
    """Send a signal to a process or group that may be gone by now."""
    try:
        how(pid, number)  # type: ignore[operator]
    except (ProcessLookupError, PermissionError):
        return


def alive(group: int) -> bool:
    """Say whether a process group still has members."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False
    return True


def carriers(token: bytes) -> list[int]:
    """Find every process that inherited the token, wherever it was forked to (Linux; elsewhere none)."""
    found = []
    own = os.getpid()
    for entry in PROC.glob("[0-9]*"):
        try:
            if token in (entry / "environ").read_bytes() and int(entry.name) != own and not zombie(entry):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def zombie(entry: Path) -> bool:
    """Say whether a process has ended already and only waits for its parent."""
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


if __name__ == "__main__":
    main()
