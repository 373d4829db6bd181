"""Story: the facts of one case, sorted by what they are about.

In    the entries of a journal
Out   one Story for each case: its messages with their fates, breakers, faults, memory, steps
Rule  one pass in the order of time; facts are arranged here and never weighed
Why   the judge and the charts of a report look at the same arrangement
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from harness.core.decode import decode
from harness.core.events import (
    Admitted,
    AllocatorFound,
    BotSeen,
    BreakerMoved,
    CaseEnded,
    CaseStarted,
    ClientBroke,
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
    Sent,
    Stepped,
    TranscriptRead,
    TurnSettled,
)
from harness.core.scenario import Scenario
from harness.errors import ScenarioError

Fate = Literal["answered", "failed", "refused", "unanswered"]
FATES: Final[tuple[Fate, ...]] = ("answered", "refused", "failed", "unanswered")


@dataclass(slots=True)
class Message:
    """One message and what became of it; times in seconds since the case began."""

    cid: str
    session: str = ""
    bot: str = ""
    intended: float | None = None
    sent: float | None = None
    accepted: bool = False
    first_token: float | None = None
    replied: float | None = None
    replies: int = 0
    intact: bool = True
    pieces: int = 0
    chars: int = 0
    crc: int | None = None
    """Of the text that was sent; None if nobody took it."""
    reply_crc: int | None = None
    """Of the reply that was read."""
    failed: float | None = None
    refused: float | None = None
    code: str = ""

    @property
    def fate(self) -> Fate:
        """How it ended: what is best for the sender counts."""
        if self.replied is not None:
            return "answered"
        if self.failed is not None:
            return "failed"
        return "refused" if self.refused is not None else "unanswered"

    @property
    def settled(self) -> float | None:
        """When its fate was known."""
        if self.replied is not None:
            return self.replied
        return self.failed if self.failed is not None else self.refused


@dataclass(slots=True)
class Fault:
    """One fault that was armed: its hits, and when it was undone."""

    kind: str
    bot: str
    armed: float
    hits: list[float] = field(default_factory=list)
    healed: float | None = None
    delivered: int = 0


@dataclass(slots=True)
class Story:
    """Everything that happened in one case."""

    started: CaseStarted
    began: float = 0.0
    ended: CaseEnded | None = None
    end: float = 0.0
    messages: dict[str, Message] = field(default_factory=dict)
    transcripts: list[TranscriptRead] = field(default_factory=list)
    broken: list[tuple[float, ClientBroke]] = field(default_factory=list)
    generator: list[tuple[float, GeneratorSeen]] = field(default_factory=list)
    calls: dict[str, list[tuple[float, BreakerMoved | Admitted]]] = field(default_factory=dict)
    """For each bot its breaker's transitions and the calls that were let through, in order."""
    bots: list[tuple[float, BotSeen]] = field(default_factory=list)
    turned_away: list[tuple[float, Refused]] = field(default_factory=list)
    turns: list[tuple[float, TurnSettled]] = field(default_factory=list)
    service_seen: bool = False
    """Whether the service wrote facts at all: without them nobody knows what its breakers did."""
    faults: list[Fault] = field(default_factory=list)
    memory: list[MemorySampled] = field(default_factory=list)
    culprits: list[AllocatorFound] = field(default_factory=list)
    steps: list[tuple[float, Stepped]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def distance(self) -> str:
        """Simulated, wired or browser."""
        return self.started.distance

    def scenario(self) -> Scenario:
        """Read the scenario that stands in the journal; ScenarioError if this version cannot."""
        return decode(Scenario, self.started.scenario)

    def moves(self, bot: str) -> list[tuple[float, BreakerMoved]]:
        """The transitions of one breaker."""
        return [(t, fact) for t, fact in self.calls.get(bot, ()) if isinstance(fact, BreakerMoved)]

    def sent(self) -> list[Message]:
        """Every message that a client sent."""
        return [message for message in self.messages.values() if message.sent is not None]

    def load_began(self) -> float | None:
        """When the first message was sent."""
        return min((message.sent for message in self.messages.values() if message.sent is not None), default=None)

    def timed(self) -> list[Message]:
        """The messages after the warm-up."""
        began = self.load_began()
        if began is None:
            return []
        counts_from = began + self.warm_up_s()
        return [message for message in self.sent() if message.sent is not None and message.sent >= counts_from]

    def warm_up_s(self) -> float:
        """How long messages are not timed."""
        try:
            return self.scenario().load.warm_up_s
        except ScenarioError:
            return 0.0


@dataclass(slots=True)
class Run:
    """A whole journal."""

    machine: MachineSeen | None = None
    stories: list[Story] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Remarks from outside any case."""


def read(entries: Iterable[Entry]) -> Run:
    """Arrange a journal: a case's facts are those from its CaseStarted to the next one."""
    run = Run()
    for chapter in _chapters(entries):
        first = chapter[0].fact
        if isinstance(first, CaseStarted):
            run.stories.append(_story(first, chapter))
        for entry in chapter:
            if isinstance(entry.fact, MachineSeen):
                run.machine = run.machine or entry.fact
            elif isinstance(entry.fact, Noted) and not isinstance(first, CaseStarted):
                run.notes.append(entry.fact.text)
    return run


def _chapters(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    chapter: list[Entry] = []
    for entry in entries:
        if isinstance(entry.fact, CaseStarted) and chapter:
            yield chapter
            chapter = []
        chapter.append(entry)
    if chapter:
        yield chapter


def _story(started: CaseStarted, chapter: list[Entry]) -> Story:
    story = Story(started, began=chapter[0].t, end=chapter[-1].t)
    if any(before.t > after.t for before, after in pairwise(chapter)):
        # Several processes wrote it. The sort is stable: what one process wrote at one instant keeps its order.
        chapter = [chapter[0], *sorted(chapter[1:], key=lambda entry: entry.t)]
        story.end = max(story.end, chapter[-1].t)
    for entry in chapter:
        _take(story, entry.t, entry)
    return story


def _take(story: Story, t: float, entry: Entry) -> None:
    fact = entry.fact
    match fact:
        case Sent():
            message = _message(story, fact.cid)
            if message.sent is None:
                message.session, message.bot = fact.session, fact.bot
                message.intended, message.sent, message.crc = fact.intended, t, fact.crc
        case GotAccepted():
            _message(story, fact.cid).accepted = True
        case GotFirstToken():
            message = _message(story, fact.cid)
            message.first_token = t if message.first_token is None else message.first_token
        case GotReply():
            message = _message(story, fact.cid)
            message.replied = t if message.replied is None else message.replied
            message.replies += 1
            message.intact = message.intact and fact.intact
            message.pieces = max(message.pieces, fact.pieces)
            message.chars, message.reply_crc = fact.chars, fact.crc
            message.accepted = True
        case Admitted():
            story.service_seen = True
            story.calls.setdefault(fact.bot, []).append((t, fact))
        case TurnSettled():
            story.service_seen = True
            story.turns.append((t, fact))
        case GotRefusal():
            message = _message(story, fact.cid)
            message.refused, message.code = t, fact.code
        case GotFailure():
            message = _message(story, fact.cid)
            message.failed, message.code, message.accepted = t, fact.code, True
        case Refused():
            story.service_seen = True
            story.turned_away.append((t, fact))
        case BreakerMoved():
            story.service_seen = True
            story.calls.setdefault(fact.bot, []).append((t, fact))
        case BotSeen():
            story.service_seen = True
            story.bots.append((t, fact))
        case _:
            _take_rare(story, t, entry)


def _take_rare(story: Story, t: float, entry: Entry) -> None:
    match entry.fact:
        case ClientBroke() as fact:
            story.broken.append((t, fact))
        case GeneratorSeen() as fact:
            story.generator.append((t, fact))
        case TranscriptRead() as fact:
            story.transcripts.append(fact)
        case FaultArmed(kind, bot):
            story.faults.append(Fault(kind, bot, t))
        case FaultDelivered(kind, bot):
            _fault(story, kind, bot, t).hits.append(t)
        case FaultHealed(kind, bot, delivered):
            fault = _fault(story, kind, bot, t)
            fault.healed, fault.delivered = t, delivered
        case MemorySampled() as fact:
            story.memory.append(fact)
        case AllocatorFound() as fact:
            story.culprits.append(fact)
        case Stepped() as fact:
            story.steps.append((t, fact))
        case Noted(text):
            story.notes.append(text)
        case CaseEnded() as fact:
            story.ended, story.end = fact, t
        case _:
            pass  # CaseStarted opened the story; the machine belongs to the run.


def _message(story: Story, cid: str) -> Message:
    message = story.messages.get(cid)
    if message is None:
        message = story.messages[cid] = Message(cid)
    return message


def _fault(story: Story, kind: str, bot: str, t: float) -> Fault:
    """The latest fault of this kind on this bot; one that nobody armed is still a fault."""
    for fault in reversed(story.faults):
        if (fault.kind, fault.bot) == (kind, bot):
            return fault
    story.faults.append(Fault(kind, bot, t))
    return story.faults[-1]
