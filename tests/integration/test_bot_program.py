"""The real program, ``python -m fake_bots``, over real pipes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import pytest

from harness.adapters.counters import probe
from harness.core.wire import Answer, Ask, Cancel, Done, GaveUp, Piece, Question, Ready, read_answer, write
from harness.errors import WireError

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 60.0
"""A bound against hanging for ever, not an expectation."""


class Bot:
    """A bot's process, and both ends of our pipes to it."""

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, **env},
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdin, self.stdout, self.stderr = self.process.stdin, self.process.stdout, self.process.stderr
        self._begun = b""

    def tell(self, *lines: Question | bytes) -> None:
        data = b"".join(line if isinstance(line, bytes) else write(line) for line in lines)
        while data:
            data = data[self.stdin.write(data) :]

    def line(self) -> bytes:
        until = time.monotonic() + PATIENCE_S
        while b"\n" not in self._begun:
            assert select.select([self.stdout], [], [], until - time.monotonic())[0], "the bot says nothing"
            data = self.stdout.read(65_536)
            assert data, f"the bot ended: {self.stderr.read()!r}"
            self._begun += data
        line, _, self._begun = self._begun.partition(b"\n")
        return line

    def hear(self) -> Answer:
        return read_answer(self.line())

    def replies(self, *turns: str) -> dict[str, str]:
        """The replies of these turns, mixed as they may come; nothing but them and the ready line may come."""
        said = dict.fromkeys(turns, "")
        left = set(turns)
        while left:
            match self.hear():
                case Piece(turn, text):
                    said[turn] += text
                case Done(turn):
                    left.remove(turn)
                case Ready():
                    pass
                case GaveUp() as failure:
                    raise AssertionError(failure)
        return said

    def reply(self, turn: str) -> str:
        return self.replies(turn)[turn]

    def rest(self) -> list[bytes]:
        """Everything until the end of stdout."""
        return (self._begun + self.stdout.read()).splitlines()

    def ended(self) -> int:
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()


Start = Callable[..., Bot]


@pytest.fixture
def start() -> Iterator[Start]:
    bots: list[Bot] = []

    def begin(*words: str, env: dict[str, str] | None = None, program: list[str] | None = None) -> Bot:
        bots.append(Bot([*(program or [sys.executable, "-m", "fake_bots"]), *words], env or {}))
        return bots[-1]

    yield begin
    for bot in bots:
        bot.close()


def run(*words: str, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "fake_bots", *words],
        input=said,
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


ASK = Ask("t1", "s1", "hello there")


# --- A conversation ---------------------------------------------------------------------------------------------------
def test_ready_ask_pieces_end_and_the_end_of_stdin(start: Start) -> None:
    bot = start("echo", "--seed", "7")
    assert bot.hear() == Ready(1)
    bot.tell(ASK)
    assert [bot.hear() for _ in range(5)] == [
        Piece("t1", "You"),
        Piece("t1", " said:"),
        Piece("t1", " hello"),
        Piece("t1", " there"),
        Done("t1"),
    ]
    bot.stdin.close()
    assert bot.ended() == 0
    assert bot.rest() == []
    assert bot.stderr.read() == b""


@pytest.mark.unmeasured
def test_a_file_of_questions_is_answered_to_its_end() -> None:
    questions = b"".join(write(Ask(f"t{n}", "s1", f"question {n} " * 20)) for n in range(500))
    done = run("echo", said=questions)
    assert done.returncode == 0
    assert sum(read_answer(line) == Done(f"t{n}") for n, line in enumerate(_ends(done.stdout))) == 500


def _ends(stdout: bytes) -> list[bytes]:
    return [line for line in stdout.splitlines() if b'"end"' in line]


@pytest.mark.parametrize("text", ["", " ", "ä \N{GRINNING FACE} \x00 \ud800", "x" * 32_000, "word " * 6_000])
def test_an_echo_is_exact(start: Start, text: str) -> None:
    bot = start("echo")
    bot.tell(Ask("t1", "s1", text))
    assert bot.reply("t1") == f"You said: {text}"


def test_the_same_seed_gives_the_same_replies_in_any_order(start: Start) -> None:
    asks = [Ask(f"t{n}", f"s{n % 3}", f"message {n}") for n in range(60)]
    fates = []
    for order, seed in ((asks, "7"), (asks[::-1], "7"), (asks, "8")):
        bot = start("flaky", "--error-rate", "0.5", "--seed", seed)
        bot.tell(*order)
        bot.stdin.close()
        answers = [read_answer(line) for line in bot.rest()]
        fates.append({answer.turn: type(answer) for answer in answers if isinstance(answer, Done | GaveUp)})
    assert fates[0] == fates[1]
    assert fates[0] != fates[2]
    assert set(fates[0].values()) == {Done, GaveUp}


