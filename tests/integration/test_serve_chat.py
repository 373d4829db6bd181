"""The service and its bots, as a client on the wire sees them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from tests.conftest import Served


def run(story: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story

    asyncio.run(bounded())


def text_of(frames: list[dict[str, Any]]) -> str:
    """Put the pieces together, each where it says it belongs."""
    text = ""
    for frame in frames:
        if frame["type"] == "delta":
            assert frame["at"] == len(text)
            text += frame["text"]
    return text


def test_a_message_is_accepted_streamed_ended_and_stored(service: Served) -> None:
    session = service.session(service.launch("echo", prefix="> "))

    async def story() -> None:
        async with service.joined(session) as talk:
            assert talk.welcome["messages"] == []
            assert talk.welcome["recovered"] is False
            assert talk.welcome["limits"]["text_chars_max"] == 32_000
            frames = await talk.say("c1", "hello wörld 🎉")
        assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
        assert [frame["type"] for frame in frames[:2]] == ["accepted", "begin"]
        assert text_of(frames) == "> hello wörld 🎉"
        end = frames[-1]
        assert (end["type"], end["state"], end["chars"]) == ("end", "done", len("> hello wörld 🎉"))
        accepted = frames[0]
        asked, answered = service.messages(session)
        assert (asked["mid"], asked["cid"], asked["role"]) == (accepted["mid"], "c1", "user")
        assert (answered["mid"], answered["cid"], answered["role"]) == (accepted["turn"], "c1", "bot")
        assert (answered["text"], answered["state"]) == ("> hello wörld 🎉", "done")

    run(story())
    _, listed = service.call("GET", "/api/sessions?bot=echo")
    assert [(entry["title"], entry["messages"]) for entry in listed["sessions"]] == [("hello wörld 🎉", 2)]
    kinds = [json.loads(line)["fact"] for line in service.journal.read_text().splitlines()]
    # What the service sees of itself comes beside it, whenever it looks.
    told = [kind for kind in kinds if kind not in ("check-moved", "alert-moved", "level-moved")]
    assert told == ["bot-seen", "bot-seen", "admitted", "turn-settled"]


def test_every_tab_of_a_session_sees_the_same_log(steady: Served) -> None:
    session = steady.session(steady.launch("echo"))

    async def story() -> None:
        async with steady.joined(session) as here, steady.joined(session) as there:
            mine, theirs = await asyncio.gather(here.say("c1", "one two"), there.until("end"))
            assert mine == theirs

    run(story())


def test_a_cid_sent_twice_is_stored_once_and_answered_alike(steady: Served) -> None:
    session = steady.session(steady.launch("echo"))

    async def story() -> None:
        async with steady.joined(session) as talk:
            first = (await talk.say("c1", "again"))[0]
            await talk.tell(type="say", cid="c1", text="again")
            again = await talk.hear()
        assert {**again, "seq": 1} == first

    run(story())
    assert [message["role"] for message in steady.messages(session)] == ["user", "bot"]


def test_two_sockets_that_send_one_cid_at_once_store_it_once(steady: Served) -> None:
    session = steady.session(steady.launch("echo"))

    async def story() -> None:
        async with steady.joined(session) as here, steady.joined(session) as there:
            await asyncio.gather(*(talk.tell(type="say", cid="same", text="x") for talk in (here, there)))
            for talk in (here, there):
                assert (await talk.until("end"))[-1]["cid"] == "same"

    run(story())
    assert len(steady.messages(session)) == 2


def test_resume_gives_what_was_missed_and_nothing_twice(steady: Served) -> None:
    session = steady.session(steady.launch("slow", first_token_s=0.0, token_s=0.02))

    async def story() -> None:
        seen: list[dict[str, Any]] = []
        async with steady.joined(session) as talk:
            epoch = talk.welcome["epoch"]
            await talk.tell(type="say", cid="c1", text=" ".join(f"w{n}" for n in range(60)))
            while len(seen) < 10:
                seen += [frame for frame in [await talk.hear()] if "seq" in frame]
        for _ in range(4):
            async with steady.joined(session, epoch, seen[-1]["seq"]) as talk:
                assert talk.welcome["recovered"] is True
                assert talk.welcome["messages"] is None
                for _ in range(8):
                    frame = await talk.hear()
                    if "seq" in frame:
                        seen.append(frame)
        async with steady.joined(session, epoch, seen[-1]["seq"]) as talk:
            seen += [frame for frame in await talk.until("end") if "seq" in frame]
        assert [frame["seq"] for frame in seen] == list(range(1, len(seen) + 1))
        assert text_of(seen) == steady.messages(session)[-1]["text"]

    run(story())


def test_a_newcomer_sees_the_partial_reply_and_the_rest_of_it(steady: Served) -> None:
    session = steady.session(steady.launch("slow", first_token_s=0.0, token_s=0.03))

    async def story() -> None:
        async with steady.joined(session) as talk:
            await talk.tell(type="say", cid="c1", text="one two three four five six seven eight")
            await talk.until("delta")
            async with steady.joined(session, epoch="another", last_seq=3) as newcomer:
                assert newcomer.welcome["recovered"] is False
                asked, partial = newcomer.welcome["messages"]
                assert asked["cid"] == partial["cid"] == "c1"
                assert partial["state"] == "streaming"
                frames = await newcomer.until("end")
                assert frames[0]["seq"] == newcomer.welcome["head_seq"] + 1
                text = partial["text"]
                for frame in frames:
                    if frame["type"] == "delta":
                        assert frame["at"] == len(text)
                        text += frame["text"]
        assert text == steady.messages(session)[-1]["text"]

    run(story())


def test_a_client_may_ask_for_merged_pieces(steady: Served) -> None:
    session = steady.session(steady.launch("echo"))
    words = " ".join(f"w{n}" for n in range(2_000))

    async def story() -> None:
        async with steady.socket() as talk:
            await talk.tell(type="hello", v=1, session=session, epoch=None, last_seq=0, merge=True)
            await talk.until("welcome")
            frames = await talk.say("c1", words)
        pieces = [frame for frame in frames if frame["type"] == "delta"]
        assert len(pieces) < 1_000
        expected = 1
        for frame in frames:
            assert frame.get("first", frame["seq"]) == expected
            expected = frame["seq"] + 1
        assert text_of(frames).endswith(words)

    run(story())


def test_cancel_ends_the_reply_and_keeps_what_arrived(steady: Served) -> None:
    session = steady.session(steady.launch("slow", first_token_s=0.0, token_s=0.05))

    async def story() -> None:
        async with steady.joined(session) as talk:
            await talk.tell(type="say", cid="c1", text="a b c d e f g h i j k l m n o p q r s t u v w x y z")
            turn = (await talk.until("delta"))[-1]["turn"]
            await talk.tell(type="cancel", turn=turn)
            end = (await talk.until("end"))[-1]
            assert end["state"] == "cancelled"
        reply = steady.messages(session)[-1]
        assert (reply["state"], len(reply["text"])) == ("cancelled", end["chars"])

    run(story())


def test_a_socket_without_a_session_hears_of_bots(service: Served) -> None:
    async def story() -> None:
        async with service.socket() as talk:
            welcome = await talk.hello(None)
            assert (welcome["session"], welcome["bots"]) == (None, [])
            await asyncio.to_thread(service.launch, "echo")
            while (status := (await talk.until("bot-status"))[-1])["state"] != "online":
                pass
            assert status["bot"] == "echo"
            await asyncio.to_thread(service.call, "DELETE", "/api/bots/echo")
            while (await talk.until("bot-status"))[-1]["state"] != "stopped":
                pass

    run(story())


HELLO = {"type": "hello", "v": 1, "session": None, "epoch": None, "last_seq": 0}


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        pytest.param("{", "not-json", "not JSON", id="broken JSON"),
        pytest.param("[1]", "not-json", "no JSON object", id="a list"),
        pytest.param(b"{}", "not-json", "binary", id="a binary frame"),
        pytest.param("[" * 300 + "]" * 300, "not-json", "nested too deeply", id="a deep list"),
        pytest.param('{"type":' + "[" * 300 + "]" * 300 + "}", "unknown-type", "nested too deeply", id="a deep type"),
        pytest.param('{"type":"shout"}', "unknown-type", '"shout"', id="an unknown type"),
        pytest.param('{"kind":"say"}', "unknown-type", "hello, say", id="no type at all"),
        pytest.param('{"type":["say"]}', "unknown-type", "say", id="a type that is no text"),
        pytest.param('{"type":"say","cid":"c","text":"x"}', "unknown-session", "hello", id="say without a session"),
        pytest.param('{"type":"ping"}', "bad-field", "'t'", id="ping without t"),
        pytest.param('{"type":"ping","t":true}', "bad-field", "'t'", id="ping with a truth"),
        pytest.param(json.dumps({**HELLO, "v": 2}), "wrong-version", "v 1", id="another version"),
        pytest.param(json.dumps({**HELLO, "v": True}), "wrong-version", "v 1", id="a truth as version"),
        pytest.param(json.dumps({**HELLO, "session": "nope"}), "unknown-session", "'nope'", id="no such session"),
        pytest.param(json.dumps({**HELLO, "session": 7}), "bad-field", "'session'", id="a number as session"),
        pytest.param(json.dumps({**HELLO, "last_seq": -1}), "bad-field", "'last_seq'", id="a negative seq"),
        pytest.param('{"type":"hello","v":1}', "bad-field", "'session'", id="hello without session"),
        pytest.param('{"type":"ping","t":"' + "x" * 10_000_000 + '"}', "too-big", "10,000,0", id="ten megabytes"),
        pytest.param('{"type":"ping","t":"' + "ü" * 70_000 + '"}', "too-big", "140,0", id="too many bytes"),
    ],
)
def test_a_bad_frame_gets_a_clear_error_and_the_connection_stays(
    steady: Served, frame: str | bytes, code: str, says: str
) -> None:
    async def story() -> None:
        async with steady.socket(max_size=None) as talk:
            await talk.hello(None)
            await talk.link.send(frame)
            error = await talk.hear()
            assert (error["type"], error["code"]) == ("error", code)
            assert says in error["message"]
            assert len(error["message"]) < 300
            await talk.tell(type="ping", t=1.5)
            assert await talk.hear() == {"type": "pong", "t": 1.5}

    run(story())


def test_a_too_big_frame_says_both_sizes_and_loses_nothing(steady: Served) -> None:
    session = steady.session(steady.launch("echo"))

    async def story() -> None:
        async with steady.joined(session) as talk:
            await talk.say("c1", "before")
            await talk.tell(type="say", cid="c2", text="x" * 10_000_000)
            error = await talk.hear()
            assert error["code"] == "too-big"
            assert "10,000,0" in error["message"]
            assert "131,072" in error["message"]
            assert (await talk.say("c3", "after"))[-1]["type"] == "end"

    run(story())
    assert [message["cid"] for message in steady.messages(session)] == ["c1", "c1", "c3", "c3"]


def test_a_text_that_is_too_long_is_rejected_with_both_lengths(steady: Served) -> None:
    session = steady.session(steady.launch("echo"))

    async def story() -> None:
        async with steady.joined(session) as talk:
            for cid, text, code in (("c1", "x" * 32_001, "too-long"), ("c2", " \n", "empty")):
                rejected = (await talk.say(cid, text))[-1]
                assert (rejected["type"], rejected["code"], rejected["cid"]) == ("rejected", code, cid)

    run(story())
    assert steady.messages(session) == []


def test_hello_comes_first(steady: Served) -> None:
    async def story() -> None:
        async with steady.socket() as talk:
            await talk.tell(type="ping", t=1)
            assert (await talk.hear())["code"] == "hello-first"
            assert await talk.until_closed() == (1008, "no hello within 5 s")

    run(story())


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://["])
def test_a_page_of_another_origin_is_sent_away(steady: Served, origin: str) -> None:
    async def story() -> None:
        async with steady.socket(additional_headers={"Origin": origin}) as talk:
            assert await talk.until_closed() == (1008, "a foreign Origin")
        async with steady.socket(additional_headers={"Origin": steady.url}) as talk:
            assert (await talk.hello(None))["type"] == "welcome"

    run(story())


def test_a_name_that_was_bent_to_this_machine_is_sent_away(steady: Served) -> None:
    status, answer = steady.call("GET", "/api/bots", headers={"Host": f"evil.example:{steady.port}"})
    assert (status, answer["error"]["code"]) == (403, "foreign-host")
    assert steady.call("GET", "/api/bots", headers={"Host": f"localhost:{steady.port}"})[0] == 200

    async def story() -> None:
        async with steady.socket(additional_headers={"Host": f"evil.example:{steady.port}"}) as talk:
            assert await talk.until_closed() == (1008, "a foreign Host")

    run(story())


def test_a_frame_above_16_mib_ends_the_connection_only(steady: Served) -> None:
    async def story() -> None:
        async with steady.socket() as talk:
            await talk.hello(None)
            with suppress(ConnectionClosed):
                await talk.link.send("x" * (17 * 1024 * 1024))
            assert (await talk.until_closed())[0] == 1009
        async with steady.socket() as talk:
            assert (await talk.hello(None))["type"] == "welcome"

    run(story())


def test_who_reads_too_slowly_is_sent_away_and_can_resume(chat: Served) -> None:
    limits = ("outbound_frames_max=50", "log_frames_max=100000", "log_chars_max=100000000")
    chat.start(*(word for limit in limits for word in ("--set", limit)))
    session = chat.session(chat.launch("echo"))
    text = " ".join("word" * 20 for _ in range(390))

    async def story() -> None:
        async with chat.socket(max_queue=1) as talk:
            await talk.hello(session)
            epoch = talk.welcome["epoch"]
            # Nobody reads: the pieces fill the pipe between both, then the queue, and the socket is closed.
            for number in range(40):
                await talk.tell(type="say", cid=f"c{number}", text=text)
            assert (await talk.until_closed())[0] == 1013
            seen = talk.seen
        assert "\nchat_readers_dropped_total 1\n" in chat.call("GET", "/metrics")[1].decode()
        await asyncio.to_thread(chat.await_bot, "echo", in_flight=0, queued=0)
        async with chat.joined(session, epoch, seen) as talk:
            assert talk.welcome["recovered"] is True
            assert (await talk.until("accepted", "begin", "delta", "end"))[-1]["seq"] == seen + 1

    run(story())


def test_a_welcome_is_bounded_and_says_that_there_is_more(steady: Served) -> None:
    bot = steady.launch("echo", prefix="")
    long, many = steady.session(bot), steady.session(bot)

    async def story() -> None:
        async with steady.joined(long) as talk:
            for number in range(5):
                await talk.say(f"c{number}", "x" * 30_000)
        async with steady.joined(many) as talk:
            for number in range(26):
                await talk.say(f"c{number}", "x")
        async with steady.joined(long) as talk:
            assert (len(talk.welcome["messages"]), talk.welcome["more"]) == (6, True)
            assert talk.welcome["messages"][-1]["cid"] == "c4"
        async with steady.joined(many) as talk:
            assert (len(talk.welcome["messages"]), talk.welcome["more"]) == (50, True)
        async with steady.joined(steady.session(bot)) as talk:
            assert (talk.welcome["messages"], talk.welcome["more"]) == ([], False)

    run(story())


def test_moving_to_another_session_leaves_the_first(steady: Served) -> None:
    bot = steady.launch("echo")
    first, second = steady.session(bot), steady.session(bot)

    async def story() -> None:
        async with steady.joined(first) as mover, steady.joined(first) as stayer:
            await mover.hello(second)
            await stayer.say("c1", "who hears this?")
            frames = await mover.say("c2", "me")
            assert {frame["cid"] for frame in frames if "cid" in frame} == {"c2"}

    run(story())


def test_a_long_reply_that_streams_is_in_the_welcome_whatever_came_after_it(chat: Served) -> None:
    """Otherwise its next piece would be a gap, and so would every piece after that."""
    chat.start("--set", "text_chars_max=500000", "--set", "frame_bytes_max=1000000")
    slow = chat.launch("slow", first_token_s=0.0, token_s=0.01)
    session = chat.session(slow)

    async def story() -> None:
        async with chat.joined(session) as talk:
            await talk.tell(type="say", cid="c1", text=f"{'x' * 250_000} " + "w " * 1_000)
            turn = (await talk.until("begin"))[-1]["turn"]
            have = 0
            while have < 250_000:
                frame = (await talk.until("delta"))[-1]
                have = frame["at"] + len(frame["text"])
            await talk.tell(type="say", cid="c2", text="and another one")
            await talk.until("accepted")
            async with chat.socket(max_size=None) as newcomer:
                welcome = await newcomer.hello(session)
                texts = {message["mid"]: message["text"] for message in welcome["messages"]}
                assert len(texts[turn]) >= 250_000
                assert "and another one" in texts.values()
                while (frame := (await newcomer.until("delta"))[-1])["turn"] != turn:
                    pass
                assert frame["at"] == len(texts[turn])

    run(story())


def test_a_thousand_hellos_of_somebody_who_does_not_read_cost_one_welcome(chat: Served) -> None:
    chat.start()
    session = chat.session(chat.launch("echo", prefix=""))

    async def story() -> None:
        async with chat.joined(session) as talk:
            for number in range(3):
                await talk.say(f"c{number}", "x" * 30_000)
        before = psutil.Process(chat.pid).memory_info().rss
        async with chat.socket(max_queue=1) as deaf, chat.joined(session) as talk:
            for _ in range(1_000):
                await deaf.tell(type="hello", v=1, session=session, epoch="another", last_seq=0)
            await talk.say("last", "still there?")  # All hellos were heard: they came before.
            assert psutil.Process(chat.pid).memory_info().rss - before < 80_000_000

    run(story())
