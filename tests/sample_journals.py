"""Sample journals: runs written down by hand, for everything that reads journals.

In    numbers that shape a case
Out   entries as a driver would have written them, without any driver
Rule  seeded; every case tells one story that a test can name
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from harness.core.events import (
    Admitted,
    AllocatorFound,
    BotSeen,
    BreakerMoved,
    CaseEnded,
    CaseStarted,
    Entry,
    FaultArmed,
    FaultDelivered,
    FaultHealed,
    GeneratorSeen,
    GotAccepted,
    GotFailure,
    GotFirstToken,
    GotRefusal,
    GotReply,
    MachineSeen,
    MemorySampled,
    Noted,
    Refused,
    RunFact,
    Sent,
    Stepped,
    TranscriptRead,
    TurnSettled,
)
from harness.core.scenario import Bot, Bound, Burst, Distance, FaultPlan, Load, MemoryPlan, Scenario
from harness.core.settings import Settings
from harness.core.texts import crc_of

MACHINE = MachineSeen("0.1.0", "3.11.7", "Linux 6.18.0", "Example CPU @ 2.50GHz", 2, 7_936)


def said(cid: str) -> str:
    """What stands in a message: 14 characters."""
    return f"{cid:.14}".ljust(14, ".")


class Samples:
    """Builds journals; every method gives the entries of one case, or of a whole run."""

    machine = MACHINE

    def scenario(self, **changes: Any) -> Scenario:
        """A small scenario, with whatever is to be different."""
        base = Scenario(
            name="a chat that works",
            why="People must get an answer to what they wrote, and find it again later.",
            duration_s=20.0,
            bots=(Bot(behaviour="echo"), Bot(behaviour="slow")),
            load=Load(users=8, say_every_s=0.5),
            expect={"messages_answered": Bound(min=10), "response_ms_p95": Bound(max=500)},
        )
        return replace(base, **changes)

    def case(
        self,
        *facts: tuple[float, str, RunFact],
        scenario: Scenario | None = None,
        case: str = "smoke/chat",
        distance: Distance = "simulated",
        end: float | None = None,
        ended: CaseEnded | None = CaseEnded(),  # noqa: B008 - frozen
        seed: int = 7,
    ) -> list[Entry]:
        """Put facts between the start and the end of a case."""
        told = scenario or self.scenario()
        entries = [Entry(0.0, "runner", CaseStarted(case, distance, seed, asdict(told)))]
        entries.extend(Entry(t, source, fact) for t, source, fact in facts)
        if ended is not None:
            last = max((entry.t for entry in entries), default=0.0) if end is None else end
            entries.append(Entry(last, "runner", ended))
        return entries

    def exchange(
        self, cid: str, sent: float, *, took: float = 0.1, session: str = "s1", bot: str = "echo", lag: float = 0.0
    ) -> list[tuple[float, str, RunFact]]:
        """One message that is answered by an echo."""
        reply = f"You said: {said(cid)}"
        return [
            (sent, "client", Sent(session, bot, cid, round(sent - lag, 6), crc_of(said(cid)))),
            (sent + 0.002, "client", GotAccepted(cid)),
            (sent + took / 2, "client", GotFirstToken(cid)),
            (sent + took, "client", GotReply(cid, len(reply), pieces=6, crc=crc_of(reply))),
        ]

    def stored(self, session: str, cids: Sequence[str], replies: Sequence[str] | None = None) -> TranscriptRead:
        """A session with these messages, and the echo's replies to all or some of them."""
        answered = cids if replies is None else replies
        return TranscriptRead(
            session,
            tuple(cids),
            tuple(answered),
            tuple(crc_of(said(cid)) for cid in cids),
            tuple(crc_of(f"You said: {said(cid)}") for cid in answered),
        )

    def chat(
        self,
        *,
        messages: int = 200,
        lost: int = 0,
        distance: Distance = "simulated",
        case: str = "smoke/chat",
        seed: int = 7,
    ) -> list[Entry]:
        """Messages that are all answered; ``lost`` of them are not in the store afterwards."""
        rng = random.Random(seed)
        facts: list[tuple[float, str, RunFact]] = []
        stored: dict[str, list[str]] = {f"s{user}": [] for user in range(8)}
        for n in range(messages):
            user = n % 8
            sent = 0.5 + n * 18.0 / messages
            took = rng.lognormvariate(-3.0, 0.6) + (0.35 if user % 2 else 0.0)
            cid = f"u{user}-{n // 8 + 1}"
            bot = "slow" if user % 2 else "echo"
            facts.extend(self.exchange(cid, sent, took=took, session=f"s{user}", bot=bot, lag=rng.random() * 0.004))
            facts.append((sent + took, "service", TurnSettled(bot, f"t-{cid}", "done", took, took / 2)))
            stored[f"s{user}"].append(cid)
        end = max(t for t, _, _ in facts)
        gone = {cids[len(cids) // 2] for cids in list(stored.values())[:lost]}
        for session, cids in stored.items():
            facts.append((end, "store", self.stored(session, [cid for cid in cids if cid not in gone], cids)))
        if distance == "wired":
            facts.extend(
                (float(s), "load", GeneratorSeen(1.5 + rng.random() * 4, 0.2 + rng.random() / 10, 8)) for s in range(20)
            )
        return self.case(*sorted(facts, key=lambda fact: fact[0]), case=case, distance=distance, seed=seed)

    def breaker(self, *, distance: Distance = "wired", messages: int = 400) -> list[Entry]:
        """A bot is killed and killed again; its breaker opens, probes, opens again, closes."""
        scenario = self.scenario(
            name="a bot that keeps dying",
            why="A dead bot must cost its users one breaker, not the chat.",
            duration_s=30.0,
            service=Settings(breaker_cooldown_s=3.0),
            faults=(FaultPlan(kind="crash-loop", bot="echo", at_s=6.0, for_s=8.0),),
            expect={
                "breaker_opened": Bound(min=1),
                "breaker_probes_max": Bound(max=1),
                "bystanders_failed": Bound(max=0),
                "recovery_s": Bound(max=6),
                "fail_fast_ms_p99": Bound(max=50),
                "steps_done": Bound(min=3),
            },
        )
        rng = random.Random(11)
        opened, closed = (8.1, 11.4, 14.4), 17.45
        facts: list[tuple[float, str, RunFact]] = [
            (0.2, "service", BotSeen("echo", "ready", 4711)),
            (6.0, "fault", FaultArmed("crash-loop", "echo")),
            *(
                (6.02 + n * 0.9, "fault", FaultDelivered("crash-loop", "echo", f"pid {4711 + n}, SIGKILL"))
                for n in range(9)
            ),
            (14.0, "fault", FaultHealed("crash-loop", "echo", 9)),
        ]
        moves = [
            (8.1, "closed", "open", "5 failures in a row"),
            (11.1, "open", "half-open", "cooled down"),
            (11.4, "half-open", "open", "the probe failed: bot-gone"),
            (14.4, "open", "half-open", "cooled down"),
            (14.4, "half-open", "open", "the probe failed: bot-gone"),
            (17.4, "open", "half-open", "cooled down"),
            (17.45, "half-open", "closed", "the probe succeeded"),
        ]
        for seq, (t, before, after, cause) in enumerate(moves, start=1):
            facts.append((t, "service", BreakerMoved("echo", seq, before, after, cause, 5, 3.0)))
            if after == "half-open":
                facts.append((t, "service", Admitted("echo", f"probe-{seq}", probe=True)))
        stored: dict[str, list[str]] = {f"s{user}": [] for user in range(8)}
        failed: set[str] = set()
        for n in range(messages):
            user = n % 8
            sent = 0.5 + n * 29.0 / messages
            cid, session, bot = f"u{user}-{n // 8 + 1}", f"s{user}", "slow" if user % 2 else "echo"
            sending = (sent, "client", Sent(session, bot, cid, round(sent - 0.001, 6), crc_of(said(cid))))
            if bot == "echo" and opened[0] < sent < closed:
                facts += [sending, (sent + 0.003, "service", Refused(bot, cid, "circuit-open"))]
                facts.append((sent + 0.004, "client", GotRefusal(cid, "circuit-open", 2.0)))
            elif bot == "echo" and 6.0 < sent <= opened[0] and n % 16 == 0:
                facts += [sending, (sent + 0.002, "client", GotAccepted(cid))]
                facts.append((sent + 0.3, "client", GotFailure(cid, "bot-gone")))
                stored[session].append(cid)
                failed.add(cid)
            else:
                took = rng.lognormvariate(-3.2, 0.5) + (0.2 if user % 2 else 0.0)
                facts += [*self.exchange(cid, sent, took=took, session=session, bot=bot)]
                facts.append((sent + 0.001, "service", Admitted(bot, f"t-{cid}", probe=False)))
                facts.append((sent + took, "service", TurnSettled(bot, f"t-{cid}", "done", took, took / 2)))
                stored[session].append(cid)
        facts.extend(
            (30.5, "store", self.stored(session, cids, [cid for cid in cids if cid not in failed]))
            for session, cids in stored.items()
        )
        if distance == "wired":
            facts.extend(
                (float(s), "load", GeneratorSeen(2.0 + rng.random() * 9, 0.3 + rng.random() / 8, 8)) for s in range(30)
            )
        return self.case(
            *sorted(facts, key=lambda fact: fact[0]),
            scenario=scenario,
            case="faults/crash-loop",
            distance=distance,
            end=31.0,
        )

    def burst(self, *, per_s: float = 20.0, refused: int = 60, late: int = 0, slow_after_s: float = 0.0) -> list[Entry]:
        """Ten seconds at ten messages a second, ten of more than the two places can carry, ten of calm again.

        A turn takes 0.1 s, so capacity is 20 replies a second. In the burst ``per_s`` are answered each second and
        ``refused`` are refused in all; ``late`` replies begin too late; ``slow_after_s`` long replies still take long.
        """
        scenario = self.scenario(
            bots=(Bot(behaviour="echo"),),
            duration_s=30.0,
            load=Load(users=10, say_every_s=1.0, burst=Burst(users=20, at_s=10.0, for_s=10.0)),
            service=Settings(turns_max=2, answer_within_s=2.0),
            expect={"burst_goodput_share": Bound(min=0.95), "replies_late": Bound(max=0)},
        )
        facts: list[tuple[float, str, RunFact]] = []

        def answer(cid: str, sent: float, took: float, first_s: float) -> None:
            facts.extend(self.exchange(cid, sent, took=took))
            facts.append((sent + took - 0.1, "service", Admitted("echo", f"t-{cid}", probe=False)))
            facts.append((sent + took, "service", TurnSettled("echo", f"t-{cid}", "done", took, first_s)))

        for n in range(100):
            answer(f"a{n}", 0.1 * n, 0.1, 0.05)
            after_s = 0.1 * n
            answer(f"c{n}", 20.0 + after_s, 0.4 if after_s < slow_after_s else 0.1, 0.05)
        for n in range(round(9 * per_s)):
            answer(f"b{n}", 10.6 + n / per_s, 0.4, 2.1 if n < late else 0.3)
        for n in range(refused):
            sent = 11.0 + 9.0 * n / max(1, refused)
            facts.append((sent, "client", Sent("s2", "echo", f"r{n}", sent)))
            facts.append((sent + 0.01, "service", Refused("echo", f"r{n}", "busy")))
            facts.append((sent + 0.01, "client", GotRefusal(f"r{n}", "busy", 1.0)))
        return self.case(*sorted(facts, key=lambda fact: fact[0]), scenario=scenario, case="load/burst", end=31.0)

    def leak(self, *, expect: Mapping[str, Bound] | None = None) -> list[Entry]:
        """Ten cycles: a calm service with a cache that fills, and a bot that keeps four blocks a message."""
        scenario = self.scenario(
            name="a bot that leaks is found",
            why="What a process keeps of each message will fill the machine one night.",
            bots=(Bot(behaviour="leaky"),),
            memory=MemoryPlan(cycles=10, warm_up=3, messages=200),
            expect=expect or {"leaking_service": Bound(max=0), "leaking_bots": Bound(min=1)},
        )
        rng = random.Random(3)
        facts: list[tuple[float, str, RunFact]] = []
        for cycle in range(-3, 10):
            messages, t = (cycle + 4) * 200, 1.0 + (cycle + 3) * 1.2
            jitter = rng.randint(-6, 6)
            calm = {"blocks": 182_400 + jitter, "objects": 61_200 + jitter, "heap_bytes": 14_680_064 + 64 * jitter}
            leaky = {"blocks": 41_000 + 4 * messages + jitter, "objects": 12_900 + jitter}
            leaky["heap_bytes"] = 5_242_880 + 96 * messages + 64 * jitter
            same = {"handles": 14, "tasks": 3, "threads": 2}
            service = {**calm, **same, "handles": 31, "rss_bytes": 58_720_256 + 2_048 * messages}
            facts.append((t, "memory", MemorySampled("service", cycle, messages, service)))
            bot = {**leaky, **same, "rss_bytes": 24_117_248 + 4_096 * messages}
            facts.append((t + 0.05, "memory", MemorySampled("leaky", cycle, messages, bot)))
        facts.append((18.0, "memory", AllocatorFound("leaky", "fake_bots/behaviours/leaky.py:31 hear", 4.0, 417.0)))
        return self.case(*facts, scenario=scenario, case="leaks/leaky-bot", distance="wired", end=18.5)

    def page(self, *, failing: bool = False) -> list[Entry]:
        """Steps in a browser; the last one may fail."""
        scenario = self.scenario(
            name="a person chats on the page",
            why="The page is what people see; a service that only works for programs is none.",
            expect={"steps_done": Bound(min=4)},
        )
        names = (
            "open the page",
            "launch the bot 'echo'",
            "send a message",
            "read the streamed reply",
            "reload: the history is there",
        )
        facts: list[tuple[float, str, RunFact]] = []
        for n, step in enumerate(names):
            bad = failing and n == len(names) - 1
            detail = "the list of messages is empty after 5 s" if bad else ""
            took = 5_012.0 if bad else 60.0 + 95.0 * n
            facts.append((0.5 + n * 0.4, "page", Stepped(step, not bad, took, detail, f"step-{n + 1}.png")))
        facts += self.exchange("p1", 1.4, took=0.21, session="s-page")
        facts.append((4.0, "store", self.stored("s-page", ["p1"])))
        return self.case(
            *sorted(facts, key=lambda fact: fact[0]), scenario=scenario, case="smoke/page", distance="browser"
        )

    def run(self, *cases: list[Entry]) -> list[Entry]:
        """A whole journal."""
        return [Entry(0.0, "runner", MACHINE), *(entry for case in cases for entry in case)]

    def everything(self) -> list[Entry]:
        """A run with every kind of case and outcome."""
        late = [
            replace(entry, fact=replace(entry.fact, intended=round(entry.fact.intended - 0.4, 6)))
            if isinstance(entry.fact, Sent)
            else entry
            for entry in self.chat(distance="wired", case="load/fifty-users")
        ]
        down = CaseEnded("port 8000 is taken by another program (pid 812); stop it or use --port", 3)
        return self.run(
            self.chat(),
            self.chat(distance="wired", lost=2),
            self.breaker(distance="simulated"),
            self.breaker(),
            self.leak(),
            self.page(),
            late,
            self.case(
                (0.1, "runner", Noted("no memray here: --profile was left out")),
                case="smoke/port",
                distance="wired",
                ended=down,
            ),
        )

    def hostile(self) -> list[Entry]:
        """Text from outside that tries to be markup, breaks XML, or is very long."""
        bad = "<script>alert(1)</script>\x00\x1b[31m\ud800 | `x` ]]> &amp; \"'" + "A" * 400
        scenario = self.scenario(name=bad, why=bad, expect={})
        facts: list[tuple[float, str, RunFact]] = [
            *self.exchange(bad, 1.0, session=bad, bot=bad),
            (1.5, "store", TranscriptRead(bad, (), ())),
            (1.6, "page", Stepped(bad, ok=False, took_ms=1.0, detail=bad, picture=bad)),
            (1.7, "service", BreakerMoved(bad, 9, "closed", bad, bad, 1, 1.0)),
            (1.8, "fault", FaultDelivered(bad, bad, bad)),
            (1.9, "memory", AllocatorFound(bad, bad, 1.0, 1.0)),
            (2.0, "runner", Noted(bad)),
        ]
        return self.run(self.case(*facts, scenario=scenario, case=bad, distance="wired"))

    def picture(self, width: int = 64, height: int = 40, colour: tuple[int, int, int] = (90, 130, 170)) -> bytes:
        """A PNG of one colour."""

        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        rows = (b"\0" + bytes(colour) * width) * height
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
