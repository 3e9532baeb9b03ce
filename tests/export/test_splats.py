"""Splats against the volume's own pictures, through a rasteriser of another hand; and their two files."""

import numpy as np
import pytest
import torch
from glb_files import array_of, document_of
from rasteriser import rasterise, read_splats
from solids import EGG, MIDDLE, egg, egg_volume

from vader3d.assets import Asset
from vader3d.export.placement import ExportConfig
from vader3d.export.splats import FAINTEST, peaks, volume_to_splats
from vader3d.geometry.cameras import orbit_cameras
from vader3d.measures.pictures import foreground_psnr, iou
from vader3d.render import RenderConfig, Volume

CAMERAS = orbit_cameras(torch.arange(8) * 45.0, torch.tensor([0.0, 20, 40, -10, 20, 30, -30, 60]), size=96)
AS_WE_ARE = ExportConfig(up="z")


def likeness(asset: Asset, path) -> tuple[float, float]:
    """Foreground PSNR in dB and IoU of silhouettes, means of eight views."""
    splats = read_splats(asset.save(path, AS_WE_ARE).read_bytes())
    cameras = zip(CAMERAS.world_from_camera, CAMERAS.intrinsics, strict=True)
    pictures = torch.tensor(np.stack([rasterise(splats, *each, 96, 96) for each in cameras])).movedim(-1, 1).float()
    colour, opacity = asset.render(CAMERAS)
    psnr = foreground_psnr(pictures[:, :3].clamp(0, 1), colour, opacity).mean()
    return float(psnr), float(iou(pictures[:, 3], opacity[:, 0]).mean())


def legs(size: int = 32, *, half: float = 0.08) -> Volume:
    """A table of thin parts, the legs twice `half` wide."""
    axis = torch.linspace(-1, 1, size)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    top = torch.stack([x.abs() - 0.7, y.abs() - 0.6, (z - 0.4).abs() - 0.08]).amax(0)
    feet = torch.stack([(x.abs() - 0.6).abs() - half, (y.abs() - 0.5).abs() - half, (z + 0.2).abs() - 0.6]).amax(0)
    colours = torch.stack([(x + 1) / 2, (y + 1) / 2, (z + 1) / 2])
    return Volume(torch.cat([colours, -100 * top.minimum(feet)[None]])[None], "softplus", 25.0)


@pytest.mark.parametrize("half", [0.08, 0.04])
def test_splats_look_as_their_volumes_do(tmp_path, half):
    """Thin legs too, of which less would be left if all splats stood as far back: 27.1 dB, .949."""
    psnr, overlap = likeness(Asset(legs(half=half), RenderConfig(samples_per_ray=128)), tmp_path / "a.splats.ply")
    print(f"foreground {psnr:.1f} dB, IoU {overlap:.3f}")
    assert psnr >= 28
    assert overlap >= 0.95


def test_a_wrong_turn_would_be_seen(tmp_path):
    asset = Asset(legs(), RenderConfig(samples_per_ray=128))
    splats = read_splats(asset.save(tmp_path / "a.splats.ply", ExportConfig(up="y")).read_bytes())
    picture = rasterise(splats, CAMERAS.world_from_camera[1], CAMERAS.intrinsics[1], 96, 96)
    _, opacity = asset.render(CAMERAS[1:2])
    assert float(iou(torch.tensor(picture[..., 3]).float()[None], opacity[:, 0])) < 0.7


def test_a_ply_has_all_the_classic_names_in_their_order(tmp_path):
    data = egg().save(tmp_path / "a.splats.ply").read_bytes()
    found = read_splats(data)
    assert [*found] == [
        "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(45)),
        "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
    ]  # fmt: skip
    assert all(np.isfinite(column).all() for column in found.values())
    assert (found["rot_0"] == 1).all()
    assert not any(found[f"f_rest_{i}"].any() for i in range(45))
    middle = [np.ptp(found[axis]) / 2 + found[axis].min() for axis in "xyz"]
    np.testing.assert_allclose(middle, MIDDLE[[0, 2, 1]] * [1, -1, 1], atol=0.03)  # y down, z forward


def test_a_glb_has_what_the_ply_has_after_activation(tmp_path):
    ply = read_splats(egg().save(tmp_path / "a.splats.ply", AS_WE_ARE).read_bytes())
    document, body = document_of(egg().save(tmp_path / "a.splats.glb"))
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    arrays = {name.split(":")[-1]: array_of(document, body, number) for name, number in attributes.items()}
    places = np.stack([ply["x"], ply["z"], -ply["y"]], -1)
    np.testing.assert_allclose(arrays["POSITION"], places, atol=1e-6)
    np.testing.assert_allclose(arrays["SCALE"], np.exp(np.stack([ply[f"scale_{i}"] for i in range(3)], -1)), rtol=1e-5)
    np.testing.assert_allclose(arrays["OPACITY"][:, 0], 1 / (1 + np.exp(-ply["opacity"])), atol=1e-5)
    harmonics = np.stack([ply[f"f_dc_{i}"] for i in range(3)], -1)
    np.testing.assert_allclose(arrays["SH_DEGREE_0_COEF_0"], harmonics, atol=1e-6)
    np.testing.assert_array_equal(arrays["ROTATION"], np.tile([0, 0, 0, 1.0], (len(places), 1)))
    how = document["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"]
    assert how["colorSpace"] == "srgb_rec709_display"


def test_splats_grow_with_the_object(tmp_path):
    small, large = (
        read_splats(egg().save(tmp_path / "a.splats.ply", ExportConfig(size_cm=size)).read_bytes()) for size in (10, 40)
    )
    np.testing.assert_allclose(large["scale_0"] - small["scale_0"], np.log(4), atol=1e-5)
    np.testing.assert_allclose(large["x"], 4 * small["x"], atol=1e-6)


def test_nothing_stands_where_no_light_comes():
    splats = volume_to_splats(egg_volume(32))
    radius = np.linalg.norm((splats.positions - MIDDLE) / EGG, axis=1)
    assert radius.max() < 1.05
    assert radius.min() > 0.3
    assert splats.opacities.min() >= FAINTEST
    assert splats.opacities.max() <= 0.99


def test_a_layer_s_light_is_that_of_its_splats():
    """Summed up by hand over a plane of splats one apart, half as wide."""
    places = torch.arange(-6, 7)
    pixels = (torch.arange(20) + 0.5) / 20 - 0.5
    squared = (pixels[:, None] - places).square()
    for wanted in (0.05, 0.5, 1.5):
        peak = peaks(torch.tensor([wanted]))
        alpha = peak * torch.exp(-(squared[:, None, :, None] + squared[None, :, None, :]) / 2 / 0.5**2)
        assert float(-torch.log1p(-alpha).sum((2, 3)).mean()) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("grid", [torch.zeros(2, 4, 8, 8, 8), torch.full((1, 4, 8, 8, 8), torch.nan)])
def test_other_volumes_are_refused(grid):
    with pytest.raises(ValueError, match=r"volume: wanted .*; got "):
        volume_to_splats(Volume(grid))
