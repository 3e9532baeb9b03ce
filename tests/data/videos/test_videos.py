"""Clips of moving subjects become objects without cameras; what is broken is skipped and named."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import disc, passing, turn_clip, write_clip
from PIL import Image

from vader3d.cli.main import main
from vader3d.data.named import open_archive
from vader3d.data.videos.clips import cuts_between, listed_clips, small
from vader3d.data.videos.objects import Videography, evenly, trimmed
from vader3d.data.videos.prepare import prepare_videos
from vader3d.frozen.matting import Matting

pytest.importorskip("av", reason="clips need PyAV")
HOW = Videography(size=32, least_kilobytes=0)


def masked_clip(path: Path, frames: np.ndarray, masks: np.ndarray, **options) -> Path:
    """A clip beside one that masks it, in the folder masks."""
    write_clip(path, frames, **options)
    write_clip(path.parent / "masks" / path.name, masks[..., None].repeat(3, 3).astype(np.uint8) * 255, **options)
    return path


def write_frames(folder: Path, frames: np.ndarray, masks: np.ndarray) -> Path:
    """A folder of RGBA frames."""
    folder.mkdir(parents=True)
    for number, (picture, mask) in enumerate(zip(frames, masks, strict=True)):
        Image.fromarray(np.dstack([picture, mask.astype(np.uint8) * 255])).save(folder / f"{number}.png")
    return folder


def made(source: Path, output: Path, how: Videography = HOW, **options):
    return prepare_videos(source, output, how, Matting(), processes=1, **options)


def facts_of(report) -> dict[str, dict]:
    return {facts["name"]: facts for facts in report.facts}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_clip_becomes_an_object_without_cameras(suffix, tmp_path):
    masked_clip(tmp_path / "clips" / f"ball{suffix}", *passing(20))
    report = made(tmp_path / "clips", tmp_path / "out.zip")
    archive = open_archive(tmp_path / "out.zip")
    (record,) = archive.records
    pictures, cameras = archive.read(0)
    assert (record.name, record.posed, record.views) == ("ball", False, 16)  # a tenth at each end is dropped
    assert not cameras.posed
    assert cameras.intrinsics[0].tolist() == pytest.approx([16 / np.tan(np.pi / 12)] * 2 + [16, 16])
    solid = pictures[..., 3] >= 128
    assert 0.5 < solid.mean() < 0.8  # a disc with some room in its square
    assert not np.concatenate([solid[:, 0], solid[:, -1], solid[:, :, 0], solid[:, :, -1]]).any()
    assert np.abs(pictures[:, 16, 8, :3].astype(int) - (240, 200, 40)).mean() < 12
    assert facts_of(report)["ball"]["trimmed"] == 4


def test_a_plain_background_needs_no_masks(tmp_path):
    write_clip(tmp_path / "clips" / "ball.mp4", passing(6)[0])
    made(tmp_path / "clips", tmp_path / "out.zip")
    solid = open_archive(tmp_path / "out.zip").read(0).pictures[..., 3] >= 128
    assert (np.abs(solid.mean((1, 2)) - 0.65) < 0.15).all()


def test_a_gif_is_a_clip(tmp_path):
    first, *others = map(Image.fromarray, passing(10)[0])
    (tmp_path / "clips").mkdir()
    first.save(tmp_path / "clips" / "ball.gif", save_all=True, append_images=others, duration=40)
    made(tmp_path / "clips", tmp_path / "out.zip")
    pictures = open_archive(tmp_path / "out.zip").read(0).pictures
    assert len(pictures) == 8
    assert np.abs(pictures[:, 16, 8, :3].astype(int) - (240, 200, 40)).mean() < 12


@pytest.mark.parametrize(("name", "codec"), [("clear.mov", "prores_ks"), ("clear.webm", "libvpx-vp9")])
def test_phones_turn_their_clips_and_alpha_is_taken(name, codec, tmp_path):
    frames, masks = passing(8)
    clear = np.concatenate([frames, masks[..., None] * np.uint8(255)], -1)
    write_clip(tmp_path / "clips" / name, clear, codec=codec)
    turned = masked_clip(tmp_path / "clips" / "turned.mp4", frames, masks)
    for path in (turned, turned.parent / "masks" / turned.name):
        turn_clip(path)
    made(tmp_path / "clips", tmp_path / "out.zip")
    archive = open_archive(tmp_path / "out.zip")
    left, upright = (archive.read(number).pictures[3] for number in range(2))
    assert [record.name for record in archive.records] == ["clear", "turned"]
    assert left[16, 8, 2] < 80  # yellow is left
    assert left[16, 24, 1] < 80
    assert not left[0, :, 3].any()
    assert upright[8, 16, 1] > 150  # and, turned clockwise, above
    assert upright[24, 16, 1] < 80


def test_frames_are_chosen_by_their_times(tmp_path):
    times = [0, 10, 20, 30, 40, 1000, 2000, 3000, 4000, 5000]
    masked_clip(tmp_path / "clips" / "ball.mp4", *passing(10), milliseconds=times)
    report = made(tmp_path / "clips", tmp_path / "out.zip", Videography(size=16, least_kilobytes=0, views=4))
    assert facts_of(report)["ball"]["trimmed"] == 6  # before .5 s and after 4.5 s
    assert facts_of(report)["ball"]["views"] == 4
    steps = list(enumerate([0.0, 0.1, 0.2, 5.0, 9.8, 10.0]))
    assert trimmed(steps, 0.1) == [(3, 5.0)]
    assert evenly(steps, 3) == [0, 3, 5]
    assert evenly(steps, 9) == [0, 1, 2, 3, 4, 5]


def test_cuts_are_found_and_motion_is_none():
    first, second = passing(10)[0], passing(8, wall=90, seed=1)[0]
    seen = [small(Image.fromarray(frame)) for frame in (*first, *second)]
    assert cuts_between(seen) == [10]
    quick = [disc(x, 48, 24)[0] for x in range(10, 120, 12)]
    assert cuts_between([small(Image.fromarray(frame)) for frame in quick]) == []
    assert cuts_between(seen[:1]) == []


@pytest.mark.parametrize(("shots", "names"), [("longest", ["two"]), ("each", ["two.1", "two.2"])])
def test_a_clip_with_a_cut_gives_its_longest_shot_or_each(shots, names, tmp_path):
    (first, first_masks), (second, second_masks) = passing(8), passing(12, wall=90, seed=1)
    masked_clip(
        tmp_path / "clips" / "two.mp4", np.concatenate([first, second]), np.concatenate([first_masks, second_masks])
    )
    how = Videography(size=16, least_kilobytes=0, shots=shots)
    made(tmp_path / "clips", tmp_path / "out.zip", how)
    archive = open_archive(tmp_path / "out.zip")
    assert [record.name for record in archive.records] == names
    blue = [archive.read(number).pictures[:, 8, 12, 2] > 128 for number in range(len(names))]
    assert all(each.all() or not each.any() for each in blue)  # no shot holds frames of the other
    assert blue[-1].all()
    again = made(tmp_path / "clips", tmp_path / "again.zip", how)
    assert len(again.facts) == len(names)


BROKEN = {
    "no subject": r"masks: wanted a subject; got none in 8 frames",
    "one frame": r"frames: wanted at least 4; got 1 of 1",
    "no clip": r"no clip.mp4: wanted a clip; got a damaged or foreign one",
    "no video": r"clip: wanted a video stream; got none|damaged or foreign",
    "cut short": r"damaged or foreign|wanted at least",
    "shapes": r"frames: wanted one shape; got 96 x 128 px and 128 x 96 px",
    "fewer masks": r"masks: wanted as many frames as fewer masks.mp4; got fewer",
    "other masks": r"8 without a mask \(masks: wanted the shape of 128 x 96 px; got 96 x 96\)",
    "two people": r"subjects: wanted one; got several in 8 of 8 frames; --largest",
    "small": r"frames: wanted at least 4; got 0 of 10; 8 under 25% foreground",
    "still": r"frames: wanted at least 4; got 1 of 10; 7 repeated",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A good clip and one of each way to be broken."""
    room = tmp_path_factory.mktemp("broken")
    frames, masks = passing(10)
    masked_clip(room / "good.mp4", frames, masks)
    masked_clip(room / "no subject.mp4", frames, np.zeros_like(masks))
    write_frames(room / "one frame", frames[:1], masks[:1])
    (room / "no clip.mp4").write_bytes(b"nothing of the kind " * 200)
    (room / "no video.mkv").write_bytes(b"\x1aE\xdf\xa3" + bytes(4000))
    whole = masked_clip(room / "cut short.mp4", frames, masks)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    write_frames(room / "shapes", frames, masks)
    Image.fromarray(np.zeros((128, 96, 4), np.uint8)).save(room / "shapes" / "3.png")
    write_clip(room / "fewer masks.mp4", frames)
    write_clip(room / "masks" / "fewer masks.mp4", frames[:7])
    write_clip(room / "other masks.mp4", frames)
    write_clip(room / "masks" / "other masks.mp4", frames[:, :, :96])
    pairs = [(disc(30 + x, 48, 20), disc(95, 48, 18)) for x in range(10)]
    both = np.stack([a[1] | b[1] for a, b in pairs])
    masked_clip(room / "two people.mp4", np.stack([np.where(a[1][..., None], a[0], b[0]) for a, b in pairs]), both)
    lines = np.zeros_like(masks)
    lines[:, 46:50, 10:120] = True
    lines[np.arange(10), 46:50, 10 + np.arange(10)] = False
    write_frames(room / "small", frames, lines)
    write_frames(room / "still", frames[:1].repeat(10, 0), masks[:1].repeat(10, 0))
    return room


