"""Facts and acts: every value that goes into the engine, comes out of it, or stands in a journal.

In    nothing: this file only names things
Out   frozen dataclasses, in four groups
          facts for the engine   what happened: a user spoke, a bot died, a timer rang
          acts of the engine     what to do: save, publish, tell a bot, wake me at
          frames                 what a client reads; ``Publish`` carries them with a sequence number
          facts of a run         what stands in ``journal.jsonl``; verdict and reports read nothing else
Rule  times are seconds as floats of one monotonic clock, handed over beside the fact and never read here
Why   a run is its journal: whoever holds the facts can judge again, without the processes that made them
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Options = Mapping[str, "str | int | float | bool"]


# --- Facts for the engine -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class BotWanted:
    """Somebody asked for a bot: start it and keep it running."""

    bot: str
    behaviour: str
    options: Options = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class BotUnwanted:
    """Somebody asked to stop a bot for good."""

    bot: str


# Facts about processes name the process: the first of a bot is called like the bot, its others "name~2", "name~3" ...
@dataclass(frozen=True, slots=True)
class BotStarted:
    """The process is there; it has not spoken yet."""

    bot: str
    pid: int


@dataclass(frozen=True, slots=True)
class BotReady:
    """The bot said that it takes messages."""

    bot: str


@dataclass(frozen=True, slots=True)
class BotGone:
    """The process ended, or could not start; ``why`` reads like "exit code 3" or "signal 9"."""

    bot: str
    why: str


@dataclass(frozen=True, slots=True)
class BotSaid:
    """The next piece of a reply."""

    bot: str
    turn: str
    text: str


@dataclass(frozen=True, slots=True)
class BotEnded:
    """The reply is complete."""

    bot: str
    turn: str


@dataclass(frozen=True, slots=True)
class BotFailed:
    """The bot gave up on a turn and said why."""

    bot: str
    turn: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class BotGarbled:
    """The bot sent a line that breaks the protocol; ``why`` names the defect."""

    bot: str
    why: str


@dataclass(frozen=True, slots=True)
class ClientJoined:
    """A client opened a session; ``epoch`` and ``last_seq`` say what it has seen before (None: nothing)."""

    conn: int
    session: str
    epoch: str | None = None
    last_seq: int = 0


@dataclass(frozen=True, slots=True)
class ClientLeft:
    """A client's connection is gone."""

    conn: int
    session: str


@dataclass(frozen=True, slots=True)
class ClientAcked:
    """A client has everything up to and including ``seq``."""

    session: str
    seq: int


@dataclass(frozen=True, slots=True)
class UserSaid:
    """A user sent a message; ``known`` is the stored message's id if this ``cid`` was saved before."""

    conn: int
    session: str
    bot: str
    cid: str
    text: str
    known: str | None = None


@dataclass(frozen=True, slots=True)
class Recalled:
    """A message that an earlier life of the service had accepted and nobody has answered: it waits again.

    ``waited_s`` are the seconds since it was accepted.
    """

    session: str
    bot: str
    cid: str
    turn: str
    text: str
    waited_s: float


@dataclass(frozen=True, slots=True)
class UserCancelled:
    """A user does not want the rest of a reply."""

    session: str
    turn: str


@dataclass(frozen=True, slots=True)
class SaveFailed:
    """The store refused what the acts of one fact wanted to save; nothing of them was carried out."""

    session: str
    cid: str
    turn: str
    why: str


@dataclass(frozen=True, slots=True)
class Began:
    """The service is there: from now on it looks after itself once a second."""


@dataclass(frozen=True, slots=True)
class Felt:
    """What the machine feels like; ``cpu_share`` is of one core, None if nobody could tell."""

    store_ok: bool
    loop_lag_s: float
    memory_bytes: int
    """Of the service and its bots together."""
    cpu_share: float | None = None


@dataclass(frozen=True, slots=True)
class ModeOrdered:
    """A person decides the mode for ``ttl_s`` seconds: full, degraded, maintenance; "auto" lets go of it."""

    mode: str
    author: str
    reason: str = ""
    ttl_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class LimitOrdered:
    """A person changes a limit of the whole at run time; None: not limited."""

    limit: str
    allowed: float | None
    author: str


@dataclass(frozen=True, slots=True)
class BreakerForced:
    """A person decides a bot's breaker for ``ttl_s`` seconds: forced-open, disabled, metrics-only; or closes it."""

    bot: str
    state: str
    author: str
    ttl_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Woke:
    """A timer that the engine asked for rang."""

    key: str


