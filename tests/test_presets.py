"""The presets of the paper have the paper's sizes."""

import pytest
import torch

from vader3d.cli.presets import COLUMNS, TABLE, field_rows, presets_table
from vader3d.config import described_fields, field_paths, override
from vader3d.costs import decoder_parameters
from vader3d.diffusion.model import build_denoiser
from vader3d.presets import PRESETS

SIZES = {
    "abo-tables": (45.9, 216),
    "photoshape-chairs": (55.3, 216),
    "celebv-text": (45.9, 782),
    "mvimgnet": (55.3, 782),
    "objaverse": (55.3, 930),
}


@pytest.mark.parametrize("name", SIZES)
def test_both_networks_have_the_paper_s_sizes(name):
    chosen, (decoder, denoiser) = PRESETS[name], SIZES[name]
    assert decoder_parameters(chosen.autodecoder.decoder) / 1e6 == pytest.approx(decoder, abs=0.06)
    with torch.device("meta"):
        network = build_denoiser(chosen.diffusion, chosen.autodecoder.decoder.latent_shape, rank=0).network
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(denoiser, abs=0.5)


# Table 5: depth, mask weight, volume, extra channels; U-Net channels, depth; token width, transformer depth.
TABLE_5 = {
    "abo-tables": (2, 10, 128, 0, 128, 2, 0, 1),
    "photoshape-chairs": (4, 10, 64, 0, 128, 2, 0, 1),
    "celebv-text": (2, 10, 64, 10, 192, 3, 1024, 1),
    "mvimgnet": (4, 10, 64, 0, 192, 3, 1024, 1),
    "objaverse": (4, 0, 64, 0, 192, 3, 1024, 2),
}


@pytest.mark.parametrize("name", TABLE_5)
def test_both_stages_are_those_of_table_5(name):
    first, second = PRESETS[name].autodecoder, PRESETS[name].diffusion
    decoder, unet = first.decoder, second.unet
    assert TABLE_5[name] == (
        decoder.blocks_per_level,
        first.losses.mask,
        decoder.volume_resolution,
        decoder.extra_channels,
        unet.model_channels,
        unet.blocks_per_level,
        unet.token_dim,
        unet.transformer_depth,
    )
    assert (decoder.code_length, max(decoder.channels), decoder.attention_resolutions) == (1024, 512, (8, 16))
    assert (decoder.latent_shape, first.views_per_object, first.render.samples_per_ray) == ((256, 8, 8, 8), 4, 128)
    assert (first.optimiser.name, first.optimiser.lr, first.code_lr, first.optimiser.betas) == (
        "adam",
        5e-4,
        5e-4,
        (0.5, 0.999),
    )
    assert (second.optimiser.name, second.optimiser.lr) == ("adam", 4.5e-5)
    assert (unet.channel_multipliers, unet.attention_resolutions, unet.token_resolutions) == ((3, 4), (8, 4), (8, 4))
    assert first.loop.cooldown == second.loop.cooldown == 1.0


def test_the_printed_table_is_what_tracing_gives():
    assert presets_table() == TABLE.read_text(encoding="utf-8"), "run `python -m vader3d.cli.presets`"


def test_every_preset_has_a_row_with_all_columns_and_a_note():
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = lines[1 : 1 + len(PRESETS)]
    assert [row.split()[0] for row in rows] == list(PRESETS)
    for row in rows:
        assert [len(part.split()) for part in row.split("|")] == [3, 4, 4]
        assert [len(part) for part in row.split("|")] == [len(part) for part in COLUMNS.split("|")]
    assert all(f"{name}: {chosen.note}" in lines and chosen.score for name, chosen in PRESETS.items())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("stage", ["autodecoder", "diffusion"])
def test_every_settable_field_has_a_meaning(name, stage):
    config = getattr(PRESETS[name], stage)
    described = described_fields(config)
    assert [field.path for field in described] == field_paths(config)
    assert [field.path for field in described if len(field.meaning.split()) < 2] == []


@pytest.mark.parametrize("name", PRESETS)
def test_fields_as_they_are_listed_set_what_is_set(name):
    for config in (PRESETS[name].autodecoder, PRESETS[name].diffusion):
        listed = [row.partition("    ")[0].rstrip().replace(" = ", "=", 1) for row in field_rows(config)]
        assert override(type(config)(), listed) == config