def test_broken_clips_are_skipped_counted_and_named(broken, tmp_path):
    report = made(broken, tmp_path / "out.zip")
    assert [record.name for record in open_archive(tmp_path / "out.zip").records] == ["good"]
    facts = facts_of(report)
    assert facts.keys() == BROKEN.keys() | {"good"}
    for name, reason in BROKEN.items():
        assert facts[name]["outcome"] == "skipped"
        assert re.search(reason, facts[name]["reason"]), (name, facts[name]["reason"])
    assert f"{len(BROKEN)} of {len(BROKEN) + 1} skipped" in str(report)
    stored = json.loads((tmp_path / "out.zip.videos" / "report.json").read_bytes())
    assert (stored["taken"], len(stored["skipped"])) == (1, len(BROKEN))


def test_the_larger_of_two_people_is_kept_where_asked(broken, tmp_path):
    made(broken / "two people.mp4", tmp_path / "out.zip", Videography(size=32, least_kilobytes=0, largest=True))
    solid = open_archive(tmp_path / "out.zip").read(0).pictures[..., 3] >= 128
    assert (solid.mean((1, 2)) > 0.5).all()  # about one disc, not about both


def test_where_nothing_can_be_used_that_is_an_error(broken, tmp_path):
    with pytest.raises(ValueError, match=r"no clip: .*damaged or foreign"):
        made(broken / "no clip.mp4", tmp_path / "out.zip")
    with pytest.raises(ValueError, match=r"wanted clips .* or folders of frames"):
        made(tmp_path, tmp_path / "out.zip")
    with pytest.raises(ValueError, match=r"wanted at least 200 kB; got .*; --least-kilobytes"):
        made(broken / "good.mp4", tmp_path / "out.zip", Videography(least_kilobytes=200))