Fact = (
    BotWanted
    | BotUnwanted
    | BotStarted
    | BotReady
    | BotGone
    | BotSaid
    | BotEnded
    | BotFailed
    | BotGarbled
    | ClientJoined
    | ClientLeft
    | ClientAcked
    | UserSaid
    | Recalled
    | UserCancelled
    | SaveFailed
    | Began
    | Felt
    | ModeOrdered
    | LimitOrdered
    | BreakerForced
    | Woke
)


# --- Frames: what a client reads ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Accepted:
    """The message is saved; ``mid`` is its id, ``turn`` the id its reply will have."""

    cid: str
    mid: str
    turn: str
    text: str


@dataclass(frozen=True, slots=True)
class Begin:
    """A reply starts."""

    turn: str
    cid: str
    bot: str


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of a reply; ``at`` is its offset in characters, so a repeated frame is harmless."""

    turn: str
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """A reply is complete and saved; ``state`` is "done" or "cancelled"."""

    turn: str
    cid: str
    state: str
    chars: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An accepted message gets no (complete) reply; what arrived of it is saved."""

    turn: str
    cid: str
    code: str
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message was not accepted and not saved: the sender keeps it. Not part of the session's log."""

    cid: str
    code: str
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class BotStatus:
    """The latest state of one bot. Not part of any session's log: only the newest counts.

    ``state`` is starting, online, restarting or stopped; ``breaker`` is closed, open or half-open, or, by hand,
    forced-open, disabled or metrics-only; ``retry_after_s`` are the seconds until one that refuses tries again.
    """

    bot: str
    behaviour: str
    state: str
    breaker: str
    retry_after_s: float | None
    pid: int | None
    restarts: int
    in_flight: int
    queued: int
    why: str
    instances: int = 1
    """Processes of this bot, without those on their way out."""


@dataclass(frozen=True, slots=True)
class ServiceMode:
    """How the whole is. Not part of any session's log: only the newest counts.

    ``mode`` is full, degraded or maintenance; ``level`` unknown, good, degraded or critical; ``off`` are the features
    that are switched off; ``retry_after_s`` the seconds until maintenance ends by itself.
    """

    mode: str
    level: str
    score: float | None
    off: tuple[str, ...]
    why: str
    retry_after_s: float | None = None


LoggedFrame = Accepted | Begin | Delta | End | Failed
Frame = LoggedFrame | Rejected | BotStatus | ServiceMode


# --- Acts of the engine ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StartBot:
    """Start the bot's process."""

    bot: str
    behaviour: str
    options: Options
    seed: int


@dataclass(frozen=True, slots=True)
class StopBot:
    """End the bot's process; its ``BotGone`` will be expected."""

    bot: str


@dataclass(frozen=True, slots=True)
class ForgetBot:
    """The bot is gone for good: remove it from the store."""

    bot: str


@dataclass(frozen=True, slots=True)
class ToBot:
    """Hand a message to the bot."""

    bot: str
    turn: str
    session: str
    text: str


