"""Models whose objects have turned copies: judged as the objects that they are."""

import judged_models
import pytest
import torch
from judged_models import judged_report, write_model, write_protocol
from tiny import write_things

from vader3d.data.archive.reader import Archive
from vader3d.evaluation import runner
from vader3d.evaluation.judged import open_judged_model
from vader3d.evaluation.report import nearest_objects
from vader3d.evaluation.runner import protocol_run
from vader3d.evaluation.sets import PictureSets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, a protocol, and a model of the data's 4 objects in 2 copies each."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_model(folder / "model", write_things(folder / "things.zip"), yaw_copies=2)
    write_protocol(folder / "tiny.json", steps=[1], sets=["reconstruction", "generated"], metrics=["frechet"])
    return folder


@pytest.fixture
def sets(folder):
    judged = open_judged_model(folder / "model", Archive(folder / "things.zip"), device="cpu")
    assert (len(judged), judged.copies, len(judged.codes)) == (4, 2, 8)
    return PictureSets(judged, protocol_run(folder / "tiny.json").protocol)


def test_reconstructions_are_of_copies_that_stand_as_their_pictures_show_them(sets):
    numbers = [0, 1, 2, 3]
    assert sets.codes("reconstruction", numbers).equal(sets.judged.codes(torch.tensor(sets.order)))


def test_the_nearest_object_is_found_by_any_of_its_copies(sets):
    codes = sets.judged.codes(torch.tensor([2, 6, 5]))  # object 2, its copy, and that of object 1
    nearest = nearest_objects(sets, sets.generator.to_latent(codes))
    assert nearest[:, 0].tolist() == [2, 2, 1]
    assert all(len(set(row)) == 3 for row in nearest.tolist())  # objects, none of them twice


def test_a_sample_that_is_a_turned_training_object_is_flagged(folder, monkeypatch):
    original = PictureSets.latents

    def copying(self, name, numbers, **settings):
        if name != "generated":
            return original(self, name, numbers, **settings)
        return self.generator.to_latent(self.judged.codes(torch.tensor(numbers) % 4 + 4))

    monkeypatch.setattr(PictureSets, "latents", copying)
    monkeypatch.setattr(runner, "load_features", judged_models.tiny_features)
    report = judged_report(folder / "model", folder / "things.zip", folder / "tiny.json", folder / "out")
    assert report["copied_percent_latents"] == report["copied_percent_pictures"] == 100
    assert report["training_objects"] == 4
    assert report["reconstructed_objects"] == 4
