"""The bot wire, version 1: JSON lines between the chat service and a bot's stdin and stdout.

In    one line (bytes, no newline inside, UTF-8)
Out   a frozen value; or WireError with the defect
Rule  one JSON object a line, its kind under "type"; unknown fields are ignored, unknown types are refused
Why   any program in any language can be a bot: read lines, write lines

    service -> bot   {"type":"ask","turn":"t1","session":"s1","text":"hi"}   {"type":"cancel","turn":"t1"}
    bot -> service   {"type":"ready","v":1}                    first, once, when it takes messages
                     {"type":"delta","turn":"t1","text":"he"}  any number
                     {"type":"end","turn":"t1"}                or
                     {"type":"fail","turn":"t1","code":"overloaded","message":"..."}
    The end of stdin means: finish and exit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from harness.errors import WireError

VERSION: Final = 1
LINE_BYTES_MAX: Final = 1_048_576
"""A longer line is garbled, whatever it holds."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Service to bot: answer this."""

    turn: str
    session: str
    text: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Service to bot: nobody waits for this turn any more."""

    turn: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Bot to service: I take messages, and speak version ``v``."""

    v: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Bot to service: the next piece of a reply."""

    turn: str
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """Bot to service: the reply is complete."""

    turn: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Bot to service: this turn failed."""

    turn: str
    code: str
    message: str


Question = Ask | Cancel
Answer = Ready | Piece | Done | GaveUp


def write(line: Question | Answer) -> bytes:
    """Turn a value into its line, newline included."""
    match line:
        case Ask(turn, session, text):
            body: dict[str, object] = {"type": "ask", "turn": turn, "session": session, "text": text}
        case Cancel(turn):
            body = {"type": "cancel", "turn": turn}
        case Ready(v):
            body = {"type": "ready", "v": v}
        case Piece(turn, text):
            body = {"type": "delta", "turn": turn, "text": text}
        case Done(turn):
            body = {"type": "end", "turn": turn}
        case _:
            body = {"type": "fail", "turn": line.turn, "code": line.code, "message": line.message}
    # Lone surrogates can stand in a JSON string but not in UTF-8: ASCII escapes carry both.
    return json.dumps(body, separators=(",", ":")).encode("ascii") + b"\n"


def read_question(line: bytes) -> Question:
    """Read what a bot hears; WireError if the service breaks the protocol."""
    body = _object(line)
    match body.get("type"):
        case "ask":
            return Ask(_text(body, "turn"), _text(body, "session"), _text(body, "text"))
        case "cancel":
            return Cancel(_text(body, "turn"))
        case other:
            raise WireError(f"unknown type {other!r} from the service; a bot knows ask and cancel")


def read_answer(line: bytes) -> Answer:
    """Read what a bot says; WireError names the defect."""
    body = _object(line)
    match body.get("type"):
        case "delta":
            return Piece(_text(body, "turn"), _text(body, "text"))
        case "end":
            return Done(_text(body, "turn"))
        case "fail":
            return GaveUp(_text(body, "turn"), _text(body, "code"), _text(body, "message"))
        case "ready":
            version = body.get("v")
            if version != VERSION:
                raise WireError(f"the bot speaks version {version!r} of the bot wire, this service {VERSION}")
            return Ready(VERSION)
        case other:
            raise WireError(f"unknown type {other!r}; a bot says ready, delta, end or fail")


def _object(line: bytes) -> dict[str, object]:
    if len(line) > LINE_BYTES_MAX:
        raise WireError(f"a line of {len(line):,} bytes; the limit is {LINE_BYTES_MAX:,}")
    try:
        body = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise WireError(f"a line that is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start})") from None
    except (ValueError, RecursionError) as error:
        raise WireError(f"a line that is not JSON ({error})") from None
    if not isinstance(body, dict):
        raise WireError(f"a line that is {type(body).__name__}, not an object")
    return body


def _text(body: dict[str, object], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise WireError(f"{body.get('type')!r} needs {name!r} as a string, got {value!r:.40}")
    return value
