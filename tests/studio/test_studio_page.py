"""The page: small, foreign to other hosts, and in a real browser from the token to the download."""

import gzip
import hashlib
import re

import pytest
import trimesh
from browsers import chromium, colours, pixels, tab_to, visited
from figures import nodding
from processes import ROOT
from studios import SECONDS, log_line, studio_of, waited
from tiny import THINGS

from vader3d.data.motion import write_motion
from vader3d.files import held
from vader3d.studio.api import PAGE, PAGE_FILES, page_file


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
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser, studio):
    """Opened by a code; as `visited` watches it."""
    with visited(browser, studio.address, studio.keys.new_code()) as page:
        yield page


def chosen_and_looked_at(page):
    """The newest object, in its viewer."""
    page.locator("#gallery .thing").first.click()
    page.locator("#ways button", has_text="Orbit").click()
    waited(lambda: page.evaluate("document.querySelector('model-viewer')?.loaded"), bool)


def test_from_a_wish_to_a_file_by_the_keyboard_alone(page, studio, tmp_path):
    """Make, watch, reload in the middle, look in every way, download."""
    assert page.locator("#prompts").is_hidden()  # this model knows no words
    assert page.evaluate("location.hash") == ""
    tab_to(page, "#count")
    page.keyboard.press("Control+a")
    page.keyboard.type("2")
    tab_to(page, "#seeds")
    page.keyboard.press("Control+a")
    page.keyboard.type("41")
    tab_to(page, "summary:not(#known summary)")
    page.keyboard.press("Enter")
    tab_to(page, "#steps")
    page.keyboard.type("24")
    tab_to(page, "#make button.first")
    page.keyboard.press("Enter")
    page.wait_for_selector("#previews img[src]", state="attached")
    page.reload()  # in the middle
    page.wait_for_selector("#gallery .thing")
    waited(lambda: page.locator("#gallery li:first-child .thing").count(), lambda count: count == 2)
    (job,) = studio.get("/v1/jobs?most=1").json
    assert (job["request"]["seeds"], job["request"]["count"], job["request"]["steps"]) == ([41], 2, 24)
    first = f"#asset-{job['assets'][0]['id']}"
    tab_to(page, first)
    page.keyboard.press("Enter")
    waited(lambda: page.evaluate("document.querySelector('model-viewer')?.loaded"), bool)
    assert page.locator(first).get_attribute("aria-pressed") == "true"
    assert page.locator("#nearest .thing").count() == 3
    ways = {}
    for way in ("Orbit", "Wireframe", "Splats", "Turntable", "Depth", "Normals"):
        tab_to(page, f"#ways button:nth-child({len(ways) + 1})")
        page.keyboard.press("Enter")
        if way in ("Orbit", "Wireframe", "Splats"):
            ways[way] = turned_by_arrow_keys(page, "#splats" if way == "Splats" else "model-viewer")
        else:
            waited(lambda: page.evaluate("document.querySelector('#stage > img')?.naturalWidth"), bool)
            ways[way] = pixels(page)
        assert colours(ways[way]) > 8, way
    assert len({*ways.values()}) == 6
    tab_to(page, "#take button")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "seed41-000.glb"
    assert len(trimesh.load(path, force="mesh").faces) > 0
    assert path.read_bytes() == studio.get(f"/v1/assets/{job['assets'][0]['id']}.glb").body


