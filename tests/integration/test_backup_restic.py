"""The rules for what stays against those of a program that nobody here wrote: ``restic forget --dry-run --json``."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from harness.adapters.backup_pruning import offset_of
from harness.services.backup_rotation import Policy, kept_by_policy

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([os.environ["PATH"], str(ROOT / ".venv/oracles/usr/bin")])
RESTIC = shutil.which("restic", path=PATH)
SNAPSHOTS, POLICIES = 36, 32
ZONE = "Europe/Berlin"
DAY_S = 86_400.0
RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")

pytestmark = [
    pytest.mark.skipif(RESTIC is None, reason="restic is not on this machine: ./ci/oracles fetches it"),
    pytest.mark.timeout(300),
]


def restic(repo: Path, *words: str) -> bytes:
    assert RESTIC is not None
    env = {**os.environ, "RESTIC_REPOSITORY": str(repo), "RESTIC_PASSWORD": "x", "TZ": ZONE}
    done = subprocess.run([RESTIC, "--no-cache", *words], capture_output=True, env=env, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def version() -> tuple[int, ...]:
    assert RESTIC is not None
    said = subprocess.run([RESTIC, "version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, said.split()[1].split(".")[:2]))


def policies(dice: random.Random) -> list[Policy]:
    made: list[Policy] = []
    while len(made) < POLICIES:
        counts = {name: dice.choice([0, 0, 1, 2, 3, 5, 8, 12]) for name in RULES}
        within_s = dice.choice([0.0, 0.0, 5 * DAY_S, 40 * DAY_S])
        if any(counts.values()) or within_s:
            made.append(Policy(**counts, within_s=within_s))
    return made


def test_our_rules_agree_with_restic(tmp_path: Path) -> None:
    dice = random.Random(7)
    # Winter only, in a zone that is not UTC: restic counts back whole local days, we count seconds.
    newest = datetime(2026, 2, 3, 9, 17, tzinfo=ZoneInfo(ZONE))
    ages = [timedelta(minutes=dice.choice([7, 55, 400, 1500, 9000, 60_000, 500_000]) * dice.random())]
    while len(ages) < SNAPSHOTS:
        gap = dice.choice([5, 20, 50, 300, 1500, 9000, 60_000, 250_000])
        ages.append(ages[-1] + timedelta(minutes=gap * dice.random()))
    times = sorted({(newest - age).astimezone(UTC).replace(microsecond=0) for age in ages}, reverse=True)
    (tmp_path / "file").write_text("what is backed up does not matter here")
    repo = tmp_path / "repo"
    restic(repo, "init", "-q")

    def back_up(at: datetime) -> None:
        local = at.astimezone(ZoneInfo(ZONE)).strftime("%Y-%m-%d %H:%M:%S")
        restic(repo, "backup", "-q", "--time", local, str(tmp_path / "file"))

    def kept_by_restic(policy: Policy) -> set[datetime]:
        words = [f"--keep-{name}={count}" for name in RULES if (count := getattr(policy, name))]
        words += [f"--keep-within={policy.within_s / DAY_S:.0f}d"] if policy.within_s else []
        (group,) = json.loads(restic(repo, "--no-lock", "forget", "--dry-run", "--json", *words))
        return {datetime.fromisoformat(each["time"]).astimezone(UTC) for each in group["keep"] or []}

    def kept_by_us(policy: Policy) -> set[datetime]:
        now = datetime.now(UTC).timestamp()
        # Before 0.16 restic had no rule for the oldest: a still older one takes it, and changes nothing else.
        ancient = [] if version() >= (0, 16) else [0.0]
        reasons = kept_by_policy([*(at.timestamp() for at in times), *ancient], policy, now, offset_of(ZONE))
        return {at for at, why in zip(times, reasons, strict=False) if why}

    wanted = policies(dice)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(back_up, times))
        theirs = list(pool.map(kept_by_restic, wanted))
    differences = [
        (policy, sorted(found ^ kept_by_us(policy)))
        for policy, found in zip(wanted, theirs, strict=True)
        if found != kept_by_us(policy)
    ]
    print(f"restic: {len(wanted)} policies over {len(times)} snapshots, {len(differences)} differences")
    assert differences == []
    assert len(set(map(len, theirs))) > 5, "the policies must differ in what they keep"
