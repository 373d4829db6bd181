"""docs/reference/journal.md names every fact with every field, and nothing else."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from harness.core.events import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "journal.md"
ROW = re.compile(r"^\| `([a-z-]+)` \| (.*?) \| ", re.MULTILINE)


def test_the_page_says_what_the_code_says() -> None:
    told = {kind: re.findall(r"`(\w+)`", names) for kind, names in ROW.findall(PAGE.read_text("utf-8"))}
    for head in ("t", "source", "fact"):
        told.pop(head, None)
    assert told == {kind: [field.name for field in fields(cls)] for kind, cls in KINDS.items()}
