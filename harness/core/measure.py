"""Measure: every figure of a case, with the smallest evidence for it and the reason if it is missing.

In    a Story
Out   Measures: name -> value, name -> evidence ("u3-17 (session s3)"), name -> why it could not be computed
Rule  a figure without its facts is missing, never 0: zero of nothing proves nothing
Why   whoever reads "messages_lost is 2" wants to know which two
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from harness.core.breaker_walk import Walk
from harness.core.events import BreakerMoved
from harness.core.figures import FIGURES
from harness.core.histogram import Histogram
from harness.core.leak import LeakVerdict, judge_leaks
from harness.core.scenario import Scenario
from harness.core.stats import percentile
from harness.core.story import Fault, Message, Story

SERVICE: Final = "service"


@dataclass(slots=True)
class Measures:
    """What was measured in one case."""

    values: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a figure could not be computed."""
    samples: dict[str, int] = field(default_factory=dict)
    """Of how many values a percentile was taken."""
    leaks: tuple[LeakVerdict, ...] = ()
    response: Histogram | None = None

    def put(self, name: str, value: float, evidence: Iterable[str] = ()) -> None:
        """Keep a figure."""
        assert name in FIGURES, f"{name} is not in figures.py"
        self.values[name] = round(value, 6)  # Journals keep microseconds; more digits are noise of floats.
        found = tuple(evidence)
        if found:
            self.evidence[name] = found

    def count(self, name: str, culprits: Sequence[str]) -> None:
        """Keep a figure that counts these culprits."""
        self.put(name, len(culprits), culprits)

    def percentiles(self, base: str, values: list[float], ranks: Iterable[str], *, missing: str) -> None:
        """Keep the percentiles of ``values`` (seconds) in milliseconds."""
        values.sort()
        for rank in ranks:
            name = f"{base}_{rank}"
            if values:
                self.put(name, _ms(values[-1] if rank == "max" else percentile(values, int(rank[1:]) / 100)))
                self.samples[name] = len(values)
            else:
                self.missing[name] = missing


def measure(story: Story, scenario: Scenario) -> Measures:
    """Compute every figure that the facts allow."""
    measures = Measures()
    _fates(story, measures)
    _stored(story, measures)
    _times(story, measures)
    _faults(story, measures)
    _breakers(story, measures)
    _bystanders(story, scenario, measures)
    _generator(story, measures)
    _memory(story, scenario, measures)
    _page(story, measures)
    measures.values = {name: measures.values[name] for name in FIGURES if name in measures.values}
    return measures


def _fates(story: Story, measures: Measures) -> None:
    sent = story.sent()
    measures.count("clients_broken", [f"{broke.session or 'a client'}: {broke.why}" for _, broke in story.broken])
    if not story.messages:
        for name in ("sent", "answered", "refused", "failed", "unanswered"):
            measures.missing[f"messages_{name}"] = "no message was sent"
        measures.missing["replies_broken"] = measures.missing["reply_pieces_max"] = "no reply came"
        return
    fates = Counter(message.fate for message in sent)
    measures.put("messages_sent", len(sent))
    measures.put("messages_answered", fates["answered"])
    measures.put("messages_refused", fates["refused"], _cids(sent, "refused"))
    measures.put("messages_failed", fates["failed"], _cids(sent, "failed"))
    measures.put("messages_unanswered", fates["unanswered"], _cids(sent, "unanswered"))
    broken = [_named(message) for message in story.messages.values() if not message.intact]
    measures.count("replies_broken", broken)
    pieces = max((message.pieces for message in sent), default=0)
    if pieces:
        measures.put("reply_pieces_max", pieces)
    else:
        measures.missing["reply_pieces_max"] = "no reply was seen to arrive"


def _cids(sent: Iterable[Message], fate: str) -> tuple[str, ...]:
    return tuple(
        _named(message) + (f" {message.code}" if message.code else "") for message in sent if message.fate == fate
    )


def _named(message: Message) -> str:
    return f"{message.cid} (session {message.session})" if message.session else message.cid