def test_the_same_command_goes_on_and_does_only_anew_what_changed(broken, tmp_path, monkeypatch):
    made(broken / "good.mp4", tmp_path / "out.zip")
    before = (tmp_path / "out.zip").read_bytes()
    monkeypatch.setattr("vader3d.data.videos.objects.seen_frames", lambda *_: pytest.fail("masked again"))
    made(broken / "good.mp4", tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == before


def test_folders_of_frames_at_any_depth_with_splits_and_captions(tmp_path):
    frames, masks = passing(8)
    write_frames(tmp_path / "cats" / "train" / "tom" / "images", frames, masks)
    write_frames(tmp_path / "cats" / "test" / "kit", frames[::-1], masks[::-1])
    (tmp_path / "cats" / "train" / "tom" / "caption.txt").write_text("a grey cat\n")
    made(tmp_path / "cats", tmp_path / "out.zip")
    archive = open_archive(tmp_path / "out.zip")
    assert [record.name for record in archive.records] == ["test.kit", "train.tom"]
    assert archive.records[1].caption == "a grey cat"
    assert {name: list(indices) for name, indices in archive.subsets.items()} == {"test": [0], "train": [1]}


def test_given_boxes_are_cut_out(tmp_path):
    masked_clip(tmp_path / "clips" / "ball.mp4", *passing(8))
    (tmp_path / "boxes.json").write_text(json.dumps({"ball": [0.0, 0.0, 1.0, 1.0], "nobody": [0, 0, 1, 1]}))
    how = Videography(size=32, least_kilobytes=0, least_foreground=0.05)
    report = made(tmp_path / "clips", tmp_path / "out.zip", how, boxes=tmp_path / "boxes.json")
    solid = open_archive(tmp_path / "out.zip").read(0).pictures[..., 3] >= 128
    share = np.pi * 24**2 / 128**2
    assert solid.mean((1, 2)) == pytest.approx([share] * len(solid), rel=0.1)
    assert "1 names are no clip's, e.g. nobody" in str(report)
    (tmp_path / "boxes.json").write_text(json.dumps({"ball": [0.5, 0.0, 0.2, 1.0]}))
    with pytest.raises(ValueError, match=r"boxes.json: 'ball': box: wanted left < right"):
        made(tmp_path / "clips", tmp_path / "out.zip", boxes=tmp_path / "boxes.json")


def test_squares_about_faces_are_cut_out_and_frames_without_one_left_out(tmp_path):
    masked_clip(tmp_path / "clips" / "ball.mp4", *passing(8))
    asked: list[tuple[int, ...]] = []

    def find(pixels: np.ndarray) -> tuple[float, float, float] | None:
        """A face twice as wide as the ball, in its middle; none in the second frame."""
        asked.append(pixels.shape)
        rows, columns = np.nonzero(pixels[..., 2] < 100)
        return None if len(asked) == 2 else (columns.mean(), rows.mean(), 96.0)

    how = replace(HOW, crop="face", trim=0.0, least_foreground=0.05)
    report = made(tmp_path / "clips", tmp_path / "out.zip", how, find=find)
    solid = open_archive(tmp_path / "out.zip").read(0).pictures[..., 3] >= 128
    assert asked == [(96, 128, 4)] * 8
    assert len(solid) == 7
    assert facts_of(report)["ball"]["dropped"] == {"no face": 1}
    assert solid.mean((1, 2)).max() < np.pi / 16 + 0.02  # as steady squares, or wider ones, see it
    with pytest.raises(ValueError, match="crop: wanted `find` for faces"):
        made(tmp_path / "clips", tmp_path / "other.zip", how)


def celebv_folder(room: Path) -> Path:
    """CelebV-Text's document, a cut clip of its own name, a whole video, and texts."""
    (first, first_masks), (second, second_masks) = passing(25, wall=90), passing(25, seed=1)
    masked_clip(room / "processed" / "aaa_1_0.mp4", *passing(8))
    masked_clip(room / "raw" / "bbb.mp4", np.concatenate([first, second]), np.concatenate([first_masks, second_masks]))
    box = {"top": 0.0, "bottom": 1.0, "left": 0.125, "right": 0.875}
    entries = {
        name: {"ytb_id": video, "duration": {"start_sec": 1.0, "end_sec": 2.0}, "bbox": box, "version": "v0.1"}
        for name, video in (("aaa_1_0", "aaa"), ("bbb_3_1", "bbb"), ("ccc_0_0", "ccc"))
    }
    (room / "celebvtext_info.json").write_text(json.dumps({"meta_info": {}, "clips": entries}))
    for attribute, text in (("appearance", "A bald man.\nHe has a beard.\n"), ("emotion", "He is happy.\n")):
        (room / "texts" / attribute).mkdir(parents=True)
        (room / "texts" / attribute / "aaa_1_0.txt").write_text(text)
    return room


def test_clips_of_celebv_text_come_with_their_texts(tmp_path):
    folder = celebv_folder(tmp_path / "celebv")
    how = Videography(size=32, least_kilobytes=0, least_foreground=0.1)
    report = made(folder, tmp_path / "out.zip", how)
    archive = open_archive(tmp_path / "out.zip")
    assert [record.name for record in archive.records] == ["aaa_1_0", "bbb_3_1"]
    assert [(said.text, said.source) for said in archive.records[0].captions] == [
        ("A bald man.", "appearance"),
        ("He has a beard.", "appearance"),
        ("He is happy.", "emotion"),
    ]
    assert "1 of 3 clips are not on disk, e.g. ccc_0_0" in str(report)
    assert facts_of(report)["bbb_3_1"]["frames"] == 25  # of 50, by its duration
    cut = archive.read(1).pictures
    assert (cut[:, 16].astype(int)[..., 2].max(1) > 150).all()  # the second disc, which is blue
    assert (cut[..., 3] >= 128).mean((1, 2)) == pytest.approx([np.pi * 24**2 / 96**2] * len(cut), rel=0.1)


def test_names_of_celebv_cannot_lead_elsewhere(tmp_path):
    folder = celebv_folder(tmp_path / "celebv")
    document = {"clips": {"../../elsewhere": {"ytb_id": "bbb"}}}
    (folder / "celebvtext_info.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="wanted no path separators"):
        listed_clips(folder)
    (folder / "celebvtext_info.json").write_text(json.dumps({"clips": {"x": {"ytb_id": "bbb", "duration": {}}}}))
    with pytest.raises(ValueError, match=r"celebvtext_info.json: clip 'x': wanted ytb_id, duration and bbox"):
        listed_clips(folder)


def test_equal_names_get_their_suffixes(tmp_path):
    for name in ("a.mp4", "a.webm", "b.mp4", "b.jpg", ".hidden.mp4", "b_mask.mp4", "masks/b.mp4", "deep/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [clip.name for clip in listed_clips(tmp_path).clips] == ["a.mp4", "a.webm", "b", "deep.a"]


def test_the_command_writes_a_page(broken, tmp_path, capsys, monkeypatch):
    main(["prepare", "video", str(broken / "good.mp4"), "--output", str(tmp_path / "out.zip"), "--processes", "1"])
    assert "1 objects" in capsys.readouterr().out
    assert "good: taken" in (tmp_path / "out.zip.videos" / "index.html").read_text("utf-8")

    def absent(matting):
        raise ValueError(f"masks: wanted a network; got {matting.masks}")

    monkeypatch.setattr("vader3d.frozen.matting.segmenter", absent)
    with pytest.raises(SystemExit):  # once, before any clip is read
        main(["prepare", "video", str(broken), "--output", str(tmp_path / "o.zip"), "--masks", "no/such-network"])
    assert "masks: wanted a network; got no/such-network" in capsys.readouterr().err
    assert not (tmp_path / "o.zip.videos").exists()
