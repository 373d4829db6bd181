"""Message cost: CPU time of one message, here and in another checkout, in one session.

In    checkouts of the project, each with its .venv; without any, this one alone
Out   a line for each: microseconds a message in the simulation, and of the service's process behind its WebSocket
Rule  CPU time, so that a busy machine matters less; rounds in which every checkout has its turn; the median of them
Why   "it has become slower" is worth nothing without the same load on both, minutes apart

    git worktree add --detach ../before ea2c118 && (cd ../before && ./ci/setup --no-browser)
    .venv/bin/python ci/message_cost.py ../before
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import psutil
from websockets.asyncio.client import connect

from harness.adapters.journal import Book
from harness.core.decode import decode
from harness.core.scenario import Scenario
from harness.drivers.simulated import World

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs/explanation/hot-path.md"
BEGIN: Final = "<!-- cost: written by ci/message_cost.py -->\n"
END: Final = "<!-- end of cost -->\n"
SCENARIO: Final = {
    "name": "hundred users",
    "why": "that of tests/perf/test_simulated_speed.py",
    "duration_s": 40,
    "load": {"users": 100, "say_every_s": 0.5},
    "bots": [{"behaviour": "echo", "count": 4}],
}
SESSIONS: Final = 16
PAUSE_S: Final = 0.06
"""From a reply's end to the next message: about as many messages a second from both, so that they batch alike."""
WARM_S: Final = 2.0
TEXT: Final = "one two three four"
"""Six pieces of reply, as in the simulation."""
START_MAX_S: Final = 30.0


def main() -> int:
    """Measure every checkout in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("others", nargs="*", type=Path, help="another checkout, set up")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of load on the service in each round")
    parser.add_argument("--page", action="store_true", help="write the table into docs/explanation/hot-path.md")
    parser.add_argument("--simulated", action="store_true", help="only play the simulation once, and say what it took")
    asked = parser.parse_args()
    if asked.simulated:
        print(simulated_us())
        return 0
    checkouts = [*(path.resolve() for path in asked.others), ROOT]
    taken: dict[Path, list[tuple[float, float]]] = {checkout: [] for checkout in checkouts}
    for number in range(asked.rounds):
        for checkout in checkouts:
            taken[checkout].append((simulated_in(checkout), asyncio.run(served_us(checkout, asked.seconds))))
            simulated, served = taken[checkout][-1]
            print(
                f"round {number + 1}: {checkout.name}: {simulated:.0f} us simulated, {served:.0f} us served", flush=True
            )
    figures = _table({"this" if path == ROOT else path.name: _medians(each) for path, each in taken.items()})
    print(figures)
    if asked.page:
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{figures}\n\n{END}{rest.partition(END)[2]}", "utf-8")
    return 0


def _table(medians: dict[str, tuple[float, float]]) -> str:
    lines = ["| checkout | simulated, us | | served, us | |", "|---|---:|---:|---:|---:|"]
    first = next(iter(medians.values()))
    lines += [
        f"| {name} | {simulated:,.0f} | {simulated / first[0]:.2f}x | {served:,.0f} | {served / first[1]:.2f}x |"
        for name, (simulated, served) in medians.items()
    ]
    return "\n".join(lines)


def _medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(one for one, _ in rounds), statistics.median(one for _, one in rounds)


# --- The simulation ---------------------------------------------------------------------------------------------------
def simulated_in(checkout: Path) -> float:
    """Play it with the code of a checkout, in a process of its own."""
    command = [str(checkout / ".venv/bin/python"), str(Path(__file__).resolve()), "--simulated"]
    return float(subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout)


def simulated_us() -> float:
    """Play it three times with the code at hand; the median, journal included."""
    scenario = decode(Scenario, SCENARIO)
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(3):
            book = Book(Path(folder) / f"{number}.jsonl")
            world = World(scenario, 7, book)
            began = time.thread_time()
            world.run()
            taken.append(1e6 * (time.thread_time() - began) / world.crowd.answered)
            book.close()
    return statistics.median(taken)


# --- The service ------------------------------------------------------------------------------------------------------
async def served_us(checkout: Path, seconds: float) -> float:
    """Start the service of a checkout, load it, and give what its process (not its bots) took for a message."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ready = folder / "ready.json"
        command = [str(checkout / ".venv/bin/python"), "-m", "harness", "serve", "--port", "0"]
        command += ["--state-dir", str(folder / "state"), "--ready-file", str(ready)]
        command += ["--journal", str(folder / "journal.jsonl")]
        with (folder / "service.log").open("wb") as log:
            child = await asyncio.create_subprocess_exec(*command, cwd=checkout, stdout=log, stderr=log)
        try:
            return await _measured(await _url(ready, child), psutil.Process(child.pid), seconds)
        finally:
            if child.returncode is None:
                child.terminate()
            await child.wait()


async def _url(ready: Path, child: asyncio.subprocess.Process) -> str:
    for _ in range(int(START_MAX_S / 0.1)):
        url = _written(ready)
        if url:
            return url
        if child.returncode is not None:
            break
        await asyncio.sleep(0.1)
    raise SystemExit(f"the service does not listen: exit code {child.returncode}")


def _written(ready: Path) -> str:
    return str(json.loads(ready.read_text("utf-8"))["url"]) if ready.exists() else ""


async def _measured(url: str, service: psutil.Process, seconds: float) -> float:
    bots = [(await asyncio.to_thread(_post, f"{url}/api/bots", {"behaviour": "echo"}))["bot"] for _ in range(2)]
    sessions = [
        (await asyncio.to_thread(_post, f"{url}/api/sessions", {"bot": bots[number % len(bots)]}))["id"]
        for number in range(SESSIONS)
    ]
    done = [0] * SESSIONS
    clients = [asyncio.create_task(_talk(url, session, done, number)) for number, session in enumerate(sessions)]
    try:
        await asyncio.sleep(WARM_S)
        cpu_s, messages = _cpu_s(service), sum(done)
        await asyncio.sleep(seconds)
        cpu_s, messages = _cpu_s(service) - cpu_s, sum(done) - messages
    finally:
        for client in clients:
            client.cancel()
        ends = await asyncio.gather(*clients, return_exceptions=True)
    for end in ends:
        if not isinstance(end, asyncio.CancelledError):
            raise SystemExit(f"a client has ended: {end!r}")
    return 1e6 * cpu_s / messages


async def _talk(url: str, session: str, done: list[int], number: int) -> None:
    """Say something, read the reply to its end, rest, again."""
    async with connect(url.replace("http", "ws", 1) + "/ws", compression=None) as socket:
        await socket.send(
            json.dumps({"type": "hello", "v": 1, "session": session, "epoch": None, "last_seq": 0, "merge": False})
        )
        while True:
            await socket.send(json.dumps({"type": "say", "cid": f"c{done[number]}", "text": TEXT}))
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "end":
                    break
                if frame["type"] in {"failed", "rejected", "error"}:
                    raise SystemExit(f"the service refused: {text!r}")
            await socket.send(json.dumps({"type": "ack", "seq": frame["seq"]}))
            done[number] += 1
            await asyncio.sleep(PAUSE_S)


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(  # noqa: S310 - the address is the one that our own service wrote down
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
        return json.load(answer)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    sys.exit(main())
