"""Hot path: what each stage of a message's way costs; writes the table of docs/explanation/hot-path.md.

In    the machines of the service and the engine around them, warm, with nobody waiting: as it is nearly always
Out   microseconds of CPU a message for each stage; ``--print`` leaves the page alone
Rule  CPU time of the thread; rounds in which every stage has its turn; the least of them is what the code costs
Why   a service on the way of every message is paid for by every message: so each shows its price
"""

from __future__ import annotations

import gc
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from harness.adapters.journal import line_of
from harness.chat.engine import Engine
from harness.chat.session_log import SessionLog
from harness.core.breaker import BreakerConfig, Outcome, Permit
from harness.core.events import (
    Accepted,
    Admitted,
    Begin,
    BotEnded,
    BotReady,
    BotSaid,
    BotStarted,
    BotWanted,
    ClientAcked,
    Delta,
    End,
    LoggedFrame,
    TurnSettled,
    UserSaid,
)
from harness.core.failures import standard
from harness.core.settings import Settings
from harness.core.wire import Ask, read_answer, write
from harness.server.hub import encode_logged
from harness.services.capacity import Capacity, CapacityConfig, Demand, Limits
from harness.services.circuit_breaker import CircuitBreaker
from harness.services.concurrency_limit import ConcurrencyConfig, ConcurrencyLimit
from harness.services.metrics import Metrics
from harness.services.rate_limit import TokenBucketConfig, TokenBuckets
from harness.services.recovery import Recovery, RecoveryConfig
from harness.services.wait_queue import WaitQueue, WaitQueueConfig

PAGE: Final = Path(__file__).parents[1] / "docs/explanation/hot-path.md"
BEGIN: Final = "<!-- stages: written by ci/hot_path.py -->\n"
END: Final = "<!-- end of stages -->\n"
PIECES: Final = tuple(f"word{number} " for number in range(6))
ROUNDS: Final = 30
MESSAGES: Final = 500
"""In each turn of a stage."""
STEP_S: Final = 0.001
"""Virtual seconds from one message to the next."""
Case = Callable[[float], object]
"""Does one message's worth of a stage at a moment."""


class Item:
    """What waits in a queue."""


def door() -> Case:
    """The rate of a session, then the limits of the whole."""
    pace = TokenBuckets(TokenBucketConfig(rate_per_s=1e6, burst=1e6))
    capacity = Capacity(Limits(tasks_per_s=5_000), CapacityConfig(), random.Random(7))
    demand = Demand(tasks=1)

    def case(now: float) -> None:
        pace.take(now, "session")
        capacity.admit(now, demand)

    return case


def breaker() -> Case:
    """Asked at the door, renewed with each piece, settled."""
    made = CircuitBreaker(BreakerConfig(failures_max=5, slow_rate=0.8, slow_s=20.0), random.Random(7))

    def case(now: float) -> None:
        made.tick(now)
        made.peek(now)
        permit = made.admit(now)
        assert isinstance(permit, Permit)
        for _ in PIECES:
            made.renew(permit, now)
        made.settle(permit, now, Outcome.SUCCESS, took_s=0.0)

    return case


def queue() -> Case:
    """Offered, taken at once, settled: what it costs to wait."""
    made = WaitQueue[Item](WaitQueueConfig(), random.Random(7))

    def case(now: float) -> None:
        made.offer(Item(), now, size=20, deadline=now + 100.0)
        made.take(now)
        made.settled(now, served=False)

    return case


def place() -> Case:
    """Nobody waits and a place is free: it passes by."""
    made = WaitQueue[Item](WaitQueueConfig(), random.Random(7))

    def case(now: float) -> None:
        made.pass_by(now, size=20)
        made.settled(now)

    return case


def limit() -> Case:
    """A lease and its end."""
    made = ConcurrencyLimit(ConcurrencyConfig(kind="gradient"))

    def case(now: float) -> None:
        lease = made.try_acquire(now)
        assert lease is not None
        made.settle(lease, now, signal_s=0.001)

    return case


def recovery() -> Case:
    """A call that works."""
    made = Recovery(RecoveryConfig(), standard(), dice=random.Random(7))
    return lambda now: made.succeeded(made.begin("bot", now, deadline=now + 100.0, keyed=True), now)


def metrics() -> Case:
    """Both facts of a message, counted."""
    made = Metrics()
    admitted, settled = Admitted("bot", "t-1", probe=False), TurnSettled("bot", "t-1", "done", 0.02, 0.01)

    def case(now: float) -> None:
        del now
        made.record(admitted)
        made.record(settled)

    return case


