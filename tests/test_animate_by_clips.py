"""`vader3d animate --driving clip.mp4 --reconstruct clip.mp4`: strangers' clips, each fitted once."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from clips import disc, passing, write_clip
from figures import PARTS, figure, nodding
from judged_models import write_model
from tiny import write_things

from vader3d.autodecoder.model import load_autodecoder, save_autodecoder
from vader3d.autodecoder.parts import PartConfig
from vader3d.autodecoder.posing import PoseConfig
from vader3d.cli.main import main
from vader3d.data.motion import composed, read_motion
from vader3d.data.videos.clips import listed_clips
from vader3d.export.turntable import straight_alpha
from vader3d.generate import reconstruct as finding
from vader3d.generate.animate import posed_assets
from vader3d.generate.reconstruct import clip_key
from vader3d.geometry.cameras import front_camera
from vader3d.geometry.skinning import inverse
from vader3d.presets import preset
from vader3d.progress import watched

av = pytest.importorskip("av")
FRAMES = 8
FIT = ("--steps", "2", "--fine-steps", "1")
QUICK = (*FIT, "--clip-size", "16", "--size", "16", "--colour", "vertex")


def write_moving(folder, **changes):
    """A model of two parts that was never trained, whose table of poses is right of four clips."""
    decoder = replace(preset("tiny").autodecoder.decoder, extra_channels=2)
    folder.mkdir()
    data = write_things(folder / "data.zip", size=16)
    return write_model(folder, data, **{"decoder": decoder, **changes})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_moving(tmp_path_factory.mktemp("moving") / "model", parts=PartConfig(names=PARTS, pictures=FRAMES))
    known, config, _ = load_autodecoder(folder / "autodecoder.safetensors")
    to_camera = inverse(front_camera(16).world_from_camera[:, :3])
    poses = composed(to_camera, nodding(FRAMES).poses).expand(4, -1, -1, -1, -1)
    known.parts.start.copy_(poses.flatten(0, 1))
    save_autodecoder(folder / "autodecoder.safetensors", known, config, data="")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A figure before a grey wall, as a camera sees it."""
    frames = [straight_alpha(*posed.render(front_camera(64)))[0] for posed in posed_assets(figure(24), nodding(FRAMES))]
    grey = [frame[:3] * frame[3:] + 0.5 * (1 - frame[3:]) for frame in frames]
    pixels = np.stack([(each.movedim(0, -1) * 255).round().byte().numpy() for each in grey])
    return write_clip(tmp_path_factory.mktemp("clip") / "nod.mp4", pixels)


@pytest.fixture
def fits(monkeypatch):
    """The searches there were."""
    done, search = [], finding.reconstruct
    monkeypatch.setattr(finding, "reconstruct", lambda *args, **more: done.append(args) or search(*args, **more))
    return done


def animate(model, output, *more) -> None:
    main(["animate", "--model", str(model), "--output", str(output), *map(str, more), *QUICK])


def test_a_clip_drives_several_objects_and_is_fitted_once(model, clip, tmp_path, fits, capsys):
    animate(model, tmp_path / "a.mp4", "--identity", 0, "--driving", clip)
    animate(
        model, tmp_path / "b.glb", "--seed", 3, "--driving", shutil.copytree(clip.parent, tmp_path / "copy") / clip.name
    )
    assert len(fits) == 1
    (found,) = tmp_path.glob("nod.*.found")
    assert {each.name for each in listed_clips(tmp_path).clips} == {"a", "copy.nod"}  # pictures in there are no clip's
    said = capsys.readouterr().out
    assert f"{found}: the clip's subject and motion, " in said
    assert f"b.glb: seed3-000, {FRAMES} frames, 0.3 s, parts torso, head" in said
    main(
        [
            "reconstruct",
            "--model",
            str(model),
            "--video",
            str(clip),
            "--output",
            str(tmp_path / "own"),
            *FIT,
            "--size",
            "16",
        ]
    )
    assert (found / "motion.json").read_bytes() == (tmp_path / "own" / "motion.json").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert film.streams.video[0].average_rate == 25  # the clip's
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert np.stack(frames).shape == (FRAMES, 16, 6 * 16, 3)
    driver = np.stack(frames)[:, :, :16].astype(float)  # first what drives it, on white
    assert driver[:, 0].mean() > 240
    assert driver[:, 8, 8].max() < 230


