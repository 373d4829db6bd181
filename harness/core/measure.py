"""Measure: every figure of a case.

In    a Story
Out   Measures: name -> value, name -> evidence ("u3-17 (session s3)"), name -> why it could not be computed
Rule  a figure without its facts is missing, never 0: zero of nothing proves nothing
Why   whoever reads "messages_lost is 2" wants to know which two
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Final

from harness.core.figures import FIGURES
from harness.core.histogram import Histogram
from harness.core.leak import judge_leaks, unclear, unjudgeable
from harness.core.measure_breakers import measure_breakers, measure_bystanders, measure_faults
from harness.core.measure_burst import measure_burst
from harness.core.measure_texts import measure_texts
from harness.core.measures import Measures, ms, named
from harness.core.scenario import Scenario
from harness.core.story import Message, Story

SERVICE: Final = "service"
RATE_S_MIN: Final = 1.0
"""Below this a count each second says nothing."""


def measure(story: Story, scenario: Scenario) -> Measures:
    """Compute every figure that the facts allow."""
    measures = Measures()
    _fates(story, measures)
    measure_texts(story, scenario, measures)
    _times(story, scenario, measures)
    measure_faults(story, measures)
    measure_breakers(story, measures)
    measure_bystanders(story, scenario, measures)
    measure_burst(story, scenario, measures)
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
    broken = [named(message) for message in story.messages.values() if not message.intact]
    measures.count("replies_broken", broken)
    pieces = max((message.pieces for message in sent), default=0)
    if pieces:
        measures.put("reply_pieces_max", pieces)
    else:
        measures.missing["reply_pieces_max"] = "no reply was seen to arrive"


def _cids(sent: Iterable[Message], fate: str) -> tuple[str, ...]:
    return tuple(
        named(message) + (f" {message.code}" if message.code else "") for message in sent if message.fate == fate
    )


def _times(story: Story, scenario: Scenario, measures: Measures) -> None:
    timed = story.timed()
    nothing = "no reply came after the warm-up"
    responses = [m.replied - m.intended for m in timed if m.replied is not None and m.intended is not None]
    firsts = [m.first_token - m.intended for m in timed if m.first_token is not None and m.intended is not None]
    if responses:
        measures.response = Histogram(max(0.0, ms(response)) for response in responses)
    measures.percentiles("response_ms", responses, ("p50", "p95", "p99", "max"), missing=nothing)
    measures.percentiles("first_token_ms", firsts, ("p50", "p95"), missing=nothing)
    fast = [
        message.refused - message.sent
        for message in story.messages.values()
        if message.sent is not None and message.refused is not None and message.code == "circuit-open"
    ]
    measures.percentiles("fail_fast_ms", fast, ("p99",), missing="no message was refused by an open breaker")
    _rate(story, scenario, measures)


def _rate(story: Story, scenario: Scenario, measures: Measures) -> None:
    """Replies each second, over the load that was planned: one reply at its end is no rate of its own.

    Replies that came after it count too, and make it longer.
    """
    began = story.load_began()
    if began is None:
        measures.missing["messages_per_s"] = "no message was sent"
        return
    counts_from = began + scenario.load.warm_up_s
    replies = [m.replied for m in story.messages.values() if m.replied is not None and m.replied > counts_from]
    lasted_s = max([began + scenario.duration_s, *replies]) - counts_from
    if not replies:
        measures.missing["messages_per_s"] = "no reply came after the warm-up"
    elif lasted_s < RATE_S_MIN:
        measures.missing["messages_per_s"] = f"the load lasted less than {RATE_S_MIN:g} s after the warm-up"
    else:
        measures.put("messages_per_s", len(replies) / lasted_s)


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
    if scenario.memory is not None:
        why = unjudgeable(judged, subjects=(SERVICE, *scenario.bot_names()), cycles=cycles) or unclear(measures.leaks)
        if why:
            measures.missing.update(dict.fromkeys(names, why))
            return
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
