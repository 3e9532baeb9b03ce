"""The presets of the paper have the paper's sizes."""

import pytest
import torch

from vader3d.cli.presets import COLUMNS, preset_row
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


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_s_row_has_all_its_columns(name):
    row = preset_row(name)
    assert row.startswith(name)
    assert [len(part.split()) for part in row.split("|")] == [3, 4, 4]
    assert [len(part) for part in row.split("|")] == [len(part) for part in COLUMNS.split("|")]
    assert PRESETS[name].score
