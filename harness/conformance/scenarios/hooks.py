"""Hooks: what happens when somebody else's predicate or listener raises, or says that an error is none."""

from __future__ import annotations

from harness.conformance.stage import DownstreamError, Stage
from harness.conformance.values import scenario


class HookError(Exception):
    """What a broken hook raises."""


class _Hook:
    """A predicate that calls everything a failure, and raises when it is told to."""

    def __init__(self) -> None:
        self.raises = False

    def __call__(self, _error: Exception) -> bool:
        if self.raises:
            raise HookError("a broken hook")
        return True


def _raise(*_args: object, **_kwargs: object) -> None:
    raise HookError("a broken listener")


def _ours(error: Exception) -> bool:
    return not isinstance(error, KeyError)


@scenario(
    "An error that the predicate calls none does not count.",
    why="A client's own mistake says nothing about the dependency.",
    needs=("predicate",),
)
async def ignored_errors_do_not_count(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3, is_failure=_ours)
    for _ in range(6):
        error = KeyError("the caller's own")
        end = await stage.fail(error)
        stage.expect(end.error is error, f"{end}")
    stage.expect_state("closed", after="6 errors that are none, with 3 failures allowed")
    await stage.trip()


@scenario(
    "A probe that ends in such an error leaves room for the next one.",
    why="A place that is not given back refuses everybody for ever.",
    needs=("predicate",),
)
async def ignored_probe_does_not_wedge(stage: Stage) -> None:
    """Play it."""
    stage.make(is_failure=_ours)
    await stage.trip()
    stage.cool()
    await stage.fail(KeyError("the caller's own"))
    end = await stage.ok()
    stage.expect(end.called, f"after a probe that proved nothing {end}")


@scenario(
    "A predicate that raises does not replace the caller's error, and the breaker works on.",
    why="The caller handles the errors of the dependency, not those of the bookkeeping.",
    needs=("predicate",),
)
async def raising_predicate(stage: Stage) -> None:
    """Play it."""
    hook = _Hook()
    stage.make(failures_max=3, is_failure=hook)
    hook.raises = True
    error = DownstreamError("planned")
    end = await stage.fail(error)
    stage.expect(end.error is error, f"the predicate raised, and {end}")
    hook.raises = False
    await stage.ok()
    await stage.trip()


@scenario(
    "A predicate that raises at the probe does not wedge it.",
    why="One bad answer at the worst moment must not refuse everybody for ever.",
    needs=("predicate",),
)
async def raising_predicate_at_the_probe(stage: Stage) -> None:
    """Play it."""
    hook = _Hook()
    stage.make(is_failure=hook)
    await stage.trip()
    stage.cool()
    hook.raises = True
    await stage.fail()
    hook.raises = False
    stage.cool()
    end = await stage.ok()
    stage.expect(end.called, f"a cooldown after the predicate raised {end}")


@scenario(
    "A listener that raises changes nothing of what callers get.",
    why="A bug in a dashboard must not become an outage.",
    needs=("listener",),
)
async def raising_listener_changes_no_result(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=5, listener=_raise)
    end = await stage.ok("fine")
    stage.expect(end.value == "fine", f"a good call, and {end}")
    for _ in range(5):
        error = DownstreamError("planned")
        end = await stage.fail(error)
        stage.expect(end.error is error, f"DownstreamError was raised, and {end}")


@scenario(
    "A listener that raises does not keep it from opening, nor from closing.",
    why="The count must not depend on who is watching.",
    needs=("listener",),
)
async def raising_listener_keeps_no_state(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3, listener=_raise)
    for _ in range(3):
        await stage.fail()
    stage.expect_state("open", after="3 of 3 failures")
    stage.cool()
    await stage.ok()
    stage.expect_state("closed", after="a good probe")
