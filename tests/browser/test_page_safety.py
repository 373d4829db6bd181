"""What a bot writes is text, on every screen: nothing of it runs, nothing of it breaks the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import ViewportSize, expect

Play = Callable[[Any], None]
Tab = Callable[..., Any]

HOSTILE = """<script>window.owned = 1</script>
<img src=x onerror="window.owned = 2"><svg onload="window.owned = 3"></svg>
<a href="javascript:window.owned=4">a</a> <iframe srcdoc="<script>parent.owned=5</script>"></iframe>

[b](javascript:window.owned=6) [c](JaVaScRiPt&colon;window.owned=7) [d](data:text/html,<script>owned=8</script>)
[e](vbscript:x) [f](file:///etc/passwd) [g](//elsewhere.example/x) [h](/api/bots) [i](blob:x) [j](ok.html)
<javascript:window.owned=9> [k](\\x01javascript:window.owned=10) [l]( java
script:window.owned=11) ![m](javascript:window.owned=12) ![n](https://elsewhere.example/pixel.png)
[o]: javascript:window.owned=13
[o] [p](https://good.example "onmouseover=window.owned=14") <https://good.example/?q="onclick=x>

```"><script>window.owned=15</script>
</code></pre><script>window.owned=16</script>
```

| <img src=x onerror=window.owned=17> | `</td><script>owned=18</script>` |
|--|--|
| style="x:expression(owned=19)" | <style>*{display:none}</style> |
"""
COUNT_VIOLATIONS = "window.violations = 0; addEventListener('securitypolicyviolation', () => { window.violations++; });"
KNOWN = {
    *(
        "a",
        "blockquote",
        "br",
        "button",
        "code",
        "div",
        "em",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "span",
    ),
    *("strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ATTRIBUTES = {
    *(
        "aria-label",
        "class",
        "data-align",
        "data-copy",
        "data-level",
        "href",
        "rel",
        "role",
        "start",
        "tabindex",
        "target",
    ),
    "type",
}
LOOK = """(prose) => {
  const all = [...prose.querySelectorAll("*")];
  return {
    tags: [...new Set(all.map((one) => one.localName))],
    attributes: [...new Set(all.flatMap((one) => one.getAttributeNames()))],
    links: all.filter((one) => one.href).map((one) => one.href),
  };
}"""


def test_hostile_markdown_is_inert(service: Any, play: Play, tab: Tab) -> None:
    service.launch("slow", "parrot", token_s=0.005, first_token_s=0.0, prefix="")

    async def story() -> None:
        async with tab(service.url, before=COUNT_VIOLATIONS) as chat:
            await chat.select("parrot")
            await chat.say(HOSTILE)
            reply = chat.replies.first
            await expect(reply).to_have_attribute("data-state", "done")
            found = await reply.locator(".prose").evaluate(LOOK)
            assert set(found["tags"]) <= KNOWN, found["tags"]
            assert set(found["attributes"]) <= ATTRIBUTES, found["attributes"]
            assert all(
                link.startswith(("https://good.example", "https://elsewhere.example/pixel")) for link in found["links"]
            )
            assert len(found["links"]) == 3, found["links"]
            for link in await reply.get_by_role("link").all():
                await expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
            assert await chat.page.evaluate("() => [window.owned ?? 0, window.violations]") == [0, 0]
            assert "window.owned = 1" in await reply.inner_text()  # It is all there, as text.

    play(story)


MISTAKES = """() => {
  const tried = [
    () => { document.createElement("p").innerHTML = "<b>x</b>"; },
    () => { document.createElement("p").setAttribute("onclick", "x"); },
    () => { document.createElement("script").text = "window.owned = 1"; },
    () => { setTimeout("window.owned = 2", 0); },
  ];
  return tried.map((mistake) => { try { mistake(); return "done"; } catch (error) { return error.name; } });
}"""


def test_the_policy_stands_between_a_mistake_and_the_page(service: Any, play: Play, tab: Tab) -> None:
    async def story() -> None:
        async with tab(service.url, before=COUNT_VIOLATIONS, faults_allowed=("requires 'Trusted",)) as chat:
            thrown = await chat.page.evaluate(MISTAKES)
            assert set(thrown) <= {"TypeError", "EvalError"}, thrown
            assert await chat.page.evaluate("() => window.violations") >= 3

    play(story)


WIDE_THINGS = (
    "W" * 300
    + "\n\n"
    + "| a very wide column "
    + "| and another wide column " * 8
    + "|\n"
    + "|--" * 9
    + "|\n"
    + "| x " * 9
    + "|\n\n```\n"
    + "a line of code that goes on " * 12
    + "\n```\n\nhttps://example.org/"
    + "path/" * 60
    + "\n\n> "
    + "quoted" * 60
)


@pytest.mark.parametrize("width", [320, 767, 768, 1280])
def test_no_width_scrolls_sideways_and_targets_are_large(service: Any, play: Play, tab: Tab, width: int) -> None:
    name = "a-bot-with-a-name-of-forty-characters-xy"
    service.launch("echo", name)

    async def story() -> None:
        async with tab(service.url, viewport=ViewportSize(width=width, height=640)) as chat:
            assert await chat.sideways() == 0
            await chat.select(name)
            await chat.say(WIDE_THINGS)
            await expect(chat.replies.first).to_have_attribute("data-state", "done")
            assert await chat.sideways() == 0
            inner = "(e) => e.scrollWidth - e.clientWidth"
            assert await chat.page.locator("#scroller").evaluate(inner) == 0
            for button in ("Send", "Remove this bot", *(["Bots and sessions"] if width < 768 else [])):
                box = await chat.page.get_by_role("button", name=button, exact=True).bounding_box()
                assert box is not None
                assert min(box["width"], box["height"]) >= 44, button
            await chat.page.evaluate("() => document.getElementById('launch').showModal()")
            assert await chat.page.locator("#launch").evaluate(inner) == 0

    play(story)


def test_the_drawer_of_a_narrow_screen_is_out_of_reach_while_it_is_shut(service: Any, play: Play, tab: Tab) -> None:
    service.launch("echo")

    async def story() -> None:
        async with tab(service.url, viewport=ViewportSize(width=320, height=640)) as chat:
            await expect(chat.page.get_by_role("navigation")).to_have_count(0)
            await chat.page.get_by_role("main").get_by_role("button", name="Show the bots").click()
            await expect(chat.page.get_by_role("navigation", name="Bots and sessions")).to_be_visible()
            await expect(chat.page.get_by_role("main")).to_have_attribute("inert", "")
            await chat.page.keyboard.press("Escape")
            await expect(chat.page.get_by_role("navigation")).to_have_count(0)
            await expect(chat.page.get_by_role("button", name="Bots and sessions")).to_be_focused()

    play(story)