def test_what_was_not_found_to_the_end_is_found_anew_and_other_settings_beside(model, clip, tmp_path, fits):
    animate(model, tmp_path / "a.glb", "--identity", 0, "--driving", clip)
    (found,) = tmp_path.glob("nod.*.found")
    (found / "report.json").unlink()
    animate(model, tmp_path / "a.glb", "--identity", 0, "--driving", clip)
    assert len(fits) == 2
    animate(model, tmp_path / "a.glb", "--identity", 0, "--driving", clip, "--largest")
    assert len(fits) == len([*tmp_path.glob("nod.*.found")]) + 1 == 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_key_knows_bytes_masks_and_settings_and_no_places(tmp_path):
    def key(name: str, *settings: object) -> str:
        return clip_key(tmp_path / name, *settings)

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_bytes(b"clip")
    assert key("one/a.mp4", 1) == key("two/a.mp4", 1) != key("one/a.mp4", 2)
    assert key("one") == key("two")
    (tmp_path / "two" / "b.png").write_bytes(b"")
    assert key("one") != key("two")
    (tmp_path / "one" / "a_mask.mp4").write_bytes(b"mask")
    assert key("one/a.mp4", 1) != key("two/a.mp4", 1)


def test_a_stranger_moves_as_its_own_clip_or_as_another(model, clip, tmp_path, fits, capsys):
    titles = set()
    with watched(lambda title, share: titles.add(title) or ""):
        animate(model, tmp_path / "a.mp4", "--reconstruct", clip)
    assert {"known objects", "code", "decoder", "held-out poses", "film"} <= titles
    animate(model, tmp_path / "b.glb", "--reconstruct", clip, "--driving", clip, "--relative")
    animate(model, tmp_path / "c.glb", "--reconstruct", clip, "--driving", "1")
    said = capsys.readouterr().out
    assert f"a.mp4: nod, {FRAMES} frames, 0.3 s" in said
    assert len(fits) == 1
    assert (tmp_path / "b.glb").read_bytes() != (tmp_path / "c.glb").read_bytes()


def test_a_folder_of_frames_drives(model, tmp_path):
    from PIL import Image

    for number, picture in enumerate(passing(6)[0]):
        (tmp_path / "frames").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "frames" / f"{number}.png")
    animate(model, tmp_path / "out" / "a.glb", "--identity", 0, "--driving", tmp_path / "frames")
    (found,) = (tmp_path / "out").glob("frames.*.found")
    assert len(read_motion(found / "motion.json").poses) == 6


def test_a_motion_keeps_the_clips_own_speed(model, tmp_path):
    clip = write_clip(tmp_path / "slow.mp4", passing(6)[0], milliseconds=range(0, 600, 100))
    animate(model, tmp_path / "a.glb", "--identity", 0, "--driving", clip)
    (found,) = tmp_path.glob("slow.*.found")
    assert read_motion(found / "motion.json").frames_per_second == pytest.approx(10)
    assert json.loads((found / "report.json").read_text())["held_out"] is True


def refused(capsys, model, output, *more) -> str:
    with pytest.raises(SystemExit) as stop:
        animate(model, output, *more)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if not line.startswith("clip.zip: ")]
    assert len(errors) == 1, said
    return errors[0]


