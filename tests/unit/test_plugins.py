"""plugins.py: a file in a seam's folder is a plug-in; its options are checked; nothing is imported before its time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from harness import plugins
from harness.errors import PluginError, ScenarioError

GOOD = """
from dataclasses import dataclass
__all__ = ["SlowReply"]
@dataclass(frozen=True)
class SlowReply:
    wait_s: float = 1.0
    def __post_init__(self):
        if self.wait_s < 0:
            raise ValueError("wait_s must not be below 0")
"""


@pytest.fixture
def seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = tmp_path / "a_seam"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "slow_reply.py").write_text(GOOD)
    (folder / "_hidden.py").write_text("raise SystemExit('imported')")
    (folder / "untidy.py").write_text("__all__ = ['A', 'B']")
    (folder / "no_class.py").write_text("__all__ = ['number']\nclass number: pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("a_seam")
    for name in [name for name in sys.modules if name.partition(".")[0] == "a_seam"]:
        del sys.modules[name]


def test_names_are_files_and_nothing_is_imported(seam: ModuleType) -> None:
    assert plugins.names(seam) == ("no-class", "slow-reply", "untidy")
    assert "a_seam.slow_reply" not in sys.modules


def test_build_and_options(seam: ModuleType) -> None:
    made = plugins.build(seam, "slow-reply", {"wait_s": 2})
    assert made.wait_s == 2.0
    assert plugins.options(seam, "slow-reply") == {"wait_s": "1.0"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("slow-replay", "no plug-in 'slow-replay' in a_seam (did you mean 'slow-reply'?)", id="typo"),
        pytest.param("untidy", "a_seam/untidy.py must have exactly one name in __all__", id="two names"),
        pytest.param("no-class", "number in a_seam must be a frozen dataclass", id="no dataclass"),
    ],
)
def test_refusals_of_plugins(seam: ModuleType, name: str, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        plugins.build(seam, name, {})
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"wait": 1}, "options: unknown field 'wait' (did you mean 'wait_s'?)", id="typo"),
        pytest.param({"wait_s": -1}, "options: wait_s must not be below 0", id="its own check"),
    ],
)
def test_refusals_of_options(seam: ModuleType, options: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plugins.build(seam, "slow-reply", options)
    assert str(caught.value) == said