def frames() -> tuple[LoggedFrame, ...]:
    """All that a session hears of a message."""
    said = [Delta("t-1", 6 * number, piece) for number, piece in enumerate(PIECES)]
    return Accepted("c1", "t-1.q", "t-1", "hello"), Begin("t-1", "c1", "bot"), *said, End("t-1", "c1", "done", 36)


def log() -> Case:
    """The frames kept for a reader who may come back, and forgotten when they have arrived."""
    made, heard = SessionLog(10_000, 1_000_000), frames()

    def case(now: float) -> None:
        del now
        for frame in heard:
            made.append(frame)
        made.trim(made.head)

    return case


def engine() -> Case:
    """Everything above but the metrics, in place: a message, its pieces, its end, an acknowledgement."""
    made = Engine(Settings(session_rate_per_s=1e6, session_burst=1_000_000), epoch="e", seed=7)
    for fact in (BotWanted("bot", "echo"), BotStarted("bot", 1), BotReady("bot")):
        made.receive(fact, 0.0)
    number = 0

    def case(now: float) -> None:
        nonlocal number
        number += 1
        turn = f"te-{number}"
        made.receive(UserSaid(1, "session", "bot", f"c{number}", "hello"), now)
        for piece in PIECES:
            made.receive(BotSaid("bot", turn, piece), now)
        acts = made.receive(BotEnded("bot", turn), now)
        assert acts, "the turn was not under way"
        made.receive(ClientAcked("session", 9 * number), now)

    return case


def journal() -> Case:
    """Both facts of a message as lines."""
    admitted, settled = Admitted("bot", "t-1", probe=False), TurnSettled("bot", "t-1", "done", 0.02, 0.01)
    return lambda now: (line_of(now, "service", admitted), line_of(now, "service", settled))


def text() -> Case:
    """The frames as JSON, once for all who listen."""
    heard = frames()

    def case(now: float) -> None:
        del now
        for frame in heard:
            encode_logged(1, frame)

    return case


def wire() -> Case:
    """The question to the bot, and its pieces back."""
    ask = Ask("t-1", "session", "hello")
    lines = [b'{"type":"delta","turn":"t-1","text":"%b"}\n' % piece.encode() for piece in PIECES]
    lines.append(b'{"type":"end","turn":"t-1"}\n')

    def case(now: float) -> None:
        del now
        write(ask)
        for line in lines:
            read_answer(line)

    return case


STAGES: Final[Mapping[str, Case]] = {
    "door: rate of the session, limits of the whole": door(),
    "circuit breaker: a look, a permit, 6 renewals, settled": breaker(),
    "wait queue: passed by, for a place is free; settled": place(),
    "wait queue: (who has to wait) offered, taken, settled": queue(),
    "concurrency limit: lease, settled": limit(),
    "recovery: a call begins, and works": recovery(),
    "session log: 9 frames kept, then acknowledged": log(),
    "**the engine in all**: 9 facts in, their acts out": engine(),
    "metrics: both facts counted": metrics(),
    "journal: both facts as lines": journal(),
    "frames: 9 as JSON": text(),
    "bot wire: a question written, 7 lines read": wire(),
}


def measured() -> dict[str, list[float]]:
    """Microseconds a message, for each stage and round."""
    taken: dict[str, list[float]] = {name: [] for name in STAGES}
    now = 1.0
    for number in range(ROUNDS + 1):
        for name, case in STAGES.items():
            gc.collect()
            gc.disable()
            began = time.thread_time_ns()
            for place in range(MESSAGES):
                case(now + STEP_S * place)
            spent = time.thread_time_ns() - began
            gc.enable()
            if number:  # The first round only warms up.
                taken[name].append(spent / MESSAGES / 1000)
        now += STEP_S * MESSAGES
    return taken


def table() -> str:
    """Write the table."""
    lines = ["| stage, for one message with a reply of six pieces | least us | median us |", "|---|---:|---:|"]
    for name, each in measured().items():
        lines.append(f"| {name} | {min(each):.1f} | {statistics.median(each):.1f} |")
    where = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {ROUNDS} rounds."
    return "\n".join([*lines, "", where])


def main() -> int:
    """Measure, and write the table into its page."""
    figures = table()
    print(figures)
    if sys.argv[1:] != ["--print"]:
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{figures}\n\n{END}{rest.partition(END)[2]}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