def _stored(story: Story, measures: Measures) -> None:
    accepted = [message for message in story.messages.values() if message.accepted]
    stored = {read.session: frozenset(read.cids) for read in story.transcripts}  # The latest reading counts.
    everywhere = frozenset().union(*stored.values())
    lost: list[Message] = []
    unread: set[str] = set()
    for message in accepted:
        if message.session in stored:
            if message.cid not in stored[message.session]:
                lost.append(message)
        elif message.cid not in everywhere:
            unread.add(message.session)
    if lost or (story.transcripts and not unread):
        measures.count("messages_lost", [_named(message) for message in lost])
    elif unread:
        measures.missing["messages_lost"] = f"the stored session was not read: {_few(sorted(unread))}"
    else:
        measures.missing["messages_lost"] = "no stored session was read"
    doubled: dict[str, str] = {}
    for read in story.transcripts:
        for what, ids in (("stored", read.cids), ("answered", read.replies)):
            if len(set(ids)) < len(ids):
                for cid, times in Counter(ids).items():
                    if times > 1:
                        doubled.setdefault(cid, f"{cid} ({what} {times} times in session {read.session})")
    for message in story.messages.values():
        if message.replies > 1:
            doubled.setdefault(message.cid, f"{_named(message)} got {message.replies} replies")
    if story.messages or story.transcripts:
        measures.count("messages_doubled", list(doubled.values()))
    else:
        measures.missing["messages_doubled"] = "no message was sent"


def _times(story: Story, measures: Measures) -> None:
    timed = story.timed()
    nothing = "no reply came after the warm-up"
    responses = [m.replied - m.intended for m in timed if m.replied is not None and m.intended is not None]
    firsts = [m.first_token - m.intended for m in timed if m.first_token is not None and m.intended is not None]
    if responses:
        measures.response = Histogram(max(0.0, _ms(response)) for response in responses)
    measures.percentiles("response_ms", responses, ("p50", "p95", "p99", "max"), missing=nothing)
    measures.percentiles("first_token_ms", firsts, ("p50", "p95"), missing=nothing)
    fast = [
        message.refused - message.sent
        for message in story.messages.values()
        if message.sent is not None and message.refused is not None and message.code == "circuit-open"
    ]
    measures.percentiles("fail_fast_ms", fast, ("p99",), missing="no message was refused by an open breaker")
    replies = [message.replied for message in story.messages.values() if message.replied is not None]
    began = story.load_began()
    counts_from = 0.0 if began is None else began + story.warm_up_s()
    counted = [replied for replied in replies if replied > counts_from]
    if began is not None and counted:
        measures.put("messages_per_s", len(counted) / (max(counted) - counts_from))
    else:
        measures.missing["messages_per_s"] = nothing


def _faults(story: Story, measures: Measures) -> None:
    measures.put("faults_delivered", sum(len(fault.hits) for fault in story.faults))
    opened: list[float] = []
    recovered: list[float] = []
    for fault in story.faults:
        moves = story.moves(fault.bot)
        if fault.hits:
            opens = [t for t, move in moves if move.after == "open" and t >= fault.hits[0]]
            opened.extend(opens[:1] and [opens[0] - fault.hits[0]])
        if fault.healed is not None:
            recovered.extend(_recovery(fault, fault.healed, moves))
    if opened:
        measures.put("time_to_open_s", max(opened))
    else:
        measures.missing["time_to_open_s"] = "no breaker opened after a fault"
    if recovered:
        measures.put("recovery_s", max(recovered))
    else:
        measures.missing["recovery_s"] = "no fault was healed on a bot whose breaker had opened"


def _recovery(fault: Fault, healed: float, moves: list[tuple[float, BreakerMoved]]) -> list[float]:
    """From the end of a fault until the breaker was closed: 0 if it already was, inf if it never closed again."""
    if not any(t >= fault.armed and move.after == "open" for t, move in moves):
        return []
    before = [move.after for t, move in moves if t <= healed]
    if before and before[-1] == "closed":
        return [0.0]
    closed = [t for t, move in moves if t > healed and move.after == "closed"]
    return [closed[0] - healed if closed else math.inf]


