"""hive-harness: prove how a chat-bot service behaves under load, under faults, in a browser and in memory."""

from typing import Final

__version__: Final = "0.1.0"
__all__ = ["__version__"]
