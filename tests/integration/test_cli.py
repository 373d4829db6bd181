"""The command line as a person or a script meets it: a real process, its words, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO_VERDICT, EXIT_PASS, EXIT_TARGET_DOWN, EXIT_USAGE

PLAIN = """
name = "plain"
why = "To be run by tests."
duration_s = {duration_s}
load = {{ users = 4, say_every_s = 0.5 }}
bots = [{{ behaviour = "{behaviour}" }}]
{more}
"""


def write(path: Path, *, behaviour: str = "echo", duration_s: float = 2, more: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PLAIN.format(behaviour=behaviour, duration_s=duration_s, more=more), "utf-8")
    return path


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "harness", *map(str, words)]


def harness(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def journal_of(cwd: Path) -> bytes:
    return (cwd / "reports/runs/latest/journal.jsonl").read_bytes()


# --- Words that are wrong ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["rnu"], "no 'rnu' (did you mean 'run'?)", id="a command"),
        pytest.param([], "required: COMMAND", id="nothing"),
        pytest.param(["run"], "required: NAME|FILE|SUITE", id="run nothing"),
        pytest.param(["run", "smoke/chta"], "no scenario or suite 'smoke/chta' in", id="a scenario"),
        pytest.param(["run", "smoke/chta"], "(did you mean 'smoke/chat'?)", id="a scenario, with a suggestion"),
        pytest.param(["run", "smok"], "(did you mean 'smoke'?)", id="a suite"),
        pytest.param(["run", "../../etc"], "no scenario or suite", id="a way out of the folder"),
        pytest.param(["run", "not-there.toml"], "no scenario file not-there.toml", id="a file"),
        pytest.param(["run", "smoke/chat", "--distance", "wire"], "(did you mean 'wired'?)", id="a distance"),
        pytest.param(
            ["run", "smoke/chat", "--seed", "x"], "argument --seed: must be a whole number from 0", id="a seed"
        ),
        pytest.param(["run", "smoke/chat", "--seed", "-5"], "argument --seed: ", id="a seed below 0"),
        pytest.param(["run", "smoke/chat", f"--seed={2**63}"], "argument --seed: must be a whole", id="a huge seed"),
        pytest.param(
            ["run", "leaks", "--distance", "browser"], "does not run at the distance 'browser'", id="no such case"
        ),
        pytest.param(["run", "smoke", "--scenarios", "nowhere"], "--scenarios nowhere: no such folder", id="a folder"),
        pytest.param(["compare", "latset"], "no run 'latset' in reports/runs", id="a run"),
        pytest.param(
            ["serve", "--set", "queue_maxx=3"], "--set: unknown field 'queue_maxx' (did you mean", id="a limit"
        ),
        pytest.param(["serve", "--set", "queue_max=many"], "--set.queue_max: must be a whole number", id="no number"),
        pytest.param(["serve", "--set", "queue_max"], "--set queue_max: must be KEY=VALUE", id="no value"),
        pytest.param(["serve", "--bot-command", "'"], "--bot-command ': No closing quotation", id="a quote left open"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(tmp_path: Path, words: list[str], said: str) -> None:
    done = harness(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (EXIT_USAGE, "")
    assert done.stderr.startswith("harness: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is left behind by words that make no sense"


# --- list, check, where -----------------------------------------------------------------------------------------------
def test_list_names_what_there_is(tmp_path: Path) -> None:
    done = harness("list", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (EXIT_PASS, "")
    for name in ("smoke/chat", "simulated, wired, browser", "echo", "crash-loop", "html"):
        assert name in done.stdout


def test_list_goes_on_after_a_broken_file(tmp_path: Path) -> None:
    write(tmp_path / "good.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    done = harness("list", "--scenarios", tmp_path, cwd=tmp_path)
    assert done.returncode == EXIT_USAGE
    assert "good" in done.stdout
    assert "broken.toml: malformed TOML" in done.stderr


def test_a_reader_that_stops_reading_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m harness list | head -n 1"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b'name = "x', "malformed TOML: Unterminated string (at end of document)", id="cut off"),
        pytest.param(b"a = 1\nb = = 2", "malformed TOML: Invalid value (at line 2, column 5)", id="line and column"),
        pytest.param(b"a = 1\nb = '\xff'", "not UTF-8 (byte 0xff in line 2)", id="another encoding"),
        pytest.param(b"", "$: needs the field 'name'", id="empty"),
    ],
)
def test_check_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    done = harness("check", "x.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_USAGE, "", f"harness: x.toml: {said}\n")


@pytest.mark.parametrize(
    ("behaviour", "more", "said"),
    [
        pytest.param("echo", "[load2]", "$: unknown field 'load2' (did you mean 'load'?)", id="a field"),
        pytest.param(
            "ehco", "", "$.bots[0].behaviour: no plug-in 'ehco' in fake_bots/behaviours (did you", id="a behaviour"
        ),
        pytest.param(
            "echo",
            '[[faults]]\nkind = "crash-lop"\nbot = "echo"\nat_s = 0\nfor_s = 1',
            "$.faults[0].kind: no fault 'crash-lop' (did you mean 'crash-loop'?)",
            id="a fault",
        ),
        pytest.param(
            "echo", "[expect]\nmessages_losst = { max = 0 }", "unknown figure 'messages_losst'", id="a figure"
        ),
    ],
)
def test_check_knows_what_is_in_the_seams(tmp_path: Path, behaviour: str, more: str, said: str) -> None:
    write(tmp_path / "x.toml", behaviour=behaviour, more=more)
    done = harness("check", "x.toml", cwd=tmp_path)
    assert done.returncode == EXIT_USAGE
    assert done.stderr.startswith("harness: x.toml: ")
    assert said in done.stderr


def test_check_knows_the_options_of_a_behaviour(tmp_path: Path) -> None:
    path = write(tmp_path / "x.toml", behaviour="slow")
    path.write_text(path.read_text().replace('"slow" }', '"slow", options = { token = 1 } }'))
    done = harness("check", "x.toml", cwd=tmp_path)
    assert "$.bots[0].options: unknown field 'token' (did you mean 'token_s'?)" in done.stderr


def test_check_looks_at_every_file(tmp_path: Path) -> None:
    write(tmp_path / "a.toml")
    write(tmp_path / "c.toml")
    done = harness("check", "a.toml", "b.toml", "c.toml", cwd=tmp_path)
    assert done.returncode == EXIT_USAGE
    assert done.stdout.splitlines() == ["a.toml: ok", "c.toml: ok"]
    assert done.stderr == "harness: b.toml: cannot be read (No such file or directory)\n"


def test_where(tmp_path: Path) -> None:
    done = harness("where", "--reports-dir", "out", cwd=tmp_path)
    assert done.returncode == EXIT_PASS
    assert f"reports    {tmp_path / 'out'}" in done.stdout
    assert "scenarios  " in done.stdout


def test_version(tmp_path: Path) -> None:
    assert harness("--version", cwd=tmp_path).stdout.startswith("harness 0.")


# --- run --------------------------------------------------------------------------------------------------------------
def test_run_leaves_a_report_a_journal_and_a_status(tmp_path: Path) -> None:
    write(tmp_path / "own.toml")
    done = harness("run", "own.toml", "--distance", "simulated", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (EXIT_PASS, "")
    assert "✅ own simulated: passed" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("report: reports/runs/")
    folder = (tmp_path / last.removeprefix("report: ")).parent
    assert {path.name for path in folder.iterdir()} >= {
        "journal.jsonl",
        "report.html",
        "report.md",
        "report.json",
        "junit.xml",
    }
    assert (tmp_path / "reports/runs/latest").resolve() == folder
    assert "✅ own simulated" in (tmp_path / ".deia/status.md").read_text("utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"own.toml", "reports", ".deia"}


def test_two_runs_with_one_seed_have_one_journal(tmp_path: Path) -> None:
    write(tmp_path / "own.toml", behaviour="slow")
    journals = []
    for seed in ("3", "3", "4"):
        assert (
            harness("run", "own.toml", "--distance", "simulated", "--seed", seed, cwd=tmp_path).returncode == EXIT_PASS
        )
        journals.append(journal_of(tmp_path))
    assert journals[0] == journals[1]
    assert journals[0] != journals[2]
    assert len(list((tmp_path / "reports/runs").glob("2*"))) == 3


def test_a_bound_that_breaks_is_exit_1(tmp_path: Path) -> None:
    write(tmp_path / "own.toml", more="[expect]\nmessages_answered = { min = 1000 }")
    done = harness("run", "own.toml", "--distance", "simulated", cwd=tmp_path)
    assert done.returncode == EXIT_FAILED
    assert "❌ own simulated: failed" in done.stdout
    assert "messages_answered" in done.stdout
    assert "report: " in done.stdout


def test_a_fault_that_is_not_delivered_is_exit_4(tmp_path: Path) -> None:
    # The bot is stopped for longer than the fault lasts: there is never anything to kill.
    fault = '[[faults]]\nkind = "crash-loop"\nbot = "crash"\nat_s = 1.9\nfor_s = 0.01'
    limits = "[service]\nbreaker_failures_max = 1\nbreaker_cooldown_s = 100"
    write(tmp_path / "own.toml", behaviour="crash", more=f"{fault}\n{limits}")
    done = harness("run", "own.toml", "--distance", "simulated", cwd=tmp_path)
    assert done.returncode == EXIT_NO_VERDICT
    assert "planned, but not delivered" in done.stdout


def test_a_suite_is_a_queue_and_one_failure_does_not_stop_it(tmp_path: Path) -> None:
    scenarios = tmp_path / "scenarios"
    write(scenarios / "mine/a.toml", more="[expect]\nmessages_answered = { min = 1000 }")
    write(scenarios / "mine/b.toml")
    write(scenarios / "other/c.toml")
    done = harness("run", "mine", "--scenarios", scenarios, "--distance", "simulated", cwd=tmp_path)
    assert done.returncode == EXIT_FAILED
    status = (tmp_path / ".deia/status.md").read_text("utf-8")
    assert "❌ mine/a simulated" in status
    assert "✅ mine/b simulated" in status
    assert "other/c" not in done.stdout + status
    facts = [json.loads(line)["fact"] for line in journal_of(tmp_path).splitlines()]
    assert facts[0] == "machine-seen"
    assert [fact for fact in facts if fact.startswith("case-")] == ["case-started", "case-ended"] * 2


def test_breakers_of_a_simulation_are_logged_too(tmp_path: Path) -> None:
    done = harness("run", "smoke/breaker", "--distance", "simulated", "--state-dir", "state", cwd=tmp_path)
    assert done.returncode == EXIT_PASS, done.stdout
    lines = [json.loads(line) for line in (tmp_path / "state/bot-logs/circuit-breaker.jsonl").read_text().splitlines()]
    anchor, *moves = lines
    assert (anchor["record"], anchor["why"]) == ("anchor", "start")
    assert [(line["from"], line["to"]) for line in moves] == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
    ]


@pytest.mark.parametrize("option", ["--state-dir", "--reports-dir"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, option: str) -> None:
    write(tmp_path / "own.toml")
    (tmp_path / "file").write_text("")
    done = harness("run", "own.toml", "--distance", "simulated", option, "file/x", cwd=tmp_path)
    assert done.returncode == EXIT_USAGE
    assert done.stderr.startswith("harness: ")
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
    assert f"choose another with {option}" in done.stderr


def test_a_read_only_state_folder_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "own.toml")
    # Root may write where modes forbid it; nobody may in the kernel's own folder.
    folder = Path("/proc/self/nothing") if os.geteuid() == 0 else tmp_path / "closed"
    if os.geteuid():
        folder.mkdir(mode=0o500)
    done = harness("run", "own.toml", "--distance", "simulated", "--state-dir", folder, cwd=tmp_path)
    assert done.returncode == EXIT_USAGE
    assert "cannot be written" in done.stderr
    assert not (tmp_path / "reports").exists()


# --- A full disk ------------------------------------------------------------------------------------------------------
def limited(bytes_max: int, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command none of whose files may become larger: to a program that is a disk without space."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_max}, {bytes_max}));"
        "from harness.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-B", "-c", code, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("bytes_max", "file"),
    [
        pytest.param(100, "journal.jsonl", id="no line fits"),
        pytest.param(1_500, "journal.jsonl", id="the middle of the first case"),
        pytest.param(40_000, "journal.jsonl", id="a later case"),
    ],
)
def test_a_disk_that_fills_up_is_one_line_and_exit_4(tmp_path: Path, bytes_max: int, file: str) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / f"scenarios/mine/{name}.toml", duration_s=30)
    done = limited(
        bytes_max, "run", "mine", "--scenarios", "scenarios", "--distance", "simulated", "--plain", cwd=tmp_path
    )
    assert done.returncode == EXIT_NO_VERDICT, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("harness: ")
    assert f"{file}: no space left: free some or choose --reports-dir" in done.stderr
    assert "Traceback" not in done.stdout
    (journal,) = (tmp_path / "reports/runs").glob("2*/journal.jsonl")
    assert not journal.read_bytes().endswith(b"\n") or journal.stat().st_size == 0, "torn, and nothing after it"
    status = tmp_path / ".deia/status.md"
    if bytes_max > 1_000:
        assert "no space left" in status.read_text("utf-8")
        assert "## Now" not in status.read_text("utf-8")
    else:
        assert not status.exists(), "what does not fit leaves no status that is not true"


@pytest.mark.unmeasured
def test_a_report_that_does_not_fit_is_one_line_and_exit_4(tmp_path: Path) -> None:
    write(tmp_path / "own.toml", duration_s=1)
    assert harness("run", "own.toml", "--distance", "simulated", cwd=tmp_path).returncode == EXIT_PASS
    size = (tmp_path / "reports/runs/latest/journal.jsonl").stat().st_size
    page = (tmp_path / "reports/runs/latest/report.html").stat().st_size
    assert size < page - 1_000, "the page is what does not fit"
    done = limited(page - 500, "run", "own.toml", "--distance", "simulated", cwd=tmp_path)
    assert done.returncode == EXIT_NO_VERDICT
    assert done.stderr.count("\n") == 1
    assert "report.html: no space left" in done.stderr
    folders = sorted((tmp_path / "reports/runs").glob("2*"))
    assert [(folder / "report.html").exists() for folder in folders] == [True, False], "half a page is no page"


@pytest.mark.unmeasured
def test_a_disk_that_fills_up_while_real_bots_run(tmp_path: Path) -> None:
    write(tmp_path / "own.toml")
    done = limited(20_000, "run", "own.toml", "--distance", "wired", "--plain", cwd=tmp_path)
    # The limit is everybody's: the service may be the first that cannot go on.
    assert done.returncode in (EXIT_NO_VERDICT, EXIT_TARGET_DOWN), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("traceback.txt"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_judged_and_reported(tmp_path: Path, number: signal.Signals) -> None:
    scenarios = tmp_path / "scenarios"
    write(scenarios / "mine/a.toml")
    # So much to simulate that it cannot be over before the signal comes.
    write(scenarios / "mine/b.toml", duration_s=80_000)
    write(scenarios / "mine/c.toml")
    with subprocess.Popen(
        command("run", "mine", "--scenarios", scenarios, "--distance", "simulated", "--plain"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "▶ mine/b simulated" in line:
                process.send_signal(number)
        code = process.wait()
    assert code == EXIT_INTERRUPTED, said
    assert "mine/a simulated" in said
    assert "report: " in said
    facts = [json.loads(line) for line in journal_of(tmp_path).splitlines()]
    assert facts[-2]["problem"] == "interrupted"
    assert facts[-1]["text"] == "interrupted; not started: mine/c simulated"
    status = (tmp_path / ".deia/status.md").read_text("utf-8")
    assert "✅ mine/a simulated" in status
    assert "- mine/c simulated" in status


# --- bless, compare ---------------------------------------------------------------------------------------------------
def test_bless_and_compare(tmp_path: Path) -> None:
    path = write(tmp_path / "own.toml", behaviour="slow")
    run = ("run", "own.toml", "--distance", "simulated")
    assert harness(*run, cwd=tmp_path).returncode == EXIT_PASS
    assert harness("compare", "latest", cwd=tmp_path).returncode == EXIT_USAGE
    blessed = harness("bless", "latest", cwd=tmp_path)
    assert blessed.returncode == EXIT_PASS
    assert (tmp_path / blessed.stdout.strip()).is_file()

    assert harness(*run, cwd=tmp_path).returncode == EXIT_PASS
    same = harness("compare", "latest", cwd=tmp_path)
    assert (same.returncode, same.stdout.splitlines()[-1]) == (EXIT_PASS, "comparison: pass")

    path.write_text(path.read_text().replace("users = 4", "users = 5"))
    assert harness(*run, cwd=tmp_path).returncode == EXIT_PASS
    other = harness("compare", "latest", cwd=tmp_path)
    assert other.returncode == EXIT_NO_VERDICT
    assert "the scenario has changed since the baseline" in other.stdout


def test_what_failed_cannot_be_blessed(tmp_path: Path) -> None:
    write(tmp_path / "own.toml", more="[expect]\nmessages_answered = { min = 1000 }")
    harness("run", "own.toml", "--distance", "simulated", cwd=tmp_path)
    done = harness("bless", "latest", cwd=tmp_path)
    assert done.returncode == EXIT_NO_VERDICT
    assert "cannot become a baseline" in done.stderr


# --- serve ------------------------------------------------------------------------------------------------------------
def test_serve_with_a_state_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = harness("serve", "--port", "0", "--state-dir", "file/x", cwd=tmp_path)
    assert done.returncode == EXIT_TARGET_DOWN
    assert done.stderr.startswith("harness: ")
    assert done.stderr.count("\n") == 1


# --- Files and places that are not what they should be -----------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"name=" + b"[" * 5_000, "malformed TOML: lists or tables nested too deeply", id="too deep"),
        pytest.param(b"name = \xff", "not UTF-8 (byte 0xff in line 1)", id="not UTF-8"),
        pytest.param(b"", "needs the field 'name'", id="empty"),
    ],
)
def test_a_file_that_is_no_scenario_gives_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(content)
    ended = harness("check", "own.toml", cwd=tmp_path)
    assert ended.returncode == EXIT_USAGE
    assert said in ended.stdout + ended.stderr
    assert len((ended.stdout + ended.stderr).splitlines()) == 1


def test_a_byte_order_mark_is_forgiven(tmp_path: Path) -> None:
    path = write(tmp_path / "own.toml")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert harness("check", "own.toml", cwd=tmp_path).returncode == EXIT_PASS


def test_a_suite_may_be_named_by_its_place(tmp_path: Path) -> None:
    write(tmp_path / "mine/suite/one.toml")
    words = ("run", "mine/suite", "--scenarios", "mine", "--distance", "simulated", "--plain")
    ended = harness(*words, cwd=tmp_path)
    assert ended.returncode == EXIT_PASS, ended.stdout + ended.stderr
    assert "suite/one" in ended.stdout


def test_nobody_can_be_told_anything_on_a_full_disk(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(command("list"), cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == EXIT_NO_VERDICT
    assert ended.stderr.decode().count("\n") == 1


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none(port: str, tmp_path: Path) -> None:
    ended = harness("serve", "--port", port, cwd=tmp_path)
    assert ended.returncode == EXIT_USAGE
    assert "must be from 0 (any free one) to 65535" in ended.stderr or "expected one argument" in ended.stderr
