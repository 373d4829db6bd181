"""Settings: every limit of the reference chat service, with its default and unit.

In    a mapping (``[service]`` of a scenario, ``--set`` of ``harness serve``), through decode.py
Out   one frozen value that the engine and the server are built from
Rule  a number outside its range raises ScenarioError here, before anything starts
Why   one place to see what is bounded, and by how much
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from harness.errors import ScenarioError

TASKS_PER_S_MAX: Final = 100_000
"""So many moments of a second are remembered at most."""
NUMBER_MAX: Final = 2**53
"""No limit is larger: it must stay itself in a JSON document, and sums of it finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of one chat service: counts, characters and seconds."""

    breaker_failures_max: int = 5
    """Failures in a row that open a bot's circuit breaker."""
    breaker_cooldown_s: float = 30.0
    """Seconds an open breaker refuses calls before it lets a probe through."""
    breaker_cooldown_growth: float = 1.0
    """What that is multiplied by each time a breaker opens again without having closed."""
    breaker_cooldown_max_s: float = 300.0
    """The longest cooldown that this, or a bot's wish, may lead to, in seconds."""
    breaker_calls_min: int = 20
    """Calls to a bot before the next two rates count; they are taken over its last 100 calls, or so many."""
    breaker_failure_rate: float = 0.8
    """Share of failed calls that opens a bot's circuit breaker, also when successes come between."""
    breaker_slow_rate: float = 0.8
    """Share of slow calls that opens it; those that still wait for their first token count as soon as they are slow."""
    breaker_slow_s: float = 20.0
    """A call is slow when its first token, or the next sign of life, takes so many seconds."""
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
    attempts_max: int = 3
    """How often a message is asked of its bot, the first time included, as long as nothing of a reply has come."""
    instances_max: int = 1
    """Processes that one bot may have: above 1 it is scaled by how busy they are."""
    instance_utilisation: float = 0.7
    """Share of its places that a process is to have in use; above it another one is started."""
    scale_down_window_s: float = 300.0
    """Seconds for which fewer processes must have been enough before one is ended."""
    tasks_per_s_max: int = 5_000
    """Messages that are taken on in any second, for all bots together."""
    waiting_max: int = 10_000
    """Messages that may wait, for all bots together."""
    waiting_chars_max: int = 64_000_000
    """Characters of those messages."""
    memory_bytes_max: int = 4_000_000_000
    """Bytes of memory (PSS where the system tells, else RSS) that the service and its bots may use together."""
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
    outbound_high_share: float = 0.5
    """Share of what may wait for one reader from which on nothing more is taken from it."""
    outbound_low_share: float = 0.25
    """Share of it at which it is listened to again; below outbound_high_share."""
    bot_start_max_s: float = 10.0
    """Seconds a bot may take from its start to its first line."""
    bot_restart_min_s: float = 0.1
    """Seconds before the first restart of a bot that died; doubles with every death in a row."""
    bot_restart_max_s: float = 5.0
    """The longest pause before a restart, in seconds."""
    checkpoint_s: float = 1.0
    """A reply that is still streaming is saved at least this often, in seconds."""
    history: bool = True
    """Whether metrics have a history: ``/api/series``, alerts and the dashboard live on it. A leak check does without:
    it fills with time, not with messages."""
    backup_every_s: float = 3_600.0
    """Seconds between two backups of the database; 0: none are made."""
    backup_keep_last: int = 3
    """Newest backups that stay; this and the next five follow `restic forget`, and 0 is no such rule."""
    backup_keep_hourly: int = 24
    """Hours of which the newest backup stays."""
    backup_keep_daily: int = 7
    """Days of which the newest backup stays."""
    backup_keep_weekly: int = 4
    """Weeks (from Monday) of which the newest backup stays."""
    backup_keep_monthly: int = 12
    """Months of which the newest backup stays."""
    backup_keep_yearly: int = 0
    """Years of which the newest backup stays."""
    backup_keep_within_s: float = 0.0
    """Every backup stays that is at most so many seconds older than the newest."""
    backup_zone: str = "UTC"
    """The time zone whose hours and days count."""
    backup_quota_bytes: int = 10_737_418_240
    """Bytes that backups may take; 0: any number."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str | bool):
                continue
            if field.name.startswith("backup_"):
                if not 0 <= value < float("inf"):
                    raise ScenarioError(f"{field.name} must be a number from 0 up, got {value}")
            elif not 0 < value < float("inf"):
                raise ScenarioError(f"{field.name} must be a number above 0, got {value}")
            if value > NUMBER_MAX:
                raise ScenarioError(f"{field.name} must be at most {NUMBER_MAX}, got {value}")
            if field.name.endswith("_rate") and value > 1:
                raise ScenarioError(f"{field.name} is a share and must be at most 1, got {value}")
        if not self.outbound_low_share < self.outbound_high_share <= 1:
            said = f"got {self.outbound_low_share} and {self.outbound_high_share}"
            raise ScenarioError(f"outbound_low_share must be below outbound_high_share, and that at most 1; {said}")
        if self.breaker_cooldown_growth < 1:
            raise ScenarioError(f"breaker_cooldown_growth must be at least 1, got {self.breaker_cooldown_growth}")
        if self.instance_utilisation > 1:
            raise ScenarioError(f"instance_utilisation must be at most 1, got {self.instance_utilisation}")
        if self.tasks_per_s_max > TASKS_PER_S_MAX:
            raise ScenarioError(f"tasks_per_s_max must be at most {TASKS_PER_S_MAX}, got {self.tasks_per_s_max}")
