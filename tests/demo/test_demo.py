"""The demo in half a minute: everything is written, the clock is kept, a second call finds it done."""

import json
import re
import time

import pytest

from vader3d.data.making.chairs import prepare_chairs
from vader3d.demo.run import ASSETS, run_demo
from vader3d.training.log import read_metrics

KEYS = {
    "seconds_total",
    "heldout_psnr",
    "heldout_iou",
    "frechet_generated",
    "frechet_direct_latent_sampling",
    "frechet_direct_latent_sampling_fitted",
    "kernel_generated",
    "kernel_direct_latent_sampling",
    "kernel_direct_latent_sampling_fitted",
    "frechet_reconstruction",
    "frechet_heldout_views",
    "seconds_per_sample",
    "feature_network",
    "objects",
    "views",
    "seconds_autodecoder",
    "seconds_diffusion",
    "coverage",
    "mmd",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    prepare_chairs(folder / "chairs.zip", count=4, views=12, size=32)
    report = run_demo(str(folder / "chairs.zip"), minutes=0.5, output=folder / "run", seed=0)
    return folder, report


def test_the_report_has_all_keys(finished):
    folder, report = finished
    assert report.keys() >= KEYS
    assert json.loads((folder / "run" / "report.json").read_text()) == report


def test_assets_and_page_are_written(finished):
    folder, report = finished
    meshes = list((folder / "run" / "assets").glob("*.glb"))
    assert len(meshes) == ASSETS - report["empty_assets"]
    page = (folder / "run" / "index.html").read_text(encoding="utf-8")
    assert page.count("<img") > ASSETS
    assert not re.search(r"(src|href|srcset)=\"?\w+://", page)  # nothing from outside


def test_charts_draw_every_loss_term_and_nothing_else(finished):
    folder, _ = finished
    page = (folder / "run" / "index.html").read_text(encoding="utf-8")
    drawn = re.findall(r'class="key c\d">(\w+) <b>', page)
    assert drawn == ["perceptual", "mask", "pixel", "denoising"]
    for stage in ("autodecoder", "diffusion"):
        steps = [line for line in read_metrics(folder / "run" / stage) if "loss" in line]  # the last may be of latents
        assert steps
        for line in steps:
            assert sum(line.get(name, 0) for name in drawn) == pytest.approx(line["loss"], rel=1e-5)


def test_stages_take_the_time_they_were_given(finished):
    _, report = finished
    assert 8 < report["seconds_autodecoder"] < 20
    assert report["seconds_diffusion"] > 4


def test_a_second_call_finds_it_done(finished):
    folder, report = finished
    start = time.monotonic()
    assert run_demo(str(folder / "chairs.zip"), minutes=0.5, output=folder / "run", seed=0) == report
    assert time.monotonic() - start < 1


def test_other_data_in_the_same_folder_is_refused(finished):
    folder, _ = finished
    prepare_chairs(folder / "others.zip", count=3, views=12, size=32, seed=1)
    with pytest.raises(ValueError, match="another configuration"):
        run_demo(str(folder / "others.zip"), minutes=0.5, output=folder / "run", seed=0)
