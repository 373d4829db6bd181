"""Families: everything that the chat service counts, in one list.

In    nothing
Out   FAMILIES: each name with its kind, unit, help and labels
Rule  one line a family; who has the number gives it with one more line (a handle's method, or ``Metrics.watch``)
Why   rules, panels and pages name metrics: a name that is not in this list can be refused before anything runs
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.core.series import SERIES_MAX, Family, Kind

OUTCOMES: Final = (
    *("done", "cancelled", "circuit-open", "busy", "no-bot", "not-saved", "bot-gone", "bot-silent", "bot-garbled"),
    *("reply-too-late", "reply-too-long", "reply-too-slow"),
)
"""How a turn can end in the service's own words."""
OTHER_OUTCOME: Final = "bot-error"
"""What a bot's own error codes are counted as: it may invent any number of them."""
REFUSALS: Final = ("busy", "circuit-open", "empty", "over-capacity", "rate-limited", "too-long")
"""Codes of refusals that start at 0; others appear with their first refusal."""
TRANSITIONS: Final = (
    *(("closed", "open"), ("open", "half-open"), ("half-open", "closed"), ("half-open", "open")),
    *(("closed", "forced-open"), ("forced-open", "half-open"), ("closed", "disabled"), ("disabled", "closed")),
    *(("closed", "metrics-only"), ("metrics-only", "closed")),
)
"""Moves of a breaker that start at 0."""
LIVES: Final = ("started", "ready", "gone")
BOT_STATES: Final = ("starting", "online", "restarting")


def _family(
    kind: Kind, name: str, words: str, *labels: str, unit: str = "", series_max: int = SERIES_MAX
) -> tuple[str, Family]:
    made = Family(name=name, kind=kind, help=words, labels=labels, unit=unit, series_max=series_max)
    return name, made


def _counter(name: str, words: str, *labels: str, unit: str = "", each: int = 1) -> tuple[str, Family]:
    return _family("counter", name, words, *labels, unit=unit, series_max=SERIES_MAX * each)


def _gauge(name: str, words: str, *labels: str, unit: str = "", each: int = 1) -> tuple[str, Family]:
    return _family("gauge", name, words, *labels, unit=unit, series_max=SERIES_MAX * each)


