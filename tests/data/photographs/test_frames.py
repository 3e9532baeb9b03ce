"""Which photographs and frames of clips are taken, and how they are turned."""

from fractions import Fraction

import numpy as np
import pytest
from clips import turn_clip, write_clip
from PIL import Image
from scipy.ndimage import gaussian_filter

from vader3d.data.photographs.frames import Glance, chosen_frames, chosen_numbers, clip_moments, glance_of, photo_files
from vader3d.export.video import write_mp4


def scene(number, *, blur=0.0, size=(120, 160)):
    """A textured wall that a camera slides past, RGB."""
    wall = np.random.default_rng(0).integers(0, 255, (size[0] // 4, 100, 1)).repeat(3, 2).astype(np.uint8)
    picture = wall[:, number : number + size[1] // 4].repeat(4, 0).repeat(4, 1)
    return gaussian_filter(picture.astype(np.float32), (blur, blur, 0)).astype(np.uint8)


def test_the_sharpest_of_each_stretch_is_taken():
    sharp = {1, 5, 7, 9}
    glances = [glance_of(n, Image.fromarray(scene(3 * n, blur=0 if n in sharp else 2))) for n in range(12)]
    assert chosen_numbers(glances, 4) == [1, 5, 7, 9]


def test_what_shows_the_same_again_is_left_out():
    rng = np.random.default_rng(0)
    photos = [scene(n) for n in (0, 0, 0, 5, 5, 9)]
    noisy = [np.clip(photo + rng.normal(0, 2, photo.shape), 0, 255).astype(np.uint8) for photo in photos]
    assert chosen_numbers([glance_of(n, Image.fromarray(p)) for n, p in enumerate(noisy)], 60) == [0, 3, 5]


def test_a_small_thing_that_turns_before_a_wall_is_not_the_same():
    photos = [np.full((120, 160, 3), 200, np.uint8) for _ in range(3)]
    for number, photo in enumerate(photos):
        photo[50:70, 70 + 4 * number : 90 + 4 * number] = 60
    assert chosen_numbers([glance_of(n, Image.fromarray(p)) for n, p in enumerate(photos)], 60) == [0, 1, 2]


def test_nothing_is_chosen_of_nothing():
    assert chosen_numbers([], 4) == []
    assert chosen_numbers([Glance(0, 1.0, np.zeros((64, 64), np.float32))], 4) == [0]


def test_photographs_are_turned_upright_and_tell_their_focal_length(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    exif.get_ifd(0x8769)[0xA405] = 26
    lying = Image.fromarray(scene(0))
    lying.save(tmp_path / "IMG_1.JPG", exif=exif, quality=95)
    ((frame,), _) = chosen_frames(tmp_path, 60)
    assert frame.pixels.shape == (160, 120, 4)
    upright = np.asarray(lying.rotate(-90, expand=True)).astype(int)
    assert np.abs(frame.pixels[..., :3] - upright).mean() < 4
    assert frame.focal == pytest.approx(26 / 36 * 160)


def test_large_photographs_are_shrunk_and_masks_are_no_photographs(tmp_path):
    Image.new("RGB", (2400, 1800)).save(tmp_path / "big.jpg")
    Image.new("L", (24, 18)).save(tmp_path / "big_mask.png")
    (tmp_path / "._big.jpg").write_bytes(b"macOS")
    (tmp_path / "masks").mkdir()
    Image.new("L", (24, 18)).save(tmp_path / "masks" / "big.jpg.png")
    ((frame,), _) = chosen_frames(tmp_path, 60)
    assert frame.pixels.shape == (1200, 1600, 4)
    assert frame.focal == 0


def test_a_damaged_photograph_costs_itself_only(tmp_path):
    for number in range(3):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)).save(
            tmp_path / f"{number}.png"
        )
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    frames, said = chosen_frames(tmp_path, 60)
    assert [frame.file.name for frame in frames] == ["0.png", "2.png"]
    assert "1 of 3 photographs left out, the first" in said
    assert "1.png: wanted a whole picture" in said
    (tmp_path / "2.png").write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"1\.png: wanted a whole picture"):
        chosen_frames(tmp_path, 60)


def test_photographs_that_pillow_cannot_read_are_named(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"")
    with pytest.raises(ValueError, match=r"got IMG_1\.HEIC; convert to JPEG first"):
        photo_files(tmp_path)


def test_photographs_that_are_left_out_beside_others_are_said(tmp_path):
    for number in range(3):
        Image.fromarray(scene(9 * number)).save(tmp_path / f"IMG_{number}.jpg")
    (tmp_path / "IMG_2.HEIC").write_bytes(b"what IMG_2.jpg was made of")
    assert chosen_frames(tmp_path, 60)[1] == ""
    (tmp_path / "IMG_3.HEIC").write_bytes(b"")
    chosen, said = chosen_frames(tmp_path, 60)
    assert len(chosen) == 3
    assert said == "1 left out, e.g. IMG_3.HEIC: convert to JPEG first"


def test_clips_of_wide_pixels_are_as_players_show_them(tmp_path):
    av = pytest.importorskip("av", reason="clips need PyAV")
    with av.open(str(tmp_path / "dv.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 120, 80, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene(0, blur=3)[:, ::2]), format="rgb24")
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    ((_, picture),) = clip_moments(tmp_path / "dv.mp4")
    assert picture.size == (160, 120)
    assert np.abs(np.asarray(picture).astype(int) - scene(0, blur=3)).mean() < 6


def test_a_clip_gives_its_sharpest_frames(tmp_path):
    pytest.importorskip("av", reason="clips need PyAV")
    frames = np.stack([scene(2 * n, blur=0 if n % 4 == 2 else 3, size=(96, 128)) for n in range(16)])
    rgba = np.concatenate([frames, np.full((*frames.shape[:3], 1), 255, np.uint8)], -1)
    write_mp4(tmp_path / "clip.mp4", rgba, frames_per_second=12, provenance={})
    chosen, _ = chosen_frames(tmp_path / "clip.mp4", 4)
    assert len(chosen) == 4
    for number, frame in zip((2, 6, 10, 14), chosen, strict=True):
        assert np.abs(frame.pixels[..., :3].astype(int) - frames[number]).mean() < 8


def test_a_damaged_clip_is_named(tmp_path):
    pytest.importorskip("av", reason="clips need PyAV")
    (tmp_path / "clip.mp4").write_bytes(b"no clip at all" * 50)
    with pytest.raises(ValueError, match=r"clip\.mp4: wanted a clip; got a damaged or foreign one"):
        chosen_frames(tmp_path / "clip.mp4", 4)


def test_clips_of_huge_frames_are_not_decoded(tmp_path, monkeypatch):
    pytest.importorskip("av", reason="clips need PyAV")
    write_clip(tmp_path / "clip.mp4", [scene(0)])
    monkeypatch.setattr("vader3d.data.photographs.frames.PICTURE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"clip.mp4: clip: wanted frames of at most 1000 px; got 160 x 120"):
        chosen_frames(tmp_path / "clip.mp4", 4)


def test_frames_are_turned_as_their_clip_says(tmp_path):
    pytest.importorskip("av", reason="clips need PyAV")
    lying = write_clip(tmp_path / "clip.mp4", [scene(0)])
    turn_clip(lying)
    ((frame,), _) = chosen_frames(lying, 4)
    assert np.abs(frame.pixels[..., :3].astype(int) - np.rot90(scene(0), -1)).mean() < 6
