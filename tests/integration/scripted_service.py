"""A small service that speaks the chat protocol and misbehaves on request; a program, started by tests.

python scripted_service.py READY_FILE [--cut N] [--short N] [--refuse N] [--skip N] [--mute N]

Each option: every N-th message.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

PIECES = 4


class Session:
    def __init__(self, bot: str) -> None:
        self.bot = bot
        self.log: list[dict[str, Any]] = []
        self.said: set[str] = set()


class Service:
    def __init__(self, every: argparse.Namespace) -> None:
        self.every = every
        self.bots: dict[str, str] = {}
        self.sessions: dict[str, Session] = {}
        self.count = itertools.count(1)

    async def list_bots(self, _: Request) -> JSONResponse:
        return JSONResponse({"bots": [{"bot": bot, "state": "online"} for bot in self.bots], "behaviours": {}})

    async def launch(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.bots[body.get("name", body["behaviour"])] = body["behaviour"]
        return JSONResponse({}, 201)

    async def open_session(self, request: Request) -> JSONResponse:
        name = f"s{len(self.sessions)}"
        self.sessions[name] = Session((await request.json())["bot"])
        return JSONResponse({"id": name}, 201)

    async def talk(self, ws: WebSocket) -> None:
        await ws.accept()
        with suppress(WebSocketDisconnect):
            hello = await ws.receive_json()
            session = self.sessions[hello["session"]]
            known = hello["epoch"] == "e"
            head = {"type": "welcome", "v": 1, "session": hello["session"], "epoch": "e", "head_seq": len(session.log)}
            await ws.send_json(
                {**head, "recovered": known, "messages": None if known else [], "limits": {}, "bots": []}
            )
            for frame in session.log[hello["last_seq"] :] if known else []:
                await ws.send_json(frame)
            while True:
                frame = await ws.receive_json()
                if frame["type"] == "say" and not await self.answer(ws, session, frame):
                    return

    async def answer(self, ws: WebSocket, session: Session, say: dict[str, Any]) -> bool:
        """Answer; False when the connection is to be lost in the middle of it."""
        number, every, cid = next(self.count), self.every, say["cid"]
        if cid in session.said:
            await ws.send_json({"type": "accepted", "cid": cid, "mid": "m", "turn": f"t{cid}", "text": say["text"]})
            return True
        session.said.add(cid)
        if every.refuse and number % every.refuse == 0:
            refusal = {"code": "circuit-open", "message": "open", "retry_after_s": 1.0}
            await ws.send_json({"type": "rejected", "cid": cid, **refusal})
            return True
        turn, text = f"t{cid}", f"you said: {say['text']}"
        size = len(text) // PIECES + 1
        frames: list[dict[str, Any]] = [
            {"type": "accepted", "cid": cid, "mid": f"m{cid}", "turn": turn, "text": say["text"]},
            {"type": "begin", "turn": turn, "cid": cid, "bot": session.bot},
        ]
        frames += [
            {"type": "delta", "turn": turn, "at": at, "text": text[at : at + size]} for at in range(0, len(text), size)
        ]
        if every.short and number % every.short == 0:
            frames.pop()
        if not (every.mute and number % every.mute == 0):
            frames.append({"type": "end", "turn": turn, "cid": cid, "state": "done", "chars": len(text)})
        start = len(session.log)
        session.log += [{**frame, "seq": seq} for seq, frame in enumerate(frames, start + 1)]
        for place, frame in enumerate(session.log[start:]):
            if place == 3 and every.cut and number % every.cut == 0:
                await ws.close(1012)
                return False
            if not (place == 2 and every.skip and number % every.skip == 0):
                await ws.send_json(frame)
        return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("ready", type=Path)
    for name in ("cut", "short", "refuse", "skip", "mute"):
        parser.add_argument(f"--{name}", type=int, default=0)
    every = parser.parse_args()
    service = Service(every)
    app = Starlette(
        routes=[
            Route("/api/bots", service.list_bots, methods=["GET"]),
            Route("/api/bots", service.launch, methods=["POST"]),
            Route("/api/sessions", service.open_session, methods=["POST"]),
            WebSocketRoute("/ws", service.talk),
        ]
    )
    listener = socket.create_server(("127.0.0.1", 0))
    part = every.ready.with_suffix(".part")
    part.write_text(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}", "pid": os.getpid()}))
    part.replace(every.ready)
    config = uvicorn.Config(
        app, loop="uvloop", ws="websockets-sansio", ws_per_message_deflate=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
