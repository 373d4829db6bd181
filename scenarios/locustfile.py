"""Chat users over the WebSocket, for Locust.

    locust -f scenarios/locustfile.py --host http://127.0.0.1:8000 --web-host 127.0.0.1

Opens Locust's page on port 8089. If no bot runs on the chat service, an ``echo`` is launched.
"""

from __future__ import annotations

from locust import events

from harness.load.rig import Rig
from harness.load.user import ChatUser


class Visitor(ChatUser):
    """Sends a message, reads the whole reply, thinks, and sends again."""

    rig = Rig.attach(events)
