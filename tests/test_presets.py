"""The presets of the paper have the paper's sizes (METHOD 6.2)."""

import pytest
import torch

from vader3d.costs import decoder_parameters
from vader3d.diffusion.train import build_denoiser
from vader3d.presets import PRESETS

SIZES = {
    "abo-tables": (45.9, 216), "photoshape-chairs": (55.3, 216), "celebv-text": (45.9, 782), "mvimgnet": (55.3, 782),
    "objaverse": (55.3, 930),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_both_networks_have_the_paper_s_sizes(name):
    chosen, (decoder, denoiser) = PRESETS[name], SIZES[name]
    assert decoder_parameters(chosen.autodecoder.decoder) / 1e6 == pytest.approx(decoder, abs=0.06)
    with torch.device("meta"):
        network = build_denoiser(chosen.diffusion, chosen.autodecoder.decoder.latent_shape, rank=0).network
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(denoiser, abs=0.5)
