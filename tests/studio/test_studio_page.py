"""The page: small, foreign to other hosts, and in a real browser from the token to the download."""

import gzip
import hashlib
import re
import shutil

import pytest
import trimesh
from processes import ROOT
from studios import SECONDS, waited

from vader3d.studio.api import PAGE, PAGE_FILES, page_file

CHROMIUM = shutil.which("chromium")


def test_the_page_is_small_and_whole():
    assert {path.name.removesuffix(".gz") for path in PAGE.iterdir()} == {
        name for name, folder in PAGE_FILES.items() if folder == PAGE
    }
    assert sum(len(page_file(name)) for name in PAGE_FILES) <= 900_000


def test_what_is_not_ours_is_as_its_notice_says():
    data = gzip.decompress((PAGE / "model-viewer.min.js.gz").read_bytes())
    notice = " ".join((ROOT / "NOTICE").read_text(encoding="utf-8").split())
    assert hashlib.sha256(data).hexdigest() in notice
    assert b"Apache License" in data


def test_the_page_names_no_other_host_and_holds_no_script_of_its_own():
    own = [name for name in PAGE_FILES if name != "model-viewer.min.js"]
    texts = {name: gzip.decompress(page_file(name)).decode() for name in own}
    html, css, script = (
        "".join(text for name, text in texts.items() if name.endswith(end)) for end in (".html", ".css", ".js")
    )
    assert not re.search(r"https?:|//[a-z]+\.", html + css)
    assert not re.search(r"https?:", script)
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", html)
    assert "innerHTML" not in script
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len({*ids}) == len(ids)
    assert {*re.findall(r'\$\("([a-z-]+)"\)', script)} <= {*ids}
    labelled = {*re.findall(r'<label[^>]* for="([^"]+)"', html)}
    inputs = re.findall(r'<(?:input|textarea|select)[^>]*\bid="([^"]+)"', html)
    inside = re.findall(r'<label(?![^>]* for=)[^>]*>[^<]*<(?:input|select) id="([^"]+)"', html)
    inside += re.findall(r'<label class="check"><input id="([^"]+)"', html)
    assert {*inputs} <= labelled | {*inside}


@pytest.fixture(scope="module")
def browser():
    """Debian's."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser, studio):
    """Opened by a code; its console stays free of errors, and nothing is asked of other hosts."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    errors, asked = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{studio.address}/#{studio.keys.new_code()}")
    page.wait_for_selector("#solver option", state="attached")
    yield page
    assert errors == []
    assert [url for url in asked if not url.startswith((studio.address, "data:", "blob:"))] == []
    context.close()


def pixels(page) -> bytes:
    return page.locator("#stage").screenshot()


def test_from_a_wish_to_a_file(page, studio, tmp_path):
    """Make, watch, orbit, download, reload; by the keyboard alone where it makes."""
    assert page.locator("#prompts").is_hidden()  # this model knows no words
    assert page.evaluate("location.hash") == ""
    page.locator("#seeds").fill("41")
    page.locator("#count").fill("2")
    page.locator("summary").press("Enter")
    page.locator("#steps").fill("8")
    page.locator("#count").press("Enter")
    page.wait_for_selector("#previews img", state="attached")
    page.reload()  # in the middle
    page.wait_for_selector("#gallery .thing")
    waited(lambda: page.locator("#gallery li:first-child .thing").count(), lambda count: count == 2)
    thing = page.locator("#gallery li:first-child .thing").first
    thing.focus()
    thing.press("Enter")
    waited(lambda: page.evaluate("document.querySelector('model-viewer')?.loaded"), bool)
    page.wait_for_timeout(1000)
    before = pixels(page)
    page.evaluate("document.querySelector('model-viewer').cameraOrbit = '100deg 60deg auto'")
    page.evaluate("document.querySelector('model-viewer').jumpCameraToGoal()")
    waited(lambda: (page.wait_for_timeout(200), pixels(page))[1], lambda now: now != before)
    page.screenshot(path=tmp_path / "studio.png", full_page=True)
    with page.expect_download() as download:
        page.locator("#take button").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "seed41-000.glb"
    assert len(trimesh.load(path, force="mesh").faces) > 0
    (asset,) = [a["id"] for a in studio.get("/v1/jobs?most=1").json[0]["assets"] if a["index"] == 0]
    assert path.read_bytes() == studio.get(f"/v1/assets/{asset}.glb").body
    page.locator("#ways button", has_text="Normals").click()
    waited(lambda: page.evaluate("document.querySelector('#stage img')?.naturalWidth"), bool)


def test_a_job_is_cancelled_at_phone_width(page, studio, tmp_path):
    page.set_viewport_size({"width": 375, "height": 700})
    page.locator("summary").click()
    page.locator("#steps").fill("256")
    page.locator("#solver").select_option("heun")
    page.locator("#make button.first").click()
    page.wait_for_selector("#previews img", state="attached")
    page.locator("#cancel").click()
    page.wait_for_selector("#work", state="hidden")
    assert studio.get("/v1/jobs?most=1").json[0]["state"] == "cancelled"
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.screenshot(path=tmp_path / "phone.png")


def test_a_stranger_is_asked_for_the_token(browser, studio):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.goto(f"{studio.address}/#wrong")
    page.wait_for_selector("#login[open]")
    page.locator("#token").fill("wrong")
    page.locator("#token").press("Enter")
    page.wait_for_selector("#login-trouble:not(:empty)")
    page.locator("#token").fill(studio.keys.token)
    page.locator("#token").press("Enter")
    page.wait_for_selector("#login", state="hidden")
    page.wait_for_selector("#solver option", state="attached")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 30)"
    assert page.evaluate("document.cookie") == ""
    context.close()
