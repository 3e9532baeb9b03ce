"""The result page: self-contained, well-formed, safe against what names may hold, and complete."""

import base64
import io
import json
import re
from html import unescape

import numpy as np
import pytest
import torch
from document import Document
from PIL import Image

from vader3d.evaluation.score_sections import TIMES, facts, number_sections
from vader3d.evaluation.score_table import scores_in
from vader3d.pages.charts import Curve
from vader3d.pages.page import Card, Chart, Charts, Comparison, Gallery, Strip, Table, picture, turntable, write_page

REPORT = {
    "heldout_psnr": 26.34,
    "heldout_iou": 0.8871,
    "seconds_total": 590.0,
    "seconds_autodecoder": 340.0,
    "frechet_generated": 85.0,
    "frechet_direct_latent_sampling": 170.0,
    "frechet_heldout_views": 20.0,
    "kernel_generated": 1.9,
    "kernel_heldout_views": -0.03,
    "feature_network": "EfficientNet-Lite0@128",
    "feature_checksum": "5793" * 16,
    "something_new": "kept <in> the report",
}
NAME = 'a "chair" <script>alert(1)</script> 椅子'


def still() -> torch.Tensor:
    return torch.linspace(0, 1, 3 * 16 * 16).reshape(3, 16, 16)


@pytest.fixture
def source(tmp_path) -> str:
    frames = np.zeros((4, 16, 16, 4), np.uint8)
    for number, frame in enumerate(frames):
        frame[4:12, 2 * number : 2 * number + 8] = 255
    card = Card(NAME, turntable(frames, f"{NAME}, turning"), "assets/000.glb", [picture(still(), "near")], "Nearest")
    strip = Strip(NAME, {"real": [picture(still(), "real view")], "ours": [picture(still(), "our view")]})
    curve = Curve("loss", range(100), [2.0 / (1 + k) for k in range(100)])
    sections = [
        Gallery("New objects", "Made of noise.", [card]),
        Comparison("Reconstructions", "Held out.", [strip]),
        Charts("Training", "Losses.", [Chart("Stage 1", [curve], "objects seen", "loss", logarithmic=True)]),
        Table("Published", "Theirs.", ["", "Frechet distance", "KID"], [[NAME, 11.28, None]]),
    ]
    sections += number_sections(REPORT)
    write_page(tmp_path / "index.html", REPORT, sections, title="New objects & more", text="a < b", facts=facts(REPORT))
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    return (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_page_is_well_formed_and_needs_nothing_from_outside(source):
    document = Document(source)
    sources = [attrs[key] for _, attrs in document.elements for key in ("src", "srcset") if key in attrs]
    assert len(sources) == 5
    assert all(address.startswith("data:image/webp;base64,") for address in sources)
    assert {tag for tag, _ in document.elements}.isdisjoint({"script", "link", "iframe"})
    assert re.findall(r"https?:|url\(|@import", source) == []
    links = {attrs["href"] for tag, attrs in document.elements if tag == "a"}
    assert {link for link in links if not link.startswith("#part-")} == {"assets/000.glb"}
    (policy,) = (attrs["content"] for _, attrs in document.elements if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")


def test_every_picture_is_described_and_animations_can_stand_still(source):
    document = Document(source)
    pictures = [attrs for tag, attrs in document.elements if tag == "img"]
    assert [attrs["alt"] for attrs in pictures] == [f"{NAME}, turning", "near", "real view", "our view"]
    assert all(attrs.get("aria-label") for tag, attrs in document.elements if tag == "svg")

    def frames_of(address: str) -> int:
        return Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).n_frames

    (calm,) = (attrs for tag, attrs in document.elements if tag == "source")
    assert calm["media"] == "(prefers-reduced-motion: reduce)"
    assert (frames_of(pictures[0]["src"]), frames_of(calm["srcset"])) == (4, 1)


def test_names_are_shown_as_they_are_and_never_run(source):
    assert "<script" not in source
    assert Document(source).text.count(NAME) == 3
    assert "New objects & more" in Document(source).text


def test_scores_are_explained_and_the_whole_report_is_there(source):
    text = " ".join(Document(source).text.split())
    assert "26.3 dB" in text
    assert "no view of these was ever trained on" in text
    assert "Generated / N(0, I) 0.5 lower is better Ratio" in text  # 85 / 170
    assert all(score.title in text and score.meaning in text for score in scores_in(REPORT) if score.key not in TIMES)
    assert "9.83" in text  # minutes in all
    assert "340.0 s" in text
    assert json.loads(unescape(source.split("<pre>")[1].split("</pre>")[0])) == REPORT


def test_bars_are_as_long_as_their_values(source):
    widths = [float(width) for width in re.findall(r'style="width: ([\d.]+)%', source)]
    assert widths == [11.8, 50.0, 100.0, 0.5, 100.0, 100.0]  # Frechet 20, 85, 170; kernel -0.03, 1.9; seconds


def test_a_page_of_an_empty_report_and_no_sections_can_be_written(tmp_path):
    write_page(tmp_path / "index.html", {}, [], title="Nothing yet")
    assert "Nothing yet" in Document((tmp_path / "index.html").read_text(encoding="utf-8")).text