FAMILIES: Final[Mapping[str, Family]] = dict(
    [
        # --- Turns
        _counter(
            "chat_turns_total",
            "Accepted messages whose reply has ended, by outcome.",
            *("bot", "outcome"),
            each=len(OUTCOMES) + 1,
        ),
        _counter("chat_service_turns_total", "The same of all bots together, removed ones included.", "outcome"),
        _counter("chat_refused_total", "Messages refused at the door, by code.", "bot", "code", each=12),
        _family(
            "histogram",
            "chat_reply_seconds",
            "Seconds from the acceptance of a message to the end of its reply.",
            "bot",
            unit="seconds",
        ),
        _family(
            "histogram",
            "chat_first_token_seconds",
            "Seconds from the acceptance of a message to the first piece of its reply.",
            "bot",
            unit="seconds",
        ),
        _gauge("chat_turns_in_flight", "Turns that a bot works on.", "bot"),
        _gauge("chat_turns_queued", "Turns that wait for a bot.", "bot"),
        _counter(
            "chat_retries_total",
            "Turns that failed before the first piece and were asked again, by what they failed with.",
            *("bot", "outcome"),
            each=len(OUTCOMES) + 1,
        ),
        _gauge("chat_turns_limit", "Turns that a bot may work on at once, all its processes together.", "bot"),
        _counter("chat_limit_changes_total", "Changes of that limit, by cause.", "bot", "reason", each=4),
        _gauge("chat_turns_resting", "Turns of a bot that wait to be asked again.", "bot"),
        _gauge("chat_queue_wait_seconds", "Seconds that a new message would wait for a bot.", "bot", unit="seconds"),
        _gauge("chat_queue_age_seconds", "Seconds that the oldest turn has waited for a bot.", "bot", unit="seconds"),
        _gauge("chat_messages_per_minute", "Turns of a bot that ended in the last 60 s.", "bot"),
        _gauge(
            "chat_error_ratio", "Share of a bot's turns that failed, of those of the last 60 s.", "bot", unit="ratio"
        ),
        _gauge("chat_service_messages_per_minute", "Turns of all bots that ended in the last 60 s."),
        _gauge("chat_service_error_ratio", "Share of all turns that failed, of those of the last 60 s.", unit="ratio"),
        # --- Bots and breakers
        _gauge("chat_bots", "Bots by the state of their process.", "state"),
        _gauge("chat_bot_restarts", "Restarts of a bot since it was launched.", "bot"),
        _counter(
            "chat_bot_life_total",
            "Processes of a bot that were started, became ready, were gone.",
            "bot",
            "what",
            each=3,
        ),
        _gauge(
            "chat_breaker_state",
            "Circuit breaker: 0 closed, 1 half-open, 2 open, 3 forced open, -1 disabled, -2 metrics only.",
            "bot",
        ),
        _counter(
            "chat_breaker_transitions_total",
            "Changes of state of a bot's circuit breaker.",
            *("bot", "from", "to"),
            each=28,  # Every state to the four that people can ask for, and the four more that a breaker finds itself.
        ),
        _gauge("chat_bot_processes", "Processes of a bot, without those on their way out.", "bot"),
        _counter("chat_scalings_total", "Times that a bot got more or fewer processes.", "bot", "what", each=2),
        # --- The service
        _gauge("chat_mode", "Mode of the service: 0 full, 1 degraded, 2 maintenance."),
        _counter("chat_mode_changes_total", "Changes of the mode.", "from", "to"),
        _gauge("chat_health_score", "The health score, 0 to 100."),
        _counter("chat_level_changes_total", "Changes of the level of the health score.", "from", "to"),
        _gauge("chat_feature_on", "Whether a feature of the service is on: 1 or 0.", "feature"),
        _gauge("chat_capacity_used", "What is in use of a limit of the whole.", "what"),
        _gauge("chat_capacity_allowed", "What a limit of the whole allows.", "what"),
        _counter("chat_alert_changes_total", "Changes of state of alerts.", "rule", "to", each=4),
        _gauge("chat_sockets", "Open WebSockets."),
        _gauge("chat_sockets_paused", "WebSockets that are not listened to until they have read more."),
        _counter("chat_reader_pauses_total", "Times that a WebSocket was not listened to because it read too slowly."),
        _counter("chat_readers_dropped_total", "WebSockets that were closed because they read too slowly."),
        _gauge("chat_unsaved_batches", "Batches of acts that wait for the store."),
        _counter("chat_not_saved_total", "Groups of rows that the store has refused."),
        _gauge("chat_loop_lag_seconds", "How late the event loop woke up last time.", unit="seconds"),
        _gauge("chat_uptime_seconds", "Seconds since the service started.", unit="seconds"),
        # --- What grows
        _gauge("chat_watched", "Counts of what should come and go.", "what"),
        _gauge("chat_leaks", "1 for each of these counts that grows and does not fall back.", "what", "severity"),
        # --- Backups
        _gauge("chat_backups", "Backups that are kept."),
        _gauge(
            "chat_backup_newest_verified_timestamp_seconds",
            "When the newest verified backup was taken, in Unix seconds.",
            unit="seconds",
        ),
        _gauge("chat_backup_newest_verified_bytes", "Bytes of the newest verified backup.", unit="bytes"),
        _gauge(
            "chat_backup_age_seconds",
            "Seconds since the newest verified backup; without one, since the oldest session: what would be lost.",
            unit="seconds",
        ),
        _gauge("chat_backup_repo_bytes", "Bytes of all backups that are kept.", unit="bytes"),
        _gauge("chat_backup_quota_bytes", "Bytes that backups may take; 0: any number.", unit="bytes"),
        _gauge("chat_backup_suspicious", "Backups with a sudden loss of rows or bytes."),
        _gauge("chat_backup_damaged", "Backups that could not be read back."),
        _counter("chat_backup_runs_total", "Scheduled backups that were tried."),
        _counter("chat_backup_failures_total", "Scheduled backups that failed."),
        _gauge("chat_backup_run_seconds", "Seconds that the last scheduled backup took.", unit="seconds"),
        _gauge(
            "chat_backup_drill_rto_seconds",
            "Seconds from nothing to a session that was read, in the last restore drill.",
            unit="seconds",
        ),
        # --- The metrics themselves
        _counter("chat_metrics_overflow_total", "Label sets beyond a family's limit, counted together.", "family"),
        _gauge("chat_recorder_series", "Series of which the recorder keeps a history."),
        _counter("chat_recorder_refused_total", "New series that the recorder had no room for."),
        _counter("chat_recorder_late_total", "Ticks of the recorder that came late, or after others were missed."),
        _counter("chat_recorder_failures_total", "Times that history could not be written to disk."),
        _gauge("chat_recorder_stored_bytes", "Bytes of history on disk.", unit="bytes"),
    ]
)
