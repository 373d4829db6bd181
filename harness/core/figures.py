"""Figures: every number that a run can be judged by, with its unit, its meaning and where it is measured.

In    nothing: this file only names things
Out   ``FIGURES``: name -> Figure; ``[expect]`` of a scenario, verdicts, reports and baselines speak these names
Rule  a name says what is counted and its unit; a figure that cannot be computed is absent, never 0
Why   a bound on a number that nobody measures is a test that proves nothing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from harness.core.scenario import DISTANCES, Distance

Better = Literal["lower", "higher", "none"]
Repeats = Literal["everywhere", "simulated", "machine"]
LOADED: Final[tuple[Distance, ...]] = ("simulated", "wired")
WIRED: Final[tuple[Distance, ...]] = ("wired",)
BROWSER: Final[tuple[Distance, ...]] = ("browser",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of a case."""

    name: str
    unit: str
    """"messages", "ms", "s", "1/s", ... or "" for a plain count."""
    what: str
    """One sentence: what it means."""
    better: Better
    """Which direction is good; "none" if neither is."""
    distances: tuple[Distance, ...] = DISTANCES
    """Where it is measured; elsewhere a bound on it is listed, but weighs nothing."""
    repeats: Repeats = "simulated"
    """Where unchanged code gives the same value again: at every distance on every machine ("everywhere"), in
    simulated time only ("simulated"), or within ``margin`` on one machine ("machine"). Baselines gate on nothing else.
    """
    margin: float = 0.0
    """How far a repeated value may be from its baseline and still be the same; in the figure's unit."""
    memory: bool = False
    """Measured by a leak check only."""


