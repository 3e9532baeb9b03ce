"""What a model says of its densities reaches every picture and every file of its objects."""

from pathlib import Path

import pytest
import torch

from vader3d.assets import Asset
from vader3d.autodecoder.extract import decode
from vader3d.autodecoder.model import Autodecoder, load_autodecoder
from vader3d.config import config_to_dict
from vader3d.generate import Generator
from vader3d.geometry.cameras import orbit_cameras
from vader3d.presets import preset
from vader3d.snapshots import save_snapshot

RAW_DENSITY = -2.0  # softplus makes .127 of it, times 25: solid; by relu, or with a scale of 1, nothing stands there


@pytest.fixture
def snapshot(tmp_path) -> Path:
    """A model of the tiny preset that decodes every code as a full grey cube."""
    config = preset("tiny").autodecoder
    assert (config.render.activation, config.render.density_scale) == ("softplus", 25.0)
    model = Autodecoder(config, 2)
    with torch.no_grad():
        model.decoder.head.weight.zero_()
        model.decoder.head.bias.view(config.decoder.subvoxels**3, -1)[:, 3] = RAW_DENSITY
    header = {"kind": "autodecoder", "config": config_to_dict(config), "objects": 2}
    save_snapshot(tmp_path / "model.safetensors", dict(model.state_dict()), header)
    return tmp_path


def test_a_decoded_asset_is_rendered_and_exported_as_its_model_reads_density(snapshot):
    model, config, _ = load_autodecoder(snapshot)
    generator = Generator(model.decoder, config.render)
    latents = generator.to_latent(torch.zeros(2, config.decoder.code_length))
    for whole in (generator.decode(latents), decode(model, latents), model(torch.arange(2))):
        for volume in whole.objects():
            asset = Asset(volume, config.render)
            assert asset.mesh().volume == pytest.approx(8, rel=0.02)
            _, opacity = asset.render(
                orbit_cameras(torch.tensor([30.0]), torch.tensor([10.0]), distance=4, fov_degrees=30, size=9)
            )
            assert opacity[0, 0, 4, 4] > 0.99
    assert asset.save(snapshot / "cube.glb").stat().st_size > 1000
