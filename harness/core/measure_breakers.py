"""Measure breakers: what faults did to bots, what breakers made of it, and whom else it cost something.

In    a Story
Out   the figures of faults, breakers and bystanders
Rule  without facts of the service nothing is said of its breakers
Why   a breaker is judged by what it did to users, not by its own word
"""

from __future__ import annotations

import math

from harness.core.breaker_walk import Walk
from harness.core.events import BreakerMoved
from harness.core.measures import Measures, named
from harness.core.scenario import Scenario
from harness.core.story import Fault, Story


def measure_faults(story: Story, measures: Measures) -> None:
    """Faults: how often they hit, how soon a breaker opened, how soon it closed again."""
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


def measure_breakers(story: Story, measures: Measures) -> None:
    """Breakers: where they went, and what they let through."""
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


def measure_bystanders(story: Story, scenario: Scenario, measures: Measures) -> None:
    """Bystanders: what a fault on one bot did to the others."""
    hit = {fault.bot for fault in scenario.faults} | {fault.bot for fault in story.faults}
    spared = [message for message in story.sent() if message.bot not in hit]
    if spared:
        measures.count(
            "bystanders_failed",
            [f"{named(m)} to {m.bot}: {m.code or m.fate}" for m in spared if m.fate != "answered"],
        )
    else:
        measures.missing["bystanders_failed"] = "no message went to a bot without a fault"