@dataclass(frozen=True, slots=True)
class CancelTurn:
    """Tell the bot that nobody waits for this reply any more."""

    bot: str
    turn: str


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Hand ``Woke(key)`` back at ``at`` (the engine's clock). The same key again replaces the earlier one."""

    at: float
    key: str


@dataclass(frozen=True, slots=True)
class SaveMessage:
    """Insert or replace one message by ``mid``; ``state`` is accepted, streaming, done, cancelled or failed."""

    mid: str
    session: str
    role: str
    cid: str
    text: str
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Publish:
    """Append a frame to the session's log and hand it to every client of the session."""

    session: str
    seq: int
    frame: LoggedFrame


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer one connection only."""

    conn: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class Welcome:
    """Subscribe a connection to its session.

    ``replay`` holds the missed ``(seq, frame)`` pairs when ``recovered``; otherwise the shell sends the stored
    messages, completed by ``partials`` (turn -> text so far of replies that are streaming now).
    """

    conn: int
    session: str
    epoch: str
    head_seq: int
    recovered: bool
    replay: tuple[tuple[int, LoggedFrame], ...]
    partials: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TellAll:
    """Hand the newest state of a bot, or of the whole, to every client."""

    status: BotStatus | ServiceMode


@dataclass(frozen=True, slots=True)
class Record:
    """Write a fact of the run into the journal (and from there into logs and metrics)."""

    fact: ServiceFact


Act = (
    StartBot
    | StopBot
    | ForgetBot
    | ToBot
    | CancelTurn
    | WakeAt
    | SaveMessage
    | Publish
    | Reply
    | Welcome
    | TellAll
    | Record
)


# --- Facts of a run: the journal ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class CaseStarted:
    """One scenario at one distance begins; time counts from here. ``scenario`` is the whole scenario as data."""

    case: str
    distance: str
    seed: int
    scenario: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CaseEnded:
    """The case is over; ``problem`` is empty, or why it could not be carried out (with ``exit_code``)."""

    problem: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """Where the run was made."""

    harness: str
    python: str
    system: str
    cpu: str
    cores: int
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A client meant to send a message at ``intended`` and did so now; ``crc`` is the CRC-32 of its text (UTF-8)."""

    session: str
    bot: str
    cid: str
    intended: float
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class GotAccepted:
    """The client knows that its message is saved."""

    cid: str


@dataclass(frozen=True, slots=True)
class GotFirstToken:
    """The first piece of the reply reached the client."""

    cid: str


@dataclass(frozen=True, slots=True)
class GotReply:
    """The whole reply reached the client.

    ``intact`` says whether its length is what the service announced, ``pieces`` in how many parts the client saw it
    arrive (0: nobody counted, because it was read from the store), ``crc`` is the CRC-32 of the text that arrived
    (None: the client shows it, but does not hold it).
    """

    cid: str
    chars: int
    intact: bool = True
    pieces: int = 0
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class GotRefusal:
    """The service did not accept the message."""

    cid: str
    code: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class GotFailure:
    """The message was accepted, but its reply failed with a clear error."""

    cid: str
    code: str


@dataclass(frozen=True, slots=True)
class ClientBroke:
    """A client lost its connection or could not make sense of what it read."""

    session: str
    why: str


@dataclass(frozen=True, slots=True)
class GeneratorSeen:
    """The load generator looked at itself: how late it sent (ms) and how much of one core it used (0-1)."""

    lag_ms_p99: float
    cpu_share: float
    users: int


@dataclass(frozen=True, slots=True)
class TranscriptRead:
    """What the store holds of one session after the load: every user message's cid, in order, repeats included.

    ``replies`` are the cids of the messages that have a reply; ``crcs`` and ``reply_crcs`` are the CRC-32 of the stored
    texts (UTF-8), one for each cid. A reply that is not complete (failed, interrupted, cancelled) is not listed.
    """

    session: str
    cids: tuple[str, ...]
    replies: tuple[str, ...]
    crcs: tuple[int, ...] = ()
    reply_crcs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The breaker let a call to the bot through; ``probe`` marks a trial call of the half-open state."""

    bot: str
    turn: str
    probe: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A message was refused at the door."""

    bot: str
    cid: str
    code: str


@dataclass(frozen=True, slots=True)
class TurnSettled:
    """A turn is over: "done", "cancelled" or an error code; times in seconds, first token None if none came."""

    bot: str
    turn: str
    outcome: str
    took_s: float
    first_token_s: float | None


@dataclass(frozen=True, slots=True)
class BreakerMoved:
    """A circuit breaker changed its state or its configuration; ``seq`` counts each bot's changes from 1 without gaps.

    ``cause`` is the rule, ``signal`` the move; ``failures`` are those in a row. ``calls`` to ``hung`` are what the
    window held; ``late_s`` says how long before it was noticed the change took effect. ``cooldown_s`` and ``ttl_s`` are
    how long it lasts (0: no limit); ``why`` is what the service knew of the last failure.
    """

    bot: str
    seq: int
    before: str
    after: str
    cause: str
    failures: int
    cooldown_s: float
    signal: str = ""
    late_s: float = 0.0
    generation: int = 0
    calls: int = 0
    failed: int = 0
    slow: int = 0
    hung: int = 0
    failure_rate: float | None = None
    slow_rate: float | None = None
    attempt: int = 0
    ttl_s: float = 0.0
    author: str = ""
    config_version: int = 1
    why: str = ""


@dataclass(frozen=True, slots=True)
class LimitMoved:
    """How many turns a process of a bot works on at once has changed: it was "dropped", shows "queueing", or "room"."""

    bot: str
    instance: str
    before: int
    after: int
    cause: str


@dataclass(frozen=True, slots=True)
class Retried:
    """A turn failed with ``code`` before a word of its reply had come, and is asked again after ``delay_s``."""

    bot: str
    turn: str
    code: str
    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Scaled:
    """A bot gets another number of processes; ``limited_by`` names what held a larger change back."""

    bot: str
    before: int
    after: int
    reason: str
    limited_by: str = ""


@dataclass(frozen=True, slots=True)
class LevelMoved:
    """The level of the health score changed; ``worst`` names the components that are low."""

    before: str
    after: str
    score: float
    worst: str


@dataclass(frozen=True, slots=True)
class FeatureSwitched:
    """A feature was switched off or came back, because of a level or an order."""

    feature: str
    on: bool
    cause: str


@dataclass(frozen=True, slots=True)
class ModeMoved:
    """The mode of the service changed; ``seq`` counts from 1 without gaps, ``author`` is empty if nobody ordered it."""

    seq: int
    before: str
    after: str
    cause: str
    author: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CapacityChanged:
    """Somebody changed a limit of the whole."""

    limit: str
    before: float | None
    after: float | None
    author: str


@dataclass(frozen=True, slots=True)
class CheckMoved:
    """A health check changed its level; ``seq`` counts those of all checks from 1 without gaps."""

    seq: int
    check: str
    before: str
    after: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class AlertMoved:
    """An alert changed its state: "inactive", "pending", "firing", "recovering"; ``value`` None: there was no data."""

    rule: str
    labels: Mapping[str, str]
    before: str
    after: str
    cause: str
    value: float | None
    severity: str


@dataclass(frozen=True, slots=True)
class BotSeen:
    """The life of a bot's process: "started", "ready", "gone"."""

    bot: str
    what: str
    pid: int | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class FaultArmed:
    """A fault was prepared; its undo is registered."""

    kind: str
    bot: str


@dataclass(frozen=True, slots=True)
class FaultDelivered:
    """Proof that the fault happened once: what was hit."""

    kind: str
    bot: str
    detail: str


@dataclass(frozen=True, slots=True)
class FaultHealed:
    """The fault was undone, after ``delivered`` deliveries."""

    kind: str
    bot: str
    delivered: int


@dataclass(frozen=True, slots=True)
class MemorySampled:
    """One process after load, drain and collection.

    ``subject`` is "service" or a bot; ``messages`` counts all messages so far, ``answered`` those that got their whole
    reply; ``counters`` maps blocks, objects, heap_bytes, handles, tasks, threads and rss_bytes to their value (one that
    the machine lacks is absent). Another ``pid`` than before means that it was started again meanwhile.
    """

    subject: str
    cycle: int
    messages: int
    counters: Mapping[str, int]
    pid: int = 0
    answered: int | None = None


@dataclass(frozen=True, slots=True)
class AllocatorFound:
    """A line that keeps allocating: allocations and bytes for each message; ``where`` is "file:line function"."""

    subject: str
    where: str
    allocations_per_message: float
    bytes_per_message: float


@dataclass(frozen=True, slots=True)
class Stepped:
    """One step in the browser: what was done, whether it worked, how long it took (ms), and the picture of it."""

    step: str
    ok: bool
    took_ms: float
    detail: str = ""
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """A remark for the reader of the report: a skipped part and its reason, a file that was kept."""

    text: str


ServiceFact = (
    Admitted
    | Refused
    | TurnSettled
    | Retried
    | BreakerMoved
    | LimitMoved
    | Scaled
    | LevelMoved
    | FeatureSwitched
    | ModeMoved
    | CapacityChanged
    | CheckMoved
    | AlertMoved
    | BotSeen
)
RunFact = (
    CaseStarted
    | CaseEnded
    | MachineSeen
    | Sent
    | GotAccepted
    | GotFirstToken
    | GotReply
    | GotRefusal
    | GotFailure
    | ClientBroke
    | GeneratorSeen
    | TranscriptRead
    | ServiceFact
    | FaultArmed
    | FaultDelivered
    | FaultHealed
    | MemorySampled
    | AllocatorFound
    | Stepped
    | Noted
)

_RUN_FACTS: Final[tuple[type[RunFact], ...]] = (
    CaseStarted,
    CaseEnded,
    MachineSeen,
    Sent,
    GotAccepted,
    GotFirstToken,
    GotReply,
    GotRefusal,
    GotFailure,
    ClientBroke,
    GeneratorSeen,
    TranscriptRead,
    Admitted,
    Refused,
    TurnSettled,
    Retried,
    BreakerMoved,
    LimitMoved,
    Scaled,
    LevelMoved,
    FeatureSwitched,
    ModeMoved,
    CapacityChanged,
    CheckMoved,
    AlertMoved,
    BotSeen,
    FaultArmed,
    FaultDelivered,
    FaultHealed,
    MemorySampled,
    AllocatorFound,
    Stepped,
    Noted,
)


def kind_of(fact: type[object]) -> str:
    """Turn a class into the name it has on the wire and in the journal: ``GotFirstToken`` is "got-first-token"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", fact.__name__).lower()


KINDS: Final[Mapping[str, type[RunFact]]] = {kind_of(fact): fact for fact in _RUN_FACTS}
"""The journal's vocabulary: kind -> class."""
NAME_OF: Final[Mapping[type[object], str]] = {
    cls: kind_of(cls) for cls in (*_RUN_FACTS, Accepted, Begin, Delta, End, Failed, Rejected, BotStatus, ServiceMode)
}
"""Class -> kind, for facts and frames alike, worked out once: this is on the path of every message."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal: when (seconds since the case began), who says so, and what."""

    t: float
    source: str
    fact: RunFact
