"""Settings: every limit of the reference chat service, with its default and unit.

In    a mapping (``[service]`` of a scenario, ``--set`` of ``harness serve``), through decode.py
Out   one frozen value that the engine and the server are built from
Rule  a number outside its range raises ScenarioError here, before anything starts
Why   one place to see what is bounded, and by how much
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from harness.errors import ScenarioError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of one chat service: counts, characters and seconds."""

    breaker_failures_max: int = 5
    """Failures in a row that open a bot's circuit breaker."""
    breaker_cooldown_s: float = 30.0
    """Seconds an open breaker refuses calls before it lets a probe through."""
    reply_silence_max_s: float = 30.0
    """Seconds a bot may stay silent (before the first token, or between two) until its turn fails."""
    reply_max_s: float = 600.0
    """Seconds one reply may take in all, from the moment the bot was asked."""
    answer_within_s: float = 120.0
    """Seconds from a message's acceptance until its reply must begin; after that it fails, wherever it waits."""
    turns_max: int = 64
    """Turns one bot works on at once; more wait in its queue."""
    turns_min: int = 4
    """Turns that even a bot which answers ever more slowly may work on; its limit adapts between this and turns_max."""
    queue_max: int = 1000
    """Turns that may wait for one bot; more are refused at the door."""
    queue_chars_max: int = 8_000_000
    """Characters in the messages that wait for one bot."""
    session_rate_per_s: float = 20.0
    """Messages each second that one session may send for long."""
    session_burst: int = 100
    """Messages that one session may send at once."""
    bots_max: int = 32
    """Bots that may run at once."""
    text_chars_max: int = 32_000
    """Characters in one message."""
    reply_chars_max: int = 1_000_000
    """Characters in one reply; a bot that says more has failed its turn."""
    frame_bytes_max: int = 131_072
    """Bytes in one WebSocket message; a larger one gets an error frame."""
    log_frames_max: int = 10_000
    """Frames a session keeps for clients that come back."""
    log_chars_max: int = 2_000_000
    """Characters in those frames; the oldest go first."""
    sessions_max: int = 1_000
    """Idle sessions kept in memory for clients that come back."""
    outbound_frames_max: int = 5_000
    """Frames that may wait for one slow reader before its socket is closed (it can resume)."""
    bot_start_max_s: float = 10.0
    """Seconds a bot may take from its start to its first line."""
    bot_restart_min_s: float = 0.1
    """Seconds before the first restart of a bot that died; doubles with every death in a row."""
    bot_restart_max_s: float = 5.0
    """The longest pause before a restart, in seconds."""
    checkpoint_s: float = 1.0
    """A reply that is still streaming is saved at least this often, in seconds."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ScenarioError(f"{field.name} must be a number above 0, got {value}")
