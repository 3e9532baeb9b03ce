"""Variants differ in what they are named for and in nothing else."""

import json
from itertools import pairwise

import pytest

from vader3d.autodecoder.model import Autodecoder
from vader3d.cli.main import main
from vader3d.config import config_from_dict, config_to_dict
from vader3d.diffusion.model import build_denoiser
from vader3d.diffusion.solvers import STOCHASTIC
from vader3d.evaluation.protocol import Reconstruction, load_protocol
from vader3d.study.plans import STUDIES, StudyConfig, base_of, study_named, variants_of
from vader3d.training.run import flatten


def variants(name: str, *settings: str) -> dict[str, StudyConfig]:
    return variants_of(study_named(name), preset_name="small-grid", settings=settings)


def differing(one: StudyConfig, other: StudyConfig) -> set[str]:
    """The dotted fields in which two configurations differ."""
    before, after = flatten(config_to_dict(one)), flatten(config_to_dict(other))
    return {name for name in before if before[name] != after[name]}


def test_table2_removes_one_thing_after_the_other():
    configs = list(variants("table2").values())
    steps = [differing(before, after) for before, after in pairwise(configs)]
    assert steps == [
        {"autodecoder.views_per_object"},
        {"autodecoder.decoder.attention_resolutions"},
        {"autodecoder.decoder.blocks_per_level"},
        {"autodecoder.decoder.code_length"},
    ]
    last = configs[-1].autodecoder
    assert (last.views_per_object, last.decoder.blocks_per_level, last.decoder.code_length) == (1, 1, 64)


@pytest.mark.parametrize("name", STUDIES)
def test_all_variants_see_as_many_objects(name):
    lengths = {
        (config.autodecoder.loop.objects_seen, config.diffusion.loop.objects_seen) for config in variants(name).values()
    }
    assert len(lengths) == 1


@pytest.mark.parametrize("name", STUDIES)
def test_settings_reach_every_variant_but_not_what_is_varied(name):
    plain = variants(name)
    changed = variants(name, "autodecoder.loop.batch=3", "protocol.views=7")
    for variant in plain:
        assert differing(plain[variant], changed[variant]) == {"autodecoder.loop.batch", "protocol.views"}


def test_varied_fields_cannot_be_set_away():
    churned = [config.protocol.churn.amount for config in variants("steps", "protocol.churn.amount=3").values()]
    assert churned == [0, 40]


def test_the_churned_sampler_is_the_paper_s():
    assert variants("steps")["churned"].protocol.churn == STOCHASTIC


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_judged_by_the_protocol_of_its_name(name):
    protocol, _ = load_protocol(STUDIES[name].protocol)
    assert protocol.name == f"study-{name}"
    assert base_of(STUDIES[name], preset_name="small-grid", settings=()).protocol == protocol
    keys = {column.key for column in STUDIES[name].columns}
    assert ("frechet_generated" in keys, "heldout_psnr" in keys) == (bool(protocol.steps), not protocol.steps)


def test_fields_of_what_a_protocol_does_not_measure_are_refused_with_the_way_to_set_them():
    with pytest.raises(
        ValueError, match=r"protocol\.reconstruction: wanted fields to set .*views; got null; give it whole"
    ):
        variants("steps", "protocol.reconstruction.views=1")
    whole = variants("steps", 'protocol.reconstruction={"views": 1}')["churned"].protocol.reconstruction
    assert whole == Reconstruction(views=1)


def test_networks_of_figure_3_are_of_one_size():
    for blocks in (1, 2):
        sizes = []
        for config in variants("fig3", f"diffusion.unet.blocks_per_level={blocks}").values():
            denoiser = build_denoiser(config.diffusion, config.autodecoder.decoder.latent_shape, rank=0)
            sizes.append(sum(parameter.numel() for parameter in denoiser.network.parameters()))
        assert max(sizes) < 1.05 * min(sizes)


def test_autodecoders_of_figure_3_are_the_same_network():
    first, *others = [Autodecoder(config.autodecoder, 3) for config in variants("fig3").values()]
    shapes = {name: tensor.shape for name, tensor in first.state_dict().items()}
    assert all({name: tensor.shape for name, tensor in model.state_dict().items()} == shapes for model in others)


def test_every_variant_can_be_built():
    for name in ("table2", "hash"):
        for config in variants(name).values():
            assert len(Autodecoder(config.autodecoder, 163).codes) == 163


def test_seeds_change_both_trainings_and_the_protocol_alone():
    config = variants("steps")["churned"]
    assert differing(config, config.seeded(5)) == {"autodecoder.loop.seed", "diffusion.loop.seed", "protocol.seed"}


def test_a_dry_run_prints_every_variant_with_its_protocol(capsys, tmp_path):
    output = tmp_path / "studies"
    main(["study", "steps", "--data", "none", "--output", str(output), "--set", "protocol.samples=7", "--dry-run"])
    printed = json.loads(capsys.readouterr().out)
    expected = variants("steps", "protocol.samples=7")
    assert {name: config_from_dict(StudyConfig, values) for name, values in printed.items()} == expected
    assert expected["churned"].protocol.samples == 7
    assert not output.exists()


def test_an_unknown_study_names_the_nearest():
    with pytest.raises(ValueError, match="nearest: table2"):
        study_named("table3")