def test_200_replies_are_given_side_by_side(start: Start) -> None:
    names = {f"t{n}" for n in range(200)}
    bot = start("hang", "--mid-reply", "true")
    bot.tell(*(Ask(name, f"s-{name}", "hi") for name in names))
    assert bot.hear() == Ready(1)
    # Each says its first token and hangs: none could if any other were in its way.
    assert Counter(bot.hear() for _ in range(200)) == Counter(Piece(name, "You") for name in names)


def test_200_slow_replies_all_arrive_whole(start: Start) -> None:
    names = [f"t{n}" for n in range(200)]
    bot = start("slow", "--first-token-s", "0.1", "--token-s=0.02", "--jitter-sigma", "0.5")
    bot.tell(*(Ask(name, "s1", f"hello {name}") for name in names))
    assert bot.replies(*names) == {name: f"You said: hello {name}" for name in names}


def test_a_cancel_stops_the_reply_and_no_other(start: Start) -> None:
    bot = start("slow", "--first-token-s", "0.2", "--token-s", "0")
    assert bot.hear() == Ready(1)
    bot.tell(Ask("t1", "s1", "a"), Ask("t2", "s1", "b"), Cancel("t1"), Cancel("nobody"))
    assert [bot.hear() for _ in range(4)] == [*(Piece("t2", text) for text in ("You", " said:", " b")), Done("t2")]
    bot.stdin.close()
    assert bot.ended() == 0
    assert bot.rest() == []


# --- Misbehaviour -----------------------------------------------------------------------------------------------------
def test_a_crash_has_its_exit_code_and_its_last_words(start: Start) -> None:
    bot = start("crash", "--after", "2", "--exit-code", "17")
    bot.tell(ASK)
    assert bot.reply("t1") == "You said: hello there"
    bot.tell(Ask("t2", "s1", "die"))
    assert bot.hear() == Piece("t2", "You")
    assert bot.ended() == 17
    assert bot.rest() == []
    assert bot.stderr.read() == b""


def test_garbled_lines_are_in_the_middle_of_a_reply(start: Start) -> None:
    bot = start("garbled")
    bot.tell(ASK)
    assert [bot.hear(), bot.hear()] == [Ready(1), Piece("t1", "You")]
    with pytest.raises(WireError, match="not UTF-8"):
        bot.hear()
    assert bot.reply("t1") == " said: hello there"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\xff\xfe\n", "not UTF-8"),
        (b"hello\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b"\n", "not JSON"),
        (b"[1]\n", "not an object"),
        (b'{"type":"sing"}\n', "unknown type 'sing'"),
        (b'{"type":"%s"}\n' % (b"x" * 5_000), "unknown type 'xxx"),
        (b'{"type":"ask","turn":1}\n', "needs 'turn'"),
        (b"x" * 1_500_000 + b"\n", "1,048,576"),
    ],
)
def test_a_line_it_cannot_read_is_one_line_on_stderr(start: Start, line: bytes, words: str) -> None:
    bot = start("echo")
    bot.tell(line, ASK)
    assert bot.reply("t1") == "You said: hello there"
    bot.stdin.close()
    assert bot.ended() == 0
    (complaint,) = bot.stderr.read().decode().splitlines()
    assert complaint.startswith("fake_bots: ")
    assert words in complaint
    assert len(complaint) <= 400


def test_a_stderr_that_nobody_reads_does_not_stop_it(start: Start) -> None:
    bot = start("echo")
    bot.tell(b"nonsense\n" * 20_000, ASK)
    assert bot.reply("t1") == "You said: hello there"


def until_full(pipe: IO[bytes]) -> None:
    """Wait until next to nothing more fits into a pipe."""
    room = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    until = time.monotonic() + PATIENCE_S
    while int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder) < room - 2 * select.PIPE_BUF:
        assert time.monotonic() < until, "the pipe does not fill"
        time.sleep(0.01)


def test_a_reader_that_pauses_loses_nothing(start: Start) -> None:
    bot = start("echo")
    assert bot.hear() == Ready(1)
    text = "word " * 5_000
    # The replies are far more than the pipe and the bot's own buffer hold; the questions all go into the pipe.
    bot.tell(Ask("t0", "s1", text), Ask("t1", "s1", text))
    until_full(bot.stdout)
    assert bot.replies("t0", "t1") == {"t0": f"You said: {text}", "t1": f"You said: {text}"}


