"""One tree of errors, and nobody who catches everything."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from harness import errors
from harness.core.failures import CODES
from harness.errors import HarnessError, Kind

ROOT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("harness", "fake_bots") for path in (ROOT / folder).rglob("*.py"))
TREE = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, HarnessError)]
LOOKS_LIKE_ERROR = re.compile(r"(Error|Exception|Interrupt|Warning|ExceptionGroup)$")
# An error that is not of the tree, by file and name, with the reason.
OUTSIDE: dict[tuple[str, str], str] = {
    (
        "harness/conformance/values.py",
        "BrokenRequirementError",
    ): "a failed check, as in a test; it never leaves the suite",
    ("harness/conformance/values.py", "NotApplicableError"): "ends a scenario early; it never leaves the suite",
    ("harness/conformance/stage.py", "DownstreamError"): "what somebody's dependency raises: no breaker may know it",
    ("harness/conformance/scenarios/hooks.py", "HookError"): "what somebody's hook raises: no breaker may know it",
}
# Who may catch everything and not raise it again as the last thing, by file and function, with the reason. (To undo
# something and then ``raise`` is no catching: nothing is swallowed.)
BROAD: dict[tuple[str, str], str] = {
    ("harness/adapters/retry.py", "run"): "every failure is judged by Recovery, and raised again unless it is retried",
    ("harness/adapters/retry.py", "run_async"): "the same, with await",
    ("harness/adapters/_guarded_streams.py", "stream"): "the same, for generators",
    ("harness/adapters/_guarded_streams.py", "_alive"): "what is thrown into a generator is handed on to the inner one",
    ("harness/adapters/_lease.py", "_judged"): "a judge is somebody else's code; it is counted and logged",
    ("harness/adapters/_locked_breaker.py", "_leave"): "a record is somebody else's code; it is counted and logged",
    ("harness/adapters/_telling.py", "tell"): "a listener is somebody else's code; it is counted and logged",
    ("harness/conformance/running.py", "_judged"): "whatever a breaker raises is evidence against it",
    ("harness/conformance/stage.py", "retry_after_s"): "the same, of an attribute of its refusal",
    ("harness/conformance/tasks.py", "_run"): "whatever a caller gets is what is judged",
    ("harness/conformance/tasks.py", "stream"): "the same, of a stream",
    ("harness/conformance/threads.py", "run"): "the same, in a thread",
    ("harness/conformance/threads.py", "_fly"): "the same, of a call that was held",
    ("harness/conformance/threads.py", "stream"): "the same, of a stream",
    ("harness/conformance/tasks.py", "churn"): "calls that only provoke: what they raise is asked elsewhere",
    ("harness/conformance/threads.py", "churn"): "the same, in a thread",
    ("harness/conformance/scenarios/tripping.py", "async_failures_count"): "the same",
    ("harness/conformance/scenarios/tripping.py", "event_loops_share_it"): "the same",
    ("harness/drivers/_carrying.py", "carry_out"): "a driver's bug costs its own case; its traceback is kept",
}
NEVER_RETRIED = {Kind.PERMANENT, Kind.BUG}


def called(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def last_name(base: ast.expr) -> str:
    return base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""


def error_classes() -> dict[tuple[str, str], list[str]]:
    """Every class that is an error by the names of its bases."""
    return {
        (called(path), node.name): [last_name(base) for base in node.bases]
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and any(LOOKS_LIKE_ERROR.search(last_name(base)) for base in node.bases)
    }


def test_every_error_descends_from_the_root_of_the_tree() -> None:
    waiting = error_classes()
    assert len(waiting) >= 20, "the search finds nothing any more"
    known = {"HarnessError"}
    del waiting["harness/errors.py", "HarnessError"]
    while found := {key for key, bases in waiting.items() if known & set(bases)}:
        known |= {name for _, name in found}
        for key in found:
            del waiting[key]
    assert set(waiting) == set(OUTSIDE)


def what_is_caught(node: ast.AST) -> list[ast.expr] | None:
    """What a handler or a ``suppress`` swallows; None for what is neither, or raises again."""
    if isinstance(node, ast.Call) and last_name(node.func) == "suppress":
        return node.args
    if not isinstance(node, ast.ExceptHandler):
        return None
    last = node.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return None
    return [node.type or ast.Name("BaseException")]


def test_nobody_catches_everything_but_the_few_who_may() -> None:
    found = set()
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in ast.walk(tree):
            names = {
                last_name(part)
                for caught in what_is_caught(node) or []
                for part in ast.walk(caught)
                if isinstance(part, ast.expr)
            }
            if names & {"Exception", "BaseException"}:
                assert isinstance(node, ast.ExceptHandler | ast.Call)
                around = [each for each in functions if each.lineno <= node.lineno <= (each.end_lineno or 0)]
                found.add((called(path), max(around, key=lambda each: each.lineno).name if around else ""))
    assert found == set(BROAD)


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_every_error_says_what_it_means(cls: type[HarnessError]) -> None:
    assert cls.__name__.endswith("Error")
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.code)
    assert "code" in vars(cls), "a code of its own, or figures cannot tell it from its parent"
    if issubclass(cls, errors.TransientError):
        assert cls.kind not in NEVER_RETRIED
    if issubclass(cls, errors.PermanentError):
        assert cls.kind is Kind.PERMANENT


def test_no_two_errors_have_the_same_code() -> None:
    codes = [cls.code for cls in TREE]
    assert sorted(codes) == sorted(set(codes))


def test_the_drawing_at_the_top_is_the_tree() -> None:
    drawn: dict[str, tuple[str, int, str, int]] = {}
    branch: list[str] = []
    pattern = re.compile(r"^( *)\* (\w+) *(.*?)(?:  +(\d))?$")
    for line in (errors.__doc__ or "").splitlines():
        found = pattern.match(line)
        if found is None or not found[2].endswith("Error"):
            continue
        depth = len(found[1]) // 4
        branch[depth:] = [found[2]]
        inherited = drawn.get(branch[depth - 1]) if depth else None
        words = found[3].split()
        kind = words[-1] if words and words[-1] in set(Kind) else inherited[2] if inherited else "permanent"
        drawn[found[2]] = (branch[depth - 1] if depth else "Exception", depth, kind, int(found[4] or 1))
    tree = {
        cls.__name__: (cls.__bases__[0].__name__, len(cls.__mro__) - 4, cls.kind.value, cls.exit_code) for cls in TREE
    }
    assert drawn == tree


def test_every_code_that_a_message_can_fail_with_is_classified() -> None:
    page = (ROOT / "docs/reference/websocket.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]*) \| [^|]*(?:rejected|failed)[^|]* \|", page, re.MULTILINE)
    codes = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}
    assert len(codes) > 8, "the table is not found any more"
    assert codes - {code for code, _ in CODES} == set()