def _breakers(story: Story, measures: Measures) -> None:
    names = ("breaker_opened", "breaker_half_opened", "breaker_closed", "breaker_moves_wrong", "calls_while_open")
    if not story.service_seen:
        for name in (*names, "breaker_probes_max", "breaker_cooldown_s"):
            measures.missing[name] = "the service wrote no facts"
        return
    walks = [Walk(bot) for bot in sorted(story.calls)]
    for walk in walks:
        for t, fact in story.calls[walk.bot]:
            walk.step(t, fact)
    for name, state in zip(names, ("open", "half-open", "closed"), strict=False):
        measures.put(name, sum(walk.entered[state] for walk in walks))
    measures.count("breaker_moves_wrong", [wrong for walk in walks for wrong in walk.wrong])
    measures.count("calls_while_open", [call for walk in walks for call in walk.through])
    probes = [count for walk in walks for count in walk.probes]
    if probes:
        measures.put("breaker_probes_max", max(probes))
    else:
        measures.missing["breaker_probes_max"] = "no breaker was half-open"
    cooldowns = [cooldown for walk in walks for cooldown in walk.cooldowns]
    if cooldowns:
        measures.put("breaker_cooldown_s", min(cooldowns))
    else:
        measures.missing["breaker_cooldown_s"] = "no breaker went from open to half-open"


def _bystanders(story: Story, scenario: Scenario, measures: Measures) -> None:
    hit = {fault.bot for fault in scenario.faults} | {fault.bot for fault in story.faults}
    spared = [message for message in story.sent() if message.bot not in hit]
    if spared:
        measures.count(
            "bystanders_failed",
            [f"{_named(m)} to {m.bot}: {m.code or m.fate}" for m in spared if m.fate != "answered"],
        )
    else:
        measures.missing["bystanders_failed"] = "no message went to a bot without a fault"


def _generator(story: Story, measures: Measures) -> None:
    lags = [m.sent - m.intended for m in story.timed() if m.sent is not None and m.intended is not None]
    if not lags:
        lags = [seen.lag_ms_p99 / 1000.0 for _, seen in story.generator]
    measures.percentiles("generator_lag_ms", lags, ("p99",), missing="no message was sent after the warm-up")
    if story.generator:
        measures.put("generator_cpu_share", median(seen.cpu_share for _, seen in story.generator))
    else:
        measures.missing["generator_cpu_share"] = "the load generator did not look at itself"


def _memory(story: Story, scenario: Scenario, measures: Measures) -> None:
    names = ("leaks_found", "leaking_service", "leaking_bots", "blocks_per_message")
    judged = [sample for sample in story.memory if sample.cycle >= 0]
    cycles = scenario.memory.cycles if scenario.memory else len(judged)
    done = min((Counter(sample.subject for sample in judged)).values(), default=0)
    if not judged or done < cycles:
        why = f"{done} of {cycles} cycles were measured" if scenario.memory else "this is no leak check"
        for name in names:
            measures.missing[name] = why
        return
    measures.leaks = judge_leaks(judged, cycles=cycles)
    leaking = [leak for leak in measures.leaks if leak.leaking]
    subjects = dict.fromkeys(leak.subject for leak in leaking)
    told = {name: [f"{leak.subject} {leak.counter} {leak.text}" for leak in leaking] for name in names}
    measures.put("leaks_found", len(subjects), told["leaks_found"])
    measures.put("leaking_service", float(SERVICE in subjects), _of(told["leaking_service"], SERVICE))
    bots = [subject for subject in subjects if subject != SERVICE]
    measures.put("leaking_bots", len(bots), [text for bot in bots for text in _of(told["leaking_bots"], bot)])
    blocks = [leak for leak in measures.leaks if leak.counter == "blocks"]
    if blocks:
        most = max(blocks, key=lambda leak: leak.slope_per_message)
        measures.put("blocks_per_message", most.slope_per_message, [f"{most.subject}: {most.text}"])
    else:
        measures.missing["blocks_per_message"] = "no process counted its blocks"


def _of(texts: Iterable[str], subject: str) -> list[str]:
    return [text for text in texts if text.startswith(f"{subject} ")]


def _page(story: Story, measures: Measures) -> None:
    if story.steps:
        failed = [f"{step.step}: {step.detail}" if step.detail else step.step for _, step in story.steps if not step.ok]
        measures.put("steps_done", len(story.steps) - len(failed))
        measures.count("steps_failed", failed)
    else:
        measures.missing["steps_done"] = measures.missing["steps_failed"] = "no step was taken in a browser"
    if story.distance == "browser":
        replies = [
            message.replied - message.sent
            for message in story.messages.values()
            if message.replied is not None and message.sent is not None
        ]
        measures.percentiles("page_reply_ms", replies, ("p50",), missing="no reply was seen on the page")
    else:
        measures.missing["page_reply_ms_p50"] = "no page was looked at"


def _few(items: Sequence[str], most: int = 5) -> str:
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 3)
