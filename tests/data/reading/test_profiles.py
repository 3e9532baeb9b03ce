"""Pictures whose files say that their colours are not sRGB's."""

import struct

import numpy as np
import pytest
from PIL import Image

from vader3d.data.photographs.frames import read_photo
from vader3d.data.reading.pictures import in_srgb, read_picture

ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
COLOURS = np.array([[[200, 100, 60], [90, 160, 100], [128, 128, 128], [60, 80, 170]]], np.uint8)


def fixed(number: float) -> int:
    """ICC's numbers of 16 bits before the point and 16 behind it."""
    return round(number * 65536)


def profile(primaries: np.ndarray, gamma: float, *, grey: bool = False) -> bytes:
    """An ICC profile of version 2.1: colours by primaries to XYZ under D50, or grey, and a power."""
    xyz = [
        (name, b"XYZ \0\0\0\0" + struct.pack(">3i", *map(fixed, column)))
        for name, column in zip(("rXYZ", "gXYZ", "bXYZ"), primaries.T, strict=True)
    ]
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    curves = [(name, curve) for name in (("kTRC",) if grey else ("rTRC", "gTRC", "bTRC"))]
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", *map(fixed, (0.9642, 1.0, 0.8249)))
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags = [("desc", text), ("cprt", b"text\0\0\0\0none\0\0\0\0"), ("wtpt", white), *curves, *([] if grey else xyz)]
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags:
        table += name.encode() + struct.pack(">II", at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    size = at + len(data)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *map(fixed, (0.9642, 1.0, 0.8249)))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + data


def expected(colours: np.ndarray, gamma: float) -> np.ndarray:
    """What these Adobe RGB colours are in sRGB, by the two standards' numbers."""
    light = np.linalg.solve(SRGB, ADOBE @ ((colours / 255.0) ** gamma).reshape(-1, 3).T).T.clip(0, 1)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * curved).reshape(colours.shape)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_colours_of_wider_spaces_come_as_srgb(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(COLOURS.repeat(16, 0).repeat(16, 1)).save(path, icc_profile=profile(ADOBE, 2.2), **options)
    true = expected(COLOURS, 2.2)
    assert np.abs(true - COLOURS).max() > 15
    for picture in (read_picture(path, mode="RGBA"), read_photo(path)[0]):
        found = np.asarray(picture.convert("RGB"))[8:9, 8::16].astype(int)
        assert np.abs(found - true).max() <= 3, picture.mode


def test_alpha_stays_and_greys_are_curved(tmp_path):
    alpha = np.array([[255, 128, 3, 0]], np.uint8)
    Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / "a.png", icc_profile=profile(ADOBE, 2.2))
    found = np.asarray(read_picture(tmp_path / "a.png", mode="RGBA"))
    assert np.array_equal(found[..., 3], alpha)
    assert np.abs(found[..., :3].astype(int) - expected(COLOURS, 2.2)).max() <= 3
    Image.fromarray(np.full((2, 2), 128, np.uint8)).save(tmp_path / "g.png", icc_profile=profile(ADOBE, 1.0, grey=True))
    assert np.abs(np.asarray(read_picture(tmp_path / "g.png", mode="RGB")).astype(int) - 188).max() <= 2


def test_masks_and_pictures_without_a_profile_or_with_a_broken_one_stay(tmp_path):
    own = Image.fromarray(COLOURS)
    assert in_srgb(own) is own
    Image.fromarray(COLOURS).save(tmp_path / "b.png", icc_profile=b"no profile at all")
    assert np.array_equal(np.asarray(read_picture(tmp_path / "b.png", mode="RGB")), COLOURS)
    whole = profile(ADOBE, 2.2)
    for cut in (whole[:200], whole[:-40], whole.replace(b"rXYZ", b"rxyz")):
        Image.fromarray(COLOURS).save(tmp_path / "c.png", icc_profile=cut)
        assert read_picture(tmp_path / "c.png", mode="RGB").size == (4, 1)
    Image.fromarray(np.full((2, 2), 128, np.uint8)).save(tmp_path / "m.png", icc_profile=profile(ADOBE, 1.0, grey=True))
    assert np.asarray(read_picture(tmp_path / "m.png", mode="L")).tolist() == [[128, 128], [128, 128]]
