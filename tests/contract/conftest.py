"""Sample journals for the tests in this folder; they stand once, in tests/sample_journals.py."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sample_journals import Samples


@pytest.fixture(scope="session")
def samples() -> Samples:
    """Journals without drivers; loaded by path, because tests are no package."""
    name = "sample_journals"
    if name not in sys.modules:
        spec = spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    made: Samples = sys.modules[name].Samples()
    return made
