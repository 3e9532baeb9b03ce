"""Animations and contact sheets, read back by Pillow."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from vader3d.export.turntable import GAP_PX, contact_sheet, turntable_bytes


def turning_bar(channels: int, frames: int = 8, size: int = 48) -> np.ndarray:
    """A bright bar that moves right over nothing, uint8 [T, H, W, C]."""
    pictures = np.zeros((frames, size, size, channels), np.uint8)
    for number, picture in enumerate(pictures):
        picture[8:40, 5 * number : 5 * number + 10] = [200, 120, 40, 255][:channels]
    return pictures


@pytest.mark.parametrize("channels", [3, 4])
def test_a_turntable_keeps_its_frames_and_loops(tmp_path, channels):
    frames = turning_bar(channels)
    (tmp_path / "a.webp").write_bytes(turntable_bytes(frames, frames_per_second=10))
    with Image.open(tmp_path / "a.webp") as animation:
        assert (animation.n_frames, animation.info["loop"]) == (8, 0)
        for number, frame in enumerate(frames):
            animation.seek(number)
            shown = np.asarray(animation.convert("RGBA"), np.float32)
            wanted = np.asarray(Image.fromarray(frame).convert("RGBA"), np.float32)
            assert np.abs(shown[..., 3] - wanted[..., 3]).max() == 0
            visible = wanted[..., 3:] > 0
            assert np.abs((shown - wanted)[..., :3] * visible).mean() < 6
        assert animation.info["duration"] == 100
    assert (tmp_path / "a.webp").stat().st_size < frames.nbytes / 8


@pytest.mark.parametrize("channels", [3, 4])
def test_a_turntable_says_what_made_it(tmp_path, channels):
    provenance = {"model": "ab" * 32, "seed": 3, "index": 17, "steps": 32}
    (tmp_path / "a.webp").write_bytes(turntable_bytes(turning_bar(channels), provenance=provenance))
    with Image.open(tmp_path / "a.webp") as animation:
        assert animation.n_frames == 8
        assert json.loads(animation.getexif()[0x010E].removeprefix("vader3d ")) == provenance


def test_wrong_frames_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        turntable_bytes(turning_bar(3).astype(np.float32))
    with pytest.raises(ValueError, match="3 or 4"):
        turntable_bytes(turning_bar(3)[0])


def test_a_contact_sheet_places_pictures_row_by_row():
    pictures = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 3, 6, 4)
    sheet = np.asarray(contact_sheet(pictures, columns=3))
    assert sheet.shape == (2 * 6 + GAP_PX, 3 * 4 + 2 * GAP_PX, 3)
    row, column = 6 + GAP_PX, 4 + GAP_PX
    centres = [sheet[3, 2 + i * column, 0] for i in range(3)] + [sheet[row + 3, 2 + i * column, 0] for i in range(3)]
    assert centres == [0, 64, 128, 191, 255, 255]  # the sixth place is free
    assert sheet[3, 4].tolist() == [255] * 3  # the gap


def test_a_contact_sheet_clamps_and_lays_alpha_over_its_background():
    pictures = torch.tensor([2.0, 0.0, -1.0, 0.5])[None, :, None, None].expand(1, 4, 5, 5)
    assert np.asarray(contact_sheet(pictures, columns=9, background=0.0))[2, 2].tolist() == [128, 0, 0]
    assert np.asarray(contact_sheet(pictures, columns=9, background=1.0))[2, 2].tolist() == [255, 128, 128]


def test_pictures_that_cannot_be_shown_are_refused():
    with pytest.raises(ValueError, match="pictures"):
        contact_sheet(torch.zeros(3, 8, 8), columns=2)
    with pytest.raises(ValueError, match="NaN"):
        contact_sheet(torch.full((1, 3, 8, 8), torch.nan), columns=2)
