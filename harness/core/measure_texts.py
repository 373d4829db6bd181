"""Measure texts: what the store holds, against what was sent and what was read.

In    a Story
Out   messages_lost, messages_doubled, messages_changed
Rule  a text whose checksum nobody took is unknown, not equal; the latest reading of a session counts
Why   a service that announces a length and keeps to it may still say something else: only who sent a text and who read
      it can tell
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.core.events import TranscriptRead
from harness.core.measures import Measures, few, named
from harness.core.scenario import Scenario
from harness.core.story import Message, Story
from harness.core.texts import crc_after

ECHOES: Final = ("echo", "slow")
"""Behaviours whose whole reply is known beforehand: their prefix, and the message."""
PREFIX: Final = "You said: "
"""What they put before it, unless their option says otherwise."""


@dataclass(slots=True)
class _Kept:
    """The checksums of one stored session."""

    texts: dict[str, int]
    replies: dict[str, int]


def measure_texts(story: Story, scenario: Scenario, measures: Measures) -> None:
    """Look every message up in the store."""
    _lost(story, measures)
    _doubled(story, measures)
    _changed(story, scenario, measures)


def _lost(story: Story, measures: Measures) -> None:
    accepted = [message for message in story.messages.values() if message.accepted]
    stored = {read.session: frozenset(read.cids) for read in story.transcripts}
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
        measures.count("messages_lost", [named(message) for message in lost])
    elif unread:
        measures.missing["messages_lost"] = f"the stored session was not read: {few(sorted(unread))}"
    else:
        measures.missing["messages_lost"] = "no stored session was read"


def _doubled(story: Story, measures: Measures) -> None:
    doubled: dict[str, str] = {}
    for read in story.transcripts:
        for what, ids in (("stored", read.cids), ("answered", read.replies)):
            if len(set(ids)) < len(ids):
                for cid, times in Counter(ids).items():
                    if times > 1:
                        doubled.setdefault(cid, f"{cid} ({what} {times} times in session {read.session})")
    for message in story.messages.values():
        if message.replies > 1:
            doubled.setdefault(message.cid, f"{named(message)} got {message.replies} replies")
    if story.messages or story.transcripts:
        measures.count("messages_doubled", list(doubled.values()))
    else:
        measures.missing["messages_doubled"] = "no message was sent"


def _changed(story: Story, scenario: Scenario, measures: Measures) -> None:
    sessions = {read.session: _kept(read) for read in story.transcripts}
    prefixes = dict(_prefixes(scenario))
    looked, changed = 0, []
    for message in story.messages.values():
        checks = list(_checks(message, sessions.get(message.session), prefixes.get(message.bot)))
        looked += len(checks)
        wrong = next((what for what, same in checks if not same), None)
        if wrong is not None:
            changed.append(f"{named(message)}: {wrong}")
    if looked:
        measures.count("messages_changed", changed)
    else:
        measures.missing["messages_changed"] = "nobody took the checksum of a text both before and after"


def _kept(read: TranscriptRead) -> _Kept | None:
    """None: whoever read it took no checksums."""
    if not read.crcs or len(read.crcs) != len(read.cids) or len(read.reply_crcs) != len(read.replies):
        return None
    return _Kept(dict(zip(read.cids, read.crcs, strict=True)), dict(zip(read.replies, read.reply_crcs, strict=True)))


def _checks(message: Message, kept: _Kept | None, prefix: str | None) -> Iterator[tuple[str, bool]]:
    """Compare whatever two sides know of one message and its reply."""
    cid, sent, reply = message.cid, message.crc, message.reply_crc
    if kept is not None and sent is not None and cid in kept.texts:
        yield "the stored message is not what was sent", kept.texts[cid] == sent
    if message.replied is None or not message.intact:
        return
    if kept is not None:
        if cid not in kept.replies:
            yield "its reply was read, but no complete one is stored", False
        elif reply is not None:
            yield "the stored reply is not what was read", kept.replies[cid] == reply
    if reply is None and kept is not None:
        reply = kept.replies.get(cid)
    if prefix is not None and sent is not None and reply is not None:
        # Messages of a load and of a visit are ASCII, so characters are bytes.
        size = message.chars - len(prefix)
        yield "the bot echoes, but the reply is not the message", size >= 0 and crc_after(prefix, sent, size) == reply


def _prefixes(scenario: Scenario) -> Iterator[tuple[str, str]]:
    for bot in scenario.bots:
        if bot.behaviour in ECHOES:
            for name in bot.names():
                yield name, str(bot.options.get("prefix", PREFIX))
