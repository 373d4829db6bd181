"""Census: how many of everything there are now, for whoever watches that they come and go.

In    the desk
Out   counts by name
Rule  turns are counted where their sessions keep them, whatever queue or process they are in
Why   what is held for every message shows here long before it shows in the memory
"""

from __future__ import annotations

from typing import Final

from harness.chat.desk import Desk

PATIENCE: Final = 2.0
"""A turn is overdue after so many times the longest time that it may take."""


def census(desk: Desk, now: float) -> dict[str, int]:
    """Count."""
    settings, sessions = desk.settings, desk.sessions.values()
    longest_s = PATIENCE * (settings.answer_within_s + settings.reply_max_s)
    return {
        "turns_open": sum(len(session.turns) for session in sessions),
        "turns_overdue": sum(now - turn.since > longest_s for session in sessions for turn in session.turns.values()),
        # Neither used by anybody nor on the list of those that are kept for a while: nothing would ever let go of them.
        "sessions_abandoned": sum(not (session.clients or session.turns) for session in sessions) - desk.idle,
        "processes_wanted": len(desk.instances),
    }
