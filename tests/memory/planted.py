"""A small asyncio program with a known way of holding memory: the leak check's test subject.

In    python -m planted HABIT; then lines "go COUNT" on stdin
Out   "done" for each; the probe socket of counters.py under the name "planted"
Rule  every message does the same small work; HABIT alone decides what stays behind
Why   a check is worth what it finds, and what it leaves in peace, in programs whose truth is known
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import OrderedDict
from collections.abc import Callable

from harness.adapters.counters import probe_path, serve_probe

kept: list[object] = []
buffer = bytearray()
cache: OrderedDict[int, bytes] = OrderedDict()
CACHE_MAX = 2_300
SAW_MAX = 900


def clean(_number: int) -> None:
    pass


def cycles(number: int) -> None:
    # Garbage that only the collector can free.
    ring: list[object] = [number]
    ring.append(ring)


def filling_cache(number: int) -> None:
    cache[number] = bytes(40 + number % 5)
    if len(cache) > CACHE_MAX:
        cache.popitem(last=False)


def sawtooth(number: int) -> None:
    kept.append(bytes(40 + number % 5))
    if len(kept) > SAW_MAX:
        kept.clear()


def leak_small(number: int) -> None:
    kept.append(bytes(40 + number % 5))


def leak_seldom(number: int) -> None:
    if number % 10 == 0:
        kept.append(bytes(40 + number % 5))


def leak_dict(number: int) -> None:
    kept.append({"number": number, "words": [str(number)]})


def leak_buffer(_number: int) -> None:
    buffer.extend(bytes(200))


def leak_handle(number: int) -> None:
    if number % 20 == 0:
        kept.append(os.dup(0))


def leak_task(number: int) -> None:
    if number % 20 == 0:
        kept.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))


HABITS: dict[str, Callable[[int], None]] = {
    habit.__name__.replace("_", "-"): habit
    for habit in (
        clean,
        cycles,
        filling_cache,
        sawtooth,
        leak_small,
        leak_seldom,
        leak_dict,
        leak_buffer,
        leak_handle,
        leak_task,
    )
}


async def message(number: int, habit: Callable[[int], None]) -> None:
    body = json.loads(json.dumps({"cid": f"m{number}", "text": "amber birch cedar", "words": [*range(number % 7)]}))
    await asyncio.sleep(0)
    assert body["cid"]
    habit(number)


async def main(habit: Callable[[int], None]) -> None:
    path = probe_path("planted")
    assert path is not None, "start it with HARNESS_PROBE_DIR"
    loop = asyncio.get_running_loop()
    async with await serve_probe(path):
        number = 0
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            for _ in range(int(line.split()[1])):
                number += 1
                await message(number, habit)
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(HABITS[sys.argv[1]]))
