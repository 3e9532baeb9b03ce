"""The page of `inspect`: nothing beside it is needed, what others wrote stays text, and a browser draws it all."""

import json
import re
import shutil

import numpy as np
import pytest
from tiny import Box, Sphere, pictures_of, ring

from vader3d.captions import Caption
from vader3d.cli.main import main
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.inspection.looks import OUTLINE, outlined
from vader3d.data.writer import PreparedObject

NAMES = ("green stool", "red lamp", "tower")
EVIL = "<img src=x onerror=alert(1)></script>"


def lopsided(height):
    """A thing that looks different from everywhere."""
    return (Box((0.2, 0.6, 0.3), half=(0.5, 0.3, height)), Sphere((0.9, 0.2, 0.1), (0.3, 0.2, height), 0.25))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A good object, one with a hostile caption, and one with an empty mask."""
    path = tmp_path_factory.mktemp("data") / "things.zip"
    cameras = ring(8, 32)
    with ArchiveWriter(path, title=f"things {EVIL}", resolution=(32, 32)) as writer:
        for number, name in enumerate(NAMES):
            pictures = pictures_of(lopsided(0.2 + 0.1 * number), cameras)
            if number == 2:
                pictures[3] = 0
            captions = (Caption(f"a {name}" if number != 1 else EVIL, "mine"),)
            writer.add(PreparedObject(ObjectRecord(name, captions, "thing"), pictures, cameras))
    return path


@pytest.fixture(scope="module")
def look(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    main(["inspect", str(data), "--output", str(folder)])
    return folder


def test_the_page_holds_everything_and_runs_nothing_of_others(look):
    html = (look / "index.html").read_text("utf-8")
    assert EVIL not in html
    assert "&lt;img src=x" in html
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert "default-src &#39;none&#39;" in policy
    assert html.count("<iframe") == 1
    assert re.search(r'<iframe[^>]*sandbox="allow-scripts"', html)
    assert html.index("<strong>tower") < html.index("<strong>green stool")  # faulty ones first
    assert html.count('class="warning"') == 1


def test_strict_ends_with_one_where_there_are_problems(data, look, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(data), "--output", str(tmp_path / "look"), "--strict", "--format", "json"])
    assert ended.value.code == 1
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((look / "report.json").read_text("utf-8"))
    (problem,) = said["problems"]
    assert (problem["object"], problem["views"], problem["all_views"]) == (NAMES[2], [3], 8)
    assert "nothing to be seen" in problem["fault"]


def test_strict_ends_well_where_there_is_no_problem(tmp_path):
    cameras = ring(8, 32)
    with ArchiveWriter(tmp_path / "a.zip", title="a", resolution=(32, 32)) as writer:
        writer.add(PreparedObject(ObjectRecord("a"), pictures_of(lopsided(0.3), cameras), cameras))
    main(["inspect", str(tmp_path / "a.zip"), "--output", str(tmp_path / "look"), "--strict"])


def test_an_outline_goes_round_the_mask_and_not_over_it():
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[10:20, 10:20] = (10, 200, 30, 255)
    tile = outlined(picture)
    assert tile.shape == (160, 160, 3)
    marked = (tile == OUTLINE).all(-1)
    assert marked[39, 40:80].all()
    assert marked.sum() == 4 * 40 + 4
    assert (tile[40:80, 40:80] == (10, 200, 30)).all()


@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_draws_the_page(look, width):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        errors, asked = [], []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"file://{look}/index.html")
        inner = page.frames[1]
        inner.wait_for_selector("#pictures div")
        page.locator("iframe").scroll_into_view_if_needed()
        inner.evaluate("show()")
        drawn = inner.evaluate(
            "() => { const canvas = document.querySelector('canvas'), pen = canvas.getContext('2d');"
            " return new Set(new Uint32Array(pen.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size; }"
        )
        wide = page.evaluate("document.documentElement.scrollWidth")
        page.screenshot(path=look / f"{width}.png")
        browser.close()
    assert errors == []
    assert drawn > 20
    assert wide <= width
    assert [url for url in asked if not url.startswith(("file://", "data:", "about:"))] == []