def turned_by_arrow_keys(page, place):
    """What is to be seen afterwards; it must have changed."""
    page.wait_for_selector(place)
    waited(lambda: colours(pixels(page)), lambda count: count > 8)
    page.wait_for_timeout(500)
    tab_to(page, place)
    before = pixels(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    return waited(lambda: (page.wait_for_timeout(200), pixels(page))[1], lambda now: now != before)


@pytest.fixture
def phone(browser, studio):
    size = {"width": 375, "height": 700}
    with visited(browser, studio.address, studio.keys.new_code(), viewport=size, has_touch=True) as page:
        yield page


def test_a_job_is_cancelled_at_phone_width(phone, studio):
    page = phone
    page.locator("summary", has_text="Settings").click()
    page.locator("#steps").fill("256")
    page.locator("#solver").select_option("heun")
    page.locator("#make button.first").click()
    page.wait_for_selector("#previews img[src]", state="attached")
    page.locator("#cancel").click()
    waited(lambda: page.locator("#progress-words").text_content(), lambda words: words.startswith("cancelled"))
    assert page.locator("#cancel").is_disabled()
    assert studio.get("/v1/jobs?most=1").json[0]["state"] == "cancelled"
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.locator("#tab-browse").click()
    page.wait_for_selector("#views .thing")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_data_and_a_training_are_browsed_live(page, run):
    """By arrow keys from tab to tab; what is chosen survives a reload."""
    page.locator("#tab-make").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#views .thing")
    assert page.evaluate("document.activeElement.id") == "tab-browse"
    assert page.locator("#objects .thing").count() == 4
    page.locator("#words").fill("green")
    page.locator("#words").press("Enter")
    waited(lambda: page.locator("#objects .thing").count(), lambda count: count == 1)
    page.locator("#objects .thing").click()
    waited(lambda: page.locator("#object-title").text_content(), lambda title: title == "green table")
    assert page.locator("#captions li").all_text_contents() == ["a green table"]
    page.locator("#cameras").focus()
    before = pixels(page, "#cameras")
    page.keyboard.press("ArrowLeft")
    assert pixels(page, "#cameras") != before
    assert colours(before) > 8
    seen = pixels(page, "#views .thing")
    page.locator("#masks").check()
    assert colours(pixels(page, "#views .thing")) < colours(seen) < 5000
    page.reload()
    state = page.locator("#run-0 .state")
    waited(lambda: state.text_content() if state.count() else "", lambda words: words.startswith("stopped: "))
    page.wait_for_selector("#run-0 svg")
    with held(run):
        log_line(run, 750)
        waited(
            state.text_content,
            lambda words: words.startswith("running: 75 %, 750 objects seen") and "25 s left" in words,
        )


def test_an_object_moves_as_it_is_told_and_stops(browser, moving, tmp_path):
    """By a clip that was learned, then by a motion from a file; the viewer plays it until it is paused."""
    write_motion(tmp_path / "mine.json", nodding(8, degrees=60))
    moving.make(seeds=[61])
    with visited(browser, moving.address, moving.keys.new_code()) as page:
        page.wait_for_selector("#move")
        assert page.locator("#clip option").all_text_contents() == [*THINGS, "a motion of mine"]

        def moved() -> int:
            return page.locator("#gallery li h3").all_text_contents().count("moving")

        others = moved()  # of tests before this one
        page.locator("#move button").click()
        waited(moved, lambda count: count == others + 1)
        page.wait_for_selector("#gallery li:first-child .thing[aria-pressed=true]")
        assert page.locator("#vary").is_hidden()
        page.locator("#clip").select_option("")
        page.locator("#motion").set_input_files(tmp_path / "mine.json")
        page.locator("#move button").click()
        waited(moved, lambda count: count == others + 2)
        page.wait_for_selector("#gallery li:first-child .thing[aria-pressed=true]")
        viewer = "document.querySelector('model-viewer')"
        waited(lambda: page.evaluate(f"{viewer}?.availableAnimations?.length"), lambda count: count == 1)
        page.wait_for_selector("#pause")
        before = pixels(page)
        waited(lambda: pixels(page), lambda now: now != before)  # of itself
        page.locator("#pause").click()
        assert page.evaluate(f"{viewer}.paused")
        page.locator("#ways button", has_text="Turntable").click()
        waited(lambda: page.evaluate("document.querySelector('#stage > img')?.naturalWidth"), bool)
        assert page.locator("#pause").is_hidden()


def test_an_object_is_made_of_photographs_that_were_dropped(page, studio, scene):
    assert page.locator("#move").is_hidden()  # this model's objects have no parts
    page.locator("summary", has_text="From photographs").click()
    page.locator("#photos").set_input_files([*sorted((scene / "images").iterdir()), scene / "transforms.json"])
    page.locator("#rebuild button").click()
    waited(lambda: page.locator("#gallery li:first-child h3").text_content(), lambda words: words == "of photographs")
    assert page.locator("#sent").text_content() == "6 sent"
    waited(lambda: page.locator("#gallery li:first-child .thing").count(), lambda count: count == 1)
    assert "held-out pictures: " in page.locator("#gallery li:first-child p").text_content()
    page.locator("#gallery li:first-child .thing").click()
    waited(lambda: page.evaluate("document.querySelector('model-viewer')?.loaded"), bool)
    page.locator("#photos").set_input_files([scene / "transforms.json"])
    page.locator("#rebuild button").click()
    page.wait_for_selector("#trouble-pictures:not(:empty)")
    assert page.locator("#trouble-pictures").text_content() == "None of the photographs is named in transforms.json."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_by_machines_that_read_aloud(browser, studio, scheme):
    """axe-core, with an object chosen and in the other tab."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    studio.make(seeds=[51])
    with visited(browser, studio.address, studio.keys.new_code(), color_scheme=scheme) as page:
        chosen_and_looked_at(page)
        page.locator("summary", has_text="From photographs").click()
        faults = axe.run(page).response["violations"]
        page.locator("#tab-browse").click()
        page.wait_for_selector("#views .thing")
        page.wait_for_selector("#run-0 svg")
        faults += axe.run(page).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in faults] == []


def test_a_damaged_entry_and_an_empty_one_are_shown_as_such(browser, model, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / ("f" * 16 + ".json")).write_text("[1]")
    with (
        studio_of(model, tmp_path, at_work=False) as made,
        visited(browser, made.address, made.keys.new_code()) as page,
    ):
        page.wait_for_selector("#gallery li")
        assert "damaged" in page.locator("#gallery li").text_content()
        assert page.locator("#tabs").is_hidden()  # nothing to browse was named


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