# --- The end ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["hang"], id="hangs"),
        pytest.param(["slow", "--first-token-s", "3600"], id="waits"),
    ],
)
def test_the_end_of_stdin_ends_it_whatever_it_does(start: Start, words: list[str]) -> None:
    bot = start(*words)
    assert bot.hear() == Ready(1)
    bot.tell(*(Ask(f"t{n}", "s1", "hi") for n in range(64)))
    bot.stdin.close()
    assert bot.ended() == 0
    assert bot.rest() == []


def test_the_end_of_stdin_ends_it_above_a_reader_that_does_not_read(start: Start) -> None:
    bot = start("echo")
    bot.tell(Ask("t1", "s1", "word " * 5_000), Ask("t2", "s1", "word " * 5_000))  # Into the pipe, whoever reads it.
    bot.stdin.close()
    assert bot.ended() == 0


def test_the_end_of_its_reader_ends_it_quietly(start: Start) -> None:
    bot = start("hang")
    assert bot.hear() == Ready(1)
    bot.stdout.close()
    assert bot.ended() == 0
    assert bot.stderr.read() == b""


def test_a_reader_that_is_gone_before_the_first_line(start: Start) -> None:
    bot = start("echo")
    bot.stdout.close()
    assert bot.ended() == 0
    assert bot.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly(start: Start, number: signal.Signals) -> None:
    bot = start("hang")
    bot.tell(ASK)
    assert bot.hear() == Ready(1)
    bot.process.send_signal(number)
    assert bot.ended() == 128 + number
    assert bot.stderr.read() == b""


def test_sockets_do_as_well_as_pipes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "fake_bots", "echo"], stdin=theirs.fileno(), stdout=theirs.fileno(), cwd=ROOT
        )
        theirs.close()
        ours.settimeout(PATIENCE_S)
        ours.sendall(write(ASK))
        said = b""
        while b'"end"' not in said:
            said += ours.recv(4_096)
        ours.shutdown(socket.SHUT_WR)
        assert process.wait(PATIENCE_S) == 0


