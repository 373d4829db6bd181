"""The store on a real file: groups, order, restarts, and files that it must refuse."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from harness.adapters.sqlite import INTERRUPTED, MIGRATIONS, TITLE_CHARS, Group, Pulse, Session, Store
from harness.core.events import BotWanted, ForgetBot, SaveMessage
from harness.errors import StoreError

NO_WAIT_S = -60.0
"""Whatever waits has waited for too long."""


def asked(session: str, number: int, text: str = "hi") -> SaveMessage:
    return SaveMessage(f"t{number}.q", session, "user", f"c{number}", text, "accepted")


def answered(session: str, number: int, text: str = "hello", state: str = "done") -> SaveMessage:
    return SaveMessage(f"t{number}", session, "bot", f"c{number}", text, state)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path)) as opened:
        yield opened


def save(store: Store, *groups: Group) -> list[str]:
    """Write groups as one job and wait for it."""
    done = threading.Event()
    problems: list[str] = []

    def tell(found: list[StoreError | None]) -> None:
        problems.extend("" if problem is None else str(problem) for problem in found)
        done.set()

    store.save(groups, tell)
    assert done.wait(30)
    return problems


def texts(store: Store, session: str = "s") -> Sequence[str]:
    return [message.text for message in store.messages(session, 1000)[0]]


def test_what_was_saved_is_there_after_the_file_was_closed(path: Path) -> None:
    with closing(Store(path)) as store:
        assert save(store, [Session("s", "echo", "", 1.0, 1.0)], [asked("s", 1), answered("s", 1)]) == ["", ""]
        assert save(store, [BotWanted("b", "slow", {"token_s": 0.5, "x": "ä", "y": True}, 2**62)]) == [""]
    with closing(Store(path)) as store:
        assert texts(store) == ["hi", "hello"]
        assert store.bots() == [BotWanted("b", "slow", {"token_s": 0.5, "x": "ä", "y": True}, 2**62)]
        assert save(store, [ForgetBot("b")]) == [""]
        assert store.bots() == []
        assert store.bot_of("s") == "echo"
        assert store.bot_of("nope") is None


def test_a_message_is_replaced_by_its_mid_and_keeps_its_place_and_time(store: Store) -> None:
    save(store, [asked("s", 1), answered("s", 1, "h", "streaming"), asked("s", 2, "more")])
    before = store.message("s", "t1")
    save(store, [answered("s", 1, "hello", "done")])
    after = store.message("s", "t1")
    assert before is not None
    assert after is not None
    assert (before.state, after.state, after.text, after.at) == ("streaming", "done", "hello", before.at)
    assert texts(store) == ["hi", "hello", "more"]


def test_a_group_that_cannot_be_written_is_left_out_whole_and_alone(store: Store) -> None:
    save(store, [asked("s", 1)])
    doubled = SaveMessage("t9.q", "s", "user", "c1", "the same cid under another id", "accepted")
    problems = save(store, [asked("s", 2)], [asked("s", 3), doubled], [asked("s", 4)])
    assert problems[0] == problems[2] == ""
    assert "UNIQUE" in problems[1]
    assert str(store.path) in problems[1]
    assert [message.cid for message in store.messages("s", 10)[0]] == ["c1", "c2", "c4"]


def test_text_that_is_no_unicode_is_refused_and_the_next_is_taken(store: Store) -> None:
    assert "surrogates" in save(store, [asked("s", 1, "\ud800")])[0]
    assert save(store, [asked("s", 2, "a\0b 🎉")]) == [""]
    assert texts(store) == ["a\0b 🎉"]


def test_a_reader_that_holds_the_lock_delays_but_loses_nothing(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = threading.Event()
        store.save([[asked("s", 1)]], lambda problems: done.set() if problems == [None] else None)
        assert not done.wait(0.05)
        other.execute("COMMIT")
        assert done.wait(30)
    assert texts(store) == ["hi"]


def test_pages_go_backwards_without_gap(store: Store) -> None:
    save(store, [asked("s", number, str(number)) for number in range(10)], [asked("other", 99, "x")])
    assert [message.text for message in store.messages("s", 4)[0]] == ["6", "7", "8", "9"]
    assert [message.text for message in store.messages("s", 4, before="t6.q")[0]] == ["2", "3", "4", "5"]
    assert [message.text for message in store.messages("s", 4, before="t2.q")[0]] == ["0", "1"]
    assert store.messages("s", 4, before="t0.q")[0] == []
    assert store.message("s", "t99.q") is None


def test_sessions_are_listed_newest_message_first_with_title_and_count(store: Store) -> None:
    save(
        store,
        [Session("a", "echo", "", 1.0, 1.0), Session("b", "echo", "Mine", 2.0, 2.0), Session("c", "x", "", 3.0, 3.0)],
    )
    assert [session.id for session in store.sessions(None, 10)] == ["c", "b", "a"]
    save(store, [asked("a", 1, "  what\n is " + "long " * 50), answered("a", 1)])
    first = store.sessions("echo", 10)[0]
    assert (first.id, first.messages) == ("a", 2)
    assert first.title == ("what is " + "long " * 50)[:TITLE_CHARS]
    assert store.sessions("echo", 1) == [first]
    save(store, [asked("b", 2)])
    assert store.session("b") == store.sessions(None, 1)[0]
    assert store.sessions(None, 1)[0].title == "Mine"
    assert store.session("nope") is None


def test_known_finds_the_users_message_of_a_cid(store: Store) -> None:
    save(store, [asked("s", 1), answered("s", 1)])
    assert store.known("s", "c1") == "t1.q"
    assert store.known("s", "c2") is None
    assert store.known("other", "c1") is None


def test_a_restart_ends_what_was_left_open_once(path: Path) -> None:
    with closing(Store(path)) as store:
        save(store, [asked("s", 1), answered("s", 1, "whole")])
        save(store, [asked("s", 2), answered("s", 2, "cut sh", "streaming"), asked("s", 3)])
    with closing(Store(path)) as store:
        assert store.settle(NO_WAIT_S) == (2, [])
        found = {message.mid: message for message in store.messages("s", 10)[0]}
        assert (found["t1"].state, found["t1"].error) == ("done", "")
        assert (found["t2"].state, found["t2"].text, found["t2"].error) == ("interrupted", "cut sh", INTERRUPTED)
        assert (found["t3"].state, found["t3"].text, found["t3"].cid) == ("interrupted", "", "c3")
        assert store.settle(NO_WAIT_S) == (0, [])
    with closing(Store(path)) as store:
        assert store.settle(NO_WAIT_S) == (0, [])
        save(store, [asked("s", 4)])
    with closing(Store(path)) as store:
        assert store.settle(NO_WAIT_S) == (1, [])


def test_what_nobody_has_answered_waits_on_in_its_order_as_often_as_the_service_dies(path: Path) -> None:
    with closing(Store(path)) as store:
        save(store, [Session("s", "echo", "", 1.0, 1.0), Session("other", "slow", "", 1.0, 1.0)])
        save(store, [asked("s", 1), answered("s", 1), asked("s", 2, "first"), asked("other", 3, "second")])
    for _ in range(2):
        with closing(Store(path)) as store:
            cut, waiting = store.settle(60.0)
            assert cut == 0
            assert [(one.session, one.bot, one.cid, one.turn, one.text) for one in waiting] == [
                ("s", "echo", "c2", "t2", "first"),
                ("other", "slow", "c3", "t3", "second"),
            ]
            assert all(0.0 <= one.waited_s < 60.0 for one in waiting)
    with closing(Store(path)) as store:
        save(store, [answered("s", 2)])
        assert [one.cid for one in store.settle(60.0)[1]] == ["c3"]


def test_a_message_of_a_session_that_is_not_there_waits_for_nobody(path: Path) -> None:
    with closing(Store(path)) as store:
        save(store, [asked("gone", 1)])
        assert [one.bot for one in store.settle(60.0)[1]] == [""]


def test_the_file_is_of_the_newest_version_durable_and_strict(store: Store, path: Path) -> None:
    assert save(store, [Pulse()]) == [""]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert all(strict for *_, strict in connection.execute("PRAGMA table_list") if not _[1].startswith("sqlite"))


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def _garbage(path: Path) -> None:
    path.write_bytes(b"these bytes are somebody's, but no database " * 50)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("spoil", [_newer, _garbage, _folder])
def test_a_file_that_is_no_store_is_refused_by_its_path(path: Path, spoil: object) -> None:
    assert callable(spoil)
    spoil(path)
    with pytest.raises(StoreError, match=r"chat\.sqlite3"):
        Store(path)


def test_a_read_of_a_closed_store_says_so(path: Path) -> None:
    store = Store(path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.bots()


def test_a_page_is_bounded_in_characters_and_says_what_is_left(store: Store) -> None:
    save(store, [asked("s", number, str(number) * 10) for number in range(5)])
    found, more = store.messages("s", 5, chars_max=30)
    assert ([message.text[0] for message in found], more) == (["2", "3", "4"], True)
    found, more = store.messages("s", 5, chars_max=1)
    assert ([message.text[0] for message in found], more) == (["4"], True)
    assert len(store.messages("s", 5, chars_max=50)[0]) == 5
    assert store.messages("s", 5)[1] is False
    assert store.messages("s", 4)[1] is True
