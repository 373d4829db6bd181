"""Measure burst: what a service makes of more load than it can carry.

In    a Story, its scenario
Out   the figures of a burst: how much was asked, how much was answered in time, how soon all was as before
Rule  capacity is measured in the same run, before the burst: places at the bots over the time that one turn takes
      (Little's law); a burst counts from one think time after its start, when its users have all come
Why   under overload the only honest question is how much useful work is still done, and what follows it
"""

from __future__ import annotations

from statistics import median
from typing import Final

from harness.core.events import Admitted
from harness.core.measures import Measures, named
from harness.core.scenario import Scenario
from harness.core.story import Story

NAMES: Final = ("burst_offered_share", "burst_goodput_share", "burst_recovery_s")
SLOW: Final = 2.0
"""A reply that takes more than so many times the median before the burst shows that it is not over."""
_TURNS_MIN: Final = 20


def measure_burst(story: Story, scenario: Scenario, measures: Measures) -> None:
    """Compute the figures of a burst, and how many replies came too late."""
    _late(story, scenario, measures)
    burst, began = scenario.load.burst, story.load_began()
    if burst is None or began is None:
        measures.missing.update(dict.fromkeys(NAMES, "the load has no burst"))
        return
    if scenario.service.instances_max > 1:
        why = "bots may have several processes: nobody knows what they could have done"
        measures.missing.update(dict.fromkeys(NAMES, why))
        return
    comes, goes = began + burst.at_s, began + burst.at_s + burst.for_s
    capacity = _capacity_per_s(story, scenario, before=comes)
    if capacity is None:
        why = f"fewer than {_TURNS_MIN} replies before the burst: nobody knows what the bots can do"
        measures.missing.update(dict.fromkeys(NAMES, why))
        return
    full = comes + scenario.load.say_every_s
    lasted_s = goes - full
    if lasted_s <= 0:
        measures.missing.update(dict.fromkeys(NAMES, "the burst is shorter than one think time"))
        return
    offered = sum(1 for message in story.sent() if message.sent is not None and full <= message.sent < goes)
    answered = sum(
        1 for message in story.messages.values() if message.replied is not None and full <= message.replied < goes
    )
    measures.put("burst_offered_share", offered / lasted_s / capacity)
    measures.put("burst_goodput_share", answered / lasted_s / capacity, [f"capacity {capacity:.1f} replies/s"])
    _recovery(story, measures, comes=comes, goes=goes)


def _late(story: Story, scenario: Scenario, measures: Measures) -> None:
    """Count replies that began after their deadline."""
    done = [fact for _, fact in story.turns if fact.outcome == "done"]
    if not done:
        measures.missing["replies_late"] = "the service finished no reply"
        return
    within_s = scenario.service.answer_within_s
    late = [fact for fact in done if fact.first_token_s is not None and fact.first_token_s > within_s]
    measures.count("replies_late", [f"{fact.turn}: began after {fact.first_token_s:g} s" for fact in late])


def _capacity_per_s(story: Story, scenario: Scenario, *, before: float) -> float | None:
    """Replies that all bots can give in a second: the places of each over the time that it has a turn."""
    ends = {fact.turn: t for t, fact in story.turns if fact.outcome == "done" and t < before}
    total = 0.0
    for bot in scenario.bot_names():
        asked = {fact.turn: t for t, fact in story.calls.get(bot, ()) if isinstance(fact, Admitted)}
        took = [ends[turn] - t for turn, t in asked.items() if turn in ends]
        if len(took) < _TURNS_MIN or not median(took):
            return None
        total += scenario.service.turns_max / median(took)
    return total


def _recovery(story: Story, measures: Measures, *, comes: float, goes: float) -> None:
    """From the end of the burst to the last message that was still worse off for it."""
    sent = [message for message in story.sent() if message.sent is not None]
    before = [m.replied - m.sent for m in sent if m.replied is not None and m.sent is not None and m.replied < comes]
    after = [message for message in sent if message.sent is not None and message.sent >= goes]
    if not after or not before:
        measures.missing["burst_recovery_s"] = "nobody sent anything after the burst"
        return
    usual_s = median(before)
    worse = [
        message
        for message in after
        if message.replied is None or message.sent is None or message.replied - message.sent > SLOW * usual_s
    ]
    last = max((message.sent - goes for message in worse if message.sent is not None), default=0.0)
    measures.put("burst_recovery_s", last, [named(message) for message in worse])