# --- The command line -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which behaviour: "),
        (["ecko"], "no plug-in 'ecko' in fake_bots/behaviours (did you mean 'echo'?)"),
        (["__init__"], "no plug-in '__init__'"),
        (["slow", "--first-tokens", "1"], "slow: unknown option '--first-tokens' (did you mean '--first-token-s'?)"),
        (["slow", "fast"], "slow: unknown option 'fast'"),
        (["slow", "--token-s"], "slow: --token-s needs a value"),
        (["slow", "--token-s", "soon"], "--token-s: must be a number, got 'soon'"),
        (["slow", "--token-s", "-1"], "slow: token_s: must be from 0 to 3600, got -1"),
        (["crash", "--after", "1.5"], "--after: must be a whole number, got '1.5'"),
        (["crash", "--mid-reply", "maybe"], "--mid-reply: must be true or false, got 'maybe'"),
        (["echo", "--seed", "x"], "--seed: must be a whole number, got 'x'"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(words: list[str], said: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("fake_bots: ")
    assert said in line


def test_options_are_taken_as_they_are_written_in_scenarios_too() -> None:
    done = run("crash", "--mid_reply=false", "--exit-code=5", "--after", "1", said=write(ASK))
    assert (done.returncode, done.stdout) == (5, write(Ready(1)))


def test_help_lists_every_behaviour_and_every_option() -> None:
    overview = run("--help").stdout.decode()
    catalogue = json.loads(run("--list").stdout)["behaviours"]
    assert {"echo", "slow", "flaky", "crash", "hang", "leaky", "garbled"} <= set(catalogue)
    for name, entry in catalogue.items():
        assert re.search(rf"^  {name} +{re.escape(entry['about'])}$", overview, re.MULTILINE)
    page = run("slow", "--help").stdout.decode()
    for name, option in catalogue["slow"]["options"].items():
        assert f"--{name.replace('_', '-')} " in page
        assert option["about"] in page


# --- The memory probe -------------------------------------------------------------------------------------------------
@pytest.fixture
def probe_dir() -> Iterator[Path]:
    # Not tmp_path: its name may be too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        yield Path(folder)


def talk(bot: Bot, path: Path, first: int, count: int) -> dict[str, int]:
    for n in range(first, first + count):
        bot.tell(Ask(f"t{n}", "s1", "hello"))
        bot.reply(f"t{n}")
    return asyncio.run(probe(path)).counters


@pytest.mark.parametrize(("behaviour", "least", "most"), [("leaky", 60.0, 70.0), ("echo", -5.0, 5.0)])
def test_the_probe_finds_the_leak_and_only_the_leak(
    start: Start, probe_dir: Path, behaviour: str, least: float, most: float
) -> None:
    bot = start(behaviour, env={"HARNESS_PROBE_DIR": str(probe_dir), "HARNESS_BOT_NAME": "ann"})
    path = probe_dir / "bot-ann.sock"
    assert bot.hear() == Ready(1)
    talk(bot, path, 0, 200)  # Warm-up.
    before = talk(bot, path, 200, 10)
    after = talk(bot, path, 300, 200)
    assert least <= (after["blocks"] - before["blocks"]) / 200 <= most
    assert after["tasks"] == 0
    assert after["handles"] == before["handles"]
    bot.stdin.close()
    assert bot.ended() == 0
    assert list(probe_dir.iterdir()) == []


@pytest.mark.parametrize("end", ["signal", "crash"])
def test_the_socket_goes_with_the_process(start: Start, probe_dir: Path, end: str) -> None:
    bot = start("crash", "--after", "1", env={"HARNESS_PROBE_DIR": str(probe_dir), "HARNESS_BOT_NAME": "ann"})
    assert bot.hear() == Ready(1)
    assert [path.name for path in probe_dir.iterdir()] == ["bot-ann.sock"]
    if end == "signal":
        bot.process.terminate()
    else:
        bot.tell(ASK)
    assert bot.ended() == (143 if end == "signal" else 1)
    assert list(probe_dir.iterdir()) == []


def test_the_next_process_takes_over_the_socket_of_a_killed_one(start: Start, probe_dir: Path) -> None:
    env = {"HARNESS_PROBE_DIR": str(probe_dir), "HARNESS_BOT_NAME": "ann"}
    first = start("hang", env=env)
    assert first.hear() == Ready(1)
    first.process.kill()
    first.ended()
    second = start("hang", env=env)
    assert second.hear() == Ready(1)
    second.tell(ASK, Ask("t2", "s1", "hi"))
    while asyncio.run(probe(probe_dir / "bot-ann.sock")).counters["tasks"] != 2:
        pass


def test_a_visitor_who_is_no_probe_is_shown_out(start: Start, probe_dir: Path) -> None:
    bot = start("echo", env={"HARNESS_PROBE_DIR": str(probe_dir), "HARNESS_BOT_NAME": "ann"})
    assert bot.hear() == Ready(1)
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(PATIENCE_S)
        visitor.connect(str(probe_dir / "bot-ann.sock"))
        visitor.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert visitor.recv(100) == b""
    bot.tell(ASK)
    assert bot.reply("t1") == "You said: hello there"
    assert asyncio.run(probe(probe_dir / "bot-ann.sock")).counters["tasks"] == 0


@pytest.mark.parametrize("folder", ["does-not-exist", "x" * 120])
def test_a_probe_that_cannot_listen_is_one_line(tmp_path: Path, start: Start, folder: str) -> None:
    bot = start("echo", env={"HARNESS_PROBE_DIR": str(tmp_path / folder)})
    assert bot.ended() == 2
    (line,) = bot.stderr.read().decode().splitlines()
    assert "HARNESS_PROBE_DIR" in line


# --- The documentation ------------------------------------------------------------------------------------------------
def test_the_bot_in_the_documentation_works(start: Start, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "bot-wire.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    program = tmp_path / "shout.py"
    program.write_text(code, encoding="utf-8")
    bot = start("echo", "--seed", "7", program=[sys.executable, str(program)])
    assert bot.hear() == Ready(1)
    bot.tell(ASK)
    assert bot.reply("t1") == "HELLO THERE "
    bot.stdin.close()
    assert bot.ended() == 0


def test_the_transcript_in_the_documentation_is_the_wire() -> None:
    page = (ROOT / "docs" / "reference" / "bot-wire.md").read_text(encoding="utf-8")
    said = re.findall(r"^< (\{.*\})$", page, re.MULTILINE)
    assert len(said) == 6
    for line in said:
        assert write(read_answer(line.encode())) == line.encode() + b"\n"


def test_the_examples_of_the_reference_are_what_happens() -> None:
    page = (ROOT / "docs" / "reference" / "fake-bots.md").read_text(encoding="utf-8")
    examples = re.findall(r"^\$ echo '(.*)' \| python -m fake_bots (.*)\n((?:[^`$].*\n)+)", page, re.MULTILINE)
    assert len(examples) == 2
    for said, words, shown in examples:
        assert run(*words.split(), said=said.encode() + b"\n").stdout.decode() == shown