_ALL: Final[tuple[Figure, ...]] = (
    # --- What became of the messages ---------------------------------------------------------------------------
    Figure(
        name="messages_sent",
        unit="messages",
        what="Messages that clients sent; a message sent again counts once.",
        better="none",
        distances=LOADED,
    ),
    Figure(
        name="messages_answered",
        unit="messages",
        what="Messages whose whole reply reached the client.",
        better="higher",
        distances=LOADED,
    ),
    Figure(
        name="messages_refused",
        unit="messages",
        what="Messages that the service did not accept, and said so; the sender still holds the text.",
        better="lower",
        distances=LOADED,
    ),
    Figure(
        name="messages_failed",
        unit="messages",
        what="Messages that were accepted, but whose reply failed with a clear error.",
        better="lower",
        distances=LOADED,
    ),
    Figure(
        name="messages_unanswered",
        unit="messages",
        what="Messages that were sent and got nothing: no reply, no refusal, no error.",
        better="lower",
        distances=LOADED,
        repeats="everywhere",
    ),
    Figure(
        name="messages_lost",
        unit="messages",
        what="Messages that were accepted, but do not stand in the stored session after the load.",
        better="lower",
        repeats="everywhere",
    ),
    Figure(
        name="messages_doubled",
        unit="messages",
        what="Messages that stand twice in a stored session, or got two replies.",
        better="lower",
        repeats="everywhere",
    ),
    Figure(
        name="messages_changed",
        unit="messages",
        what="Messages whose stored text is not what was sent, or whose reply is not what was stored or echoed.",
        better="lower",
        repeats="everywhere",
    ),
    Figure(
        name="replies_broken",
        unit="replies",
        what="Replies whose length is not what the service announced.",
        better="lower",
        repeats="everywhere",
    ),
    Figure(
        name="reply_pieces_max",
        unit="pieces",
        what="The most pieces in which a client saw a reply arrive; 1 means that nothing is streamed.",
        better="none",
    ),
    Figure(
        name="clients_broken",
        unit="clients",
        what="Times a client lost its connection or could not make sense of what it read.",
        better="lower",
        repeats="everywhere",
    ),
    # --- How fast ------------------------------------------------------------------------------------------------
    Figure(
        name="messages_per_s",
        unit="1/s",
        what="Whole replies each second, from the end of the warm-up to the end of the load, or to the last reply.",
        better="higher",
        distances=LOADED,
    ),
    *(
        Figure(
            name=f"response_ms_{rank}",
            unit="ms",
            what=f"{share} from the moment a message was meant to be sent to its whole reply, after the warm-up.",
            better="lower",
            distances=LOADED,
        )
        for rank, share in (
            ("p50", "Half of the replies took no longer than this,"),
            ("p95", "95 % of the replies took no longer than this,"),
            ("p99", "99 % of the replies took no longer than this,"),
            ("max", "The slowest reply,"),
        )
    ),
    *(
        Figure(
            name=f"first_token_ms_{rank}",
            unit="ms",
            what=f"{share} of the replies began within this time after the message was meant to be sent.",
            better="lower",
            distances=LOADED,
        )
        for rank, share in (("p50", "Half"), ("p95", "95 %"))
    ),
    Figure(
        name="fail_fast_ms_p99",
        unit="ms",
        what="99 % of the refusals by an open breaker reached the client within this time after sending.",
        better="lower",
        distances=LOADED,
    ),
    # --- Faults and breakers -------------------------------------------------------------------------------------
    Figure(
        name="faults_delivered",
        unit="",
        what="Times a planned fault really hit something.",
        better="none",
    ),
    Figure(
        name="breaker_opened",
        unit="",
        what="Times a circuit breaker opened: it stopped calling a bot that kept failing.",
        better="none",
    ),
    Figure(
        name="breaker_half_opened",
        unit="",
        what="Times a circuit breaker went from open to half-open, to try one call.",
        better="none",
    ),
    Figure(
        name="breaker_closed",
        unit="",
        what="Times a circuit breaker closed again: the bot was back.",
        better="none",
    ),
    Figure(
        name="breaker_probes_max",
        unit="calls",
        what="The most calls that any one half-open phase let through.",
        better="lower",
        repeats="everywhere",
    ),
    Figure(
        name="breaker_cooldown_s",
        unit="s",
        what="The shortest time that a breaker stayed open before it became half-open.",
        better="none",
    ),
    Figure(
        name="breaker_moves_wrong",
        unit="moves",
        what="Breaker transitions that cannot be: an impossible edge, a gap in the numbering, a cooldown cut short.",
        better="lower",
        repeats="everywhere",
    ),
    Figure(
        name="calls_while_open",
        unit="calls",
        what="Calls that reached a bot while its breaker was open.",
        better="lower",
        repeats="everywhere",
    ),
    Figure(
        name="time_to_open_s",
        unit="s",
        what="The longest time from a fault's first hit to the opening of that bot's breaker.",
        better="lower",
    ),
    Figure(
        name="recovery_s",
        unit="s",
        what="The longest time from the end of a fault until that bot's breaker was closed.",
        better="lower",
    ),
    Figure(
        name="bystanders_failed",
        unit="messages",
        what="Messages to bots without a fault that were refused, failed or left unanswered.",
        better="lower",
        distances=LOADED,
        repeats="everywhere",
    ),
    # --- More than it can carry --------------------------------------------------------------------------------
    Figure(
        name="replies_late",
        unit="replies",
        what="Whole replies that began later than service.answer_within_s after their message was accepted.",
        better="lower",
        distances=LOADED,
        repeats="everywhere",
    ),
    Figure(
        name="burst_offered_share",
        unit="",
        what="Messages each second during load.burst over what the bots can answer: 1.5 is half too much.",
        better="none",
        distances=LOADED,
    ),
    Figure(
        name="burst_goodput_share",
        unit="",
        what="Replies each second during load.burst over what the bots can answer: 1 is all that can be done.",
        better="higher",
        distances=LOADED,
    ),
    Figure(
        name="burst_recovery_s",
        unit="s",
        what="From the end of load.burst to the last message that was refused, failed or took twice as long as before.",
        better="lower",
        distances=LOADED,
    ),
    # --- The load generator looks at itself ----------------------------------------------------------------------
    Figure(
        name="generator_lag_ms_p99",
        unit="ms",
        what="99 % of the messages were sent no later than this after they were meant to be.",
        better="lower",
        distances=WIRED,
    ),
    Figure(
        name="generator_cpu_share",
        unit="of a core",
        what="The share of one processor core that the load generator used, in the middle of its samples.",
        better="lower",
        distances=WIRED,
    ),
    # --- Memory --------------------------------------------------------------------------------------------------
    Figure(
        name="leaks_found",
        unit="processes",
        what="Processes in which at least one counter keeps growing with every message.",
        better="lower",
        distances=WIRED,
        repeats="machine",
        memory=True,
    ),
    Figure(
        name="leaking_service",
        unit="",
        what="1 if the chat service itself leaks, else 0.",
        better="lower",
        distances=WIRED,
        repeats="machine",
        memory=True,
    ),
    Figure(
        name="leaking_bots",
        unit="bots",
        what="Bots in which at least one counter keeps growing with every message.",
        better="lower",
        distances=WIRED,
        repeats="machine",
        memory=True,
    ),
    Figure(
        name="blocks_per_message",
        unit="blocks",
        what="Memory blocks that stay behind for each message, in the process where that is most.",
        better="lower",
        distances=WIRED,
        repeats="machine",
        margin=0.02,
        memory=True,
    ),
    # --- The page in a browser -----------------------------------------------------------------------------------
    Figure(
        name="steps_done",
        unit="steps",
        what="Steps that worked in the browser.",
        better="higher",
        distances=BROWSER,
        repeats="everywhere",
    ),
    Figure(
        name="steps_failed",
        unit="steps",
        what="Steps that did not work in the browser.",
        better="lower",
        distances=BROWSER,
        repeats="everywhere",
    ),
    Figure(
        name="page_reply_ms_p50",
        unit="ms",
        what="Half of the replies stood whole on the page within this time after sending.",
        better="lower",
        distances=BROWSER,
    ),
)

FIGURES: Final[Mapping[str, Figure]] = {figure.name: figure for figure in _ALL}
"""Every figure by its name, in the order of the reports."""
