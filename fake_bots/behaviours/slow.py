"""Slow: a bot that takes its time, like a model that computes each token.

In    a message
Out   the echo of it, with a pause before the first token and before each further one
Rule  the pauses are steps, so a thousand slow turns wait side by side
Why   queues, time-outs and streaming only show under replies that last
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fake_bots import Heard, Say, Step, Wait, bounded, tokens

__all__ = ["Slow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """Answers like echo, but waits before the first token and between the tokens.

    With ``jitter_sigma`` above 0 every pause is multiplied by a log-normal factor of mean 1, drawn from the message's
    own dice: most pauses get a little shorter, a few much longer, as with real models.
    """

    first_token_s: float = 0.5
    """Seconds until the first token."""
    token_s: float = 0.05
    """Seconds between two tokens."""
    jitter_sigma: float = 0.0
    """Spread of the pauses (sigma of the log-normal factor); 0 makes them all alike, 0.5 is lively."""
    prefix: str = "You said: "
    """What the reply begins with; may be empty."""

    def __post_init__(self) -> None:
        """Refuse pauses that no run could sit out."""
        bounded("first_token_s", self.first_token_s, 0, 3600)
        bounded("token_s", self.token_s, 0, 3600)
        bounded("jitter_sigma", self.jitter_sigma, 0, 3)

    def hear(self, heard: Heard, rng: Random) -> Iterator[Step]:
        """Say it again, with pauses."""
        pause_s = self.first_token_s
        for token in tokens(self.prefix + heard.text):
            yield Wait(pause_s * self._factor(rng))
            yield Say(token)
            pause_s = self.token_s

    def _factor(self, rng: Random) -> float:
        if not self.jitter_sigma:
            return 1.0
        # The mean of a log-normal value is exp(mu + sigma^2 / 2): this mu makes it 1.
        return rng.lognormvariate(-(self.jitter_sigma**2) / 2, self.jitter_sigma)