def write_bad(folder):
    """Clips that show nobody, two, one frame, or nothing that any codec knows."""
    good = passing(8)[0]
    write_clip(folder / "one.mp4", good[:1])
    write_clip(folder / "wall.mp4", np.full((8, 96, 128, 3), 200, np.uint8))
    (first, _), (second, mask) = disc(30, 48, 22), disc(98, 48, 22, seed=1)
    first[mask] = second[mask]
    write_clip(folder / "two.mp4", [np.roll(first, number, 0) for number in range(8)])
    data = write_clip(folder / "good.mp4", good).read_bytes()
    (folder / "codec.mp4").write_bytes(data.replace(b"avc1", b"zzz1"))
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(4000))
    (folder / "none").mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_clip(folder / "several" / name, good)


@pytest.mark.parametrize("argument", ["driving", "reconstruct"])
def test_a_clip_that_cannot_be_used_is_said_in_one_line_and_leaves_nothing(model, argument, tmp_path, capsys):
    write_bad(tmp_path)
    for name, reason in {
        "one.mp4": "frames: wanted at least 4; got 1 of 1",
        "wall.mp4": "masks: wanted a subject; got none in 8 frames",
        "two.mp4": "subjects: wanted one; got several in 8 of 8 frames; --largest keeps the larger",
        "codec.mp4": "wanted a clip; got a damaged or foreign one",
        "noise.mp4": "wanted a clip; got a damaged or foreign one",
        "absent.mp4": "wanted a clip or a folder of its frames; got ",
        "none": "wanted clips (.mp4",
        "several": "wanted one clip; got 2 in ",
    }.items():
        said = refused(capsys, model, tmp_path / "out" / "a.mp4", f"--{argument}", tmp_path / name)
        assert said.startswith(f"error: {argument}: ")
        assert reason in said
        assert not (tmp_path / "out").exists()
    clip = tmp_path / "good.mp4"
    assert "output: wanted another place than --" in refused(capsys, model, clip, f"--{argument}", clip)


def test_reconstruct_says_the_same_of_its_video(model, tmp_path, capsys):
    write_bad(tmp_path)
    with pytest.raises(SystemExit):
        main(
            [
                "reconstruct",
                "--model",
                str(model),
                "--video",
                str(tmp_path / "two.mp4"),
                "--output",
                str(tmp_path / "out"),
            ]
        )
    assert "error: video: two: subjects: wanted one; got several" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_largest_of_two_is_taken_where_that_is_asked_for(model, tmp_path):
    write_bad(tmp_path)
    animate(model, tmp_path / "a.glb", "--reconstruct", tmp_path / "two.mp4", "--largest")
    assert (tmp_path / "a.glb").stat().st_size > 500


def test_who_moves_is_chosen_in_one_way(model, clip, tmp_path, capsys):
    for given in (("--seed", 1, "--reconstruct", clip), ("--identity", 1, "--reconstruct", clip)):
        said = refused(capsys, model, tmp_path / "out" / "a.mp4", "--driving", clip, *given)
        assert f"wanted one of --seed, --identity and --reconstruct; got {given[0]} and --reconstruct" in said
    assert "driving: wanted a motion in JSON, a clip" in refused(capsys, model, tmp_path / "out" / "a.mp4")
    assert not (tmp_path / "out").exists()


def test_models_that_find_no_motion_in_clips_are_refused(clip, tmp_path, capsys):
    plain = write_moving(tmp_path / "plain", decoder=preset("tiny").autodecoder.decoder)
    still = write_moving(tmp_path / "still")
    for folder, reason in (
        (plain, "model: wanted one whose objects have parts"),
        (still, "model: wanted one that learned poses of parts"),
    ):
        for argument in ("--driving", "--reconstruct"):
            assert reason in refused(capsys, folder, tmp_path / "out" / "a.glb", argument, clip)
    assert not (tmp_path / "out").exists()


def test_a_model_that_found_its_poses_itself_is_driven_by_a_clip(clip, tmp_path):
    own = write_moving(tmp_path / "own", poses=PoseConfig(source="keypoints", azimuths=(0.0,), elevation=0.0))
    animate(own, tmp_path / "a.glb", "--driving", clip)
    assert (tmp_path / "a.glb").stat().st_size > 500
