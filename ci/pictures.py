"""Pictures: makes the pictures of the README from a run, so that they show what the program really looks like.

In    the folder of a run (reports/runs/latest if none is named) with a breaker case at the browser distance
Out   docs/images/chat.png, which the browser distance took, and docs/images/report.png, the run's report in Chromium
Rule  nothing is drawn or staged: a picture is of a run that happened
Why   a README whose pictures are old promises another program
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Final

from harness.adapters.processes import Guardian
from harness.drivers._chromium import open_chromium

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ROOT / "docs" / "images"


def main() -> int:
    """Make both pictures."""
    run = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "reports" / "runs" / "latest").resolve()
    banners = sorted(run.glob("cases/*-browser/refusal.png"))
    if not banners or not (run / "report.html").exists():
        print(f"{run}: no browser case with a breaker; run `harness run smoke` first", file=sys.stderr)
        return 2
    IMAGES.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(banners[0], IMAGES / "chat.png")
    guardian = Guardian.start()
    try:
        asyncio.run(_shoot(guardian, (run / "report.html").as_uri(), IMAGES / "report.png"))
    finally:
        guardian.close()
    return 0


async def _shoot(guardian: Guardian, url: str, picture: Path) -> None:
    async with open_chromium(guardian) as browser:
        page = await browser.new_page(viewport={"width": 1280, "height": 1100}, color_scheme="light")
        await page.goto(url)
        await page.screenshot(path=picture)


if __name__ == "__main__":
    sys.exit(main())
