"""A real browser without a window, and what every page must not do in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from studios import SECONDS

MOST_SHIFT = 0.1  # of the layout, by nobody's wish: what browsers' makers call good
MOST_TABS = 200  # keys, before something counts as out of reach
WATCH = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const moved = entry.sources.map((each) => each.node?.id || each.node?.nodeName);
    if (!entry.hadRecentInput) shifts.push([entry.value, ...moved]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's, drawing in software. Skips the test where it, or playwright, is not there."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if (program := shutil.which("chromium")) is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
        )
        yield opened
        opened.close()


@contextmanager
def visited(browser: Any, address: str, code: str, **how: Any) -> Iterator[Any]:
    """A studio's page. Afterwards: no error in its console, nothing was asked of other hosts, nothing jumped."""
    size = {"width": 1280, "height": 900}
    context = browser.new_context(**{"viewport": size, "accept_downloads": True, **how})
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.add_init_script(WATCH)
    errors: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: errors.append(in_words(message)) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/#{code}")
    page.wait_for_selector("#solver option", state="attached")
    page.wait_for_selector("body:not(.starting)")  # before it knows what there is, its tabs take no keys
    yield page
    assert errors == [], errors
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    shifts = page.evaluate("window.shifts")
    assert sum(value for value, *_ in shifts) < MOST_SHIFT, shifts
    context.close()


def in_words(message: Any) -> str:
    """What a page said in its console, and of which file."""
    return f"{message.text} ({message.location['url']})"


def pixels(page: Any, place: str = "#stage") -> bytes:
    return page.locator(place).first.screenshot()


def colours(picture: bytes) -> int:
    """How many, of a picture of at most a million pixels."""
    return len(Image.open(BytesIO(picture)).convert("RGB").getcolors(1 << 20))


def tab_to(page: Any, place: str) -> None:
    """Move the focus to an element by the Tab key alone."""
    wanted = page.locator(place).first
    for _ in range(MOST_TABS):
        if wanted.evaluate("it => it === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{place} is not reached by the Tab key")
