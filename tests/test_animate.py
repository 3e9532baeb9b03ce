"""`vader3d animate`: films, and meshes whose frames look like the volume's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from figures import figure, nodding
from judged_models import write_model
from near import assert_near
from tiny import write_things

from vader3d.cli.main import main
from vader3d.data.motion import write_motion
from vader3d.export.skinned import skin_of
from vader3d.generate.animate import FilmConfig, agreement, film_frames, posed_assets, save_animation
from vader3d.geometry.cameras import front_camera
from vader3d.geometry.skinning import inverse
from vader3d.presets import preset
from vader3d.render import render_views

SIZE = 24


def test_the_frames_of_the_mesh_are_near_those_of_the_volume():
    asset, motion = figure(48), nodding(4, degrees=60)
    mesh = asset.mesh()
    skin = skin_of(asset.volume, mesh)
    alike = agreement(asset, mesh, skin, motion, size=96)
    still = agreement(
        asset, mesh, skin._replace(weights=0 * skin.weights + 0.25, parts=0 * skin.parts), motion, size=96
    )
    print(
        f"a skinned mesh's frames: {alike:.1f} dB from the volume's own inside the mask, {still:.1f} if all were torso"
    )
    assert alike >= 25
    assert still < alike - 3


def test_posed_frames_are_those_of_the_renderer():
    asset, motion = figure(24), nodding(3)
    (posed,) = posed_assets(asset, replace(motion, poses=motion.poses[1:2]))
    colour, _ = render_views(
        asset.volume, front_camera(SIZE)[None], asset.settings, poses=inverse(motion.poses[None, 1:2])
    )
    assert_near(posed.render(front_camera(SIZE))[0], colour[0].clamp(0, 1))


def test_a_film_shows_front_sides_depth_and_normals():
    asset, motion = figure(24), nodding(4)
    frames = film_frames(asset, motion, FilmConfig(SIZE))
    assert frames.shape == (4, SIZE, 5 * SIZE, 4)
    front, left, right, depth, normals = np.split(frames.astype(float), 5, axis=2)
    for number, posed in enumerate(posed_assets(asset, motion)):
        _, opacity = posed.render(front_camera(SIZE))
        np.testing.assert_allclose(front[number, ..., 3], opacity[0, 0] * 255, atol=1)
    inside = front[..., 3] > 250
    assert abs(left - right)[inside].mean() > 5
    assert (depth[..., 0] == depth[..., 1]).all()
    assert 100 < depth[inside][:, 0].mean() < 200
    assert normals[inside][:, 1].mean() < 100  # towards the camera, which is at -y
    assert (depth[..., 3] == front[..., 3]).all()


def test_a_sweep_swings_from_side_to_side_and_the_driver_comes_first():
    asset, motion = figure(24), nodding(4)
    seen = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 4), dtype=np.uint8)
    frames = film_frames(asset, motion, FilmConfig(SIZE, yaw_sweep=True), seen=seen)
    assert frames.shape == (4, SIZE, 5 * SIZE, 4)
    driver, front, swinging, *_ = np.split(frames, 5, axis=2)
    np.testing.assert_array_equal(driver, seen)
    np.testing.assert_array_equal(front[0], swinging[0])
    left = film_frames(asset, motion, FilmConfig(SIZE))[1][:, 2 * SIZE : 3 * SIZE]
    np.testing.assert_array_equal(swinging[1], left)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model of two parts, in the folder of stage 2, and its stage 1 beside it."""
    folder = tmp_path_factory.mktemp("model")
    decoder = replace(preset("tiny").autodecoder.decoder, extra_channels=2)
    return write_model(folder, write_things(folder / "data.zip", size=16), decoder=decoder)


def animate(model, folder, *more: str) -> None:
    write_motion(folder / "motion.json", nodding(3))
    main(["animate", "--model", str(model), "--driving", str(folder / "motion.json"), *more])


def test_a_command_makes_film_and_mesh(model, tmp_path, capsys):
    pytest.importorskip("av")
    for output in ("a.glb", "a.mp4"):
        animate(model, tmp_path, "--output", str(tmp_path / output), "--size", "16", "--colour", "vertex")
        assert (tmp_path / output).stat().st_size > 500
    said = capsys.readouterr().out
    assert "a.glb: seed0-000, 3 frames, 0.1 s, parts torso, head" in said
    assert "dB from the volume's own, inside the mask" in said


def test_an_object_that_was_learned_can_be_driven(model, tmp_path):
    paths = [tmp_path / f"{number}.glb" for number in range(3)]
    for path, identity in zip(paths, ("1", "1", "2"), strict=True):
        animate(model, tmp_path, "--output", str(path), "--identity", identity, "--relative", "--colour", "vertex")
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again != other


def refused(model, folder, capsys, *more: str) -> str:
    with pytest.raises(SystemExit) as stop:
        animate(model, folder, *more)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_what_cannot_be_animated_is_said_in_one_line(model, tmp_path, capsys):
    to = ("--output", str(tmp_path / "a.glb"))
    assert "output: wanted a name that ends in .mp4 or .glb; got 'a.obj'" in refused(
        model, tmp_path, capsys, "--output", "a.obj"
    )
    said = refused(model, tmp_path, capsys, *to, "--identity", "1", "--seed", "2")
    assert "identity: wanted one of --seed, --identity and --reconstruct; got --seed and --identity" in said
    assert "identity: wanted a number below 4" in refused(model, tmp_path, capsys, *to, "--identity", "Anna")
    assert "driving: wanted a motion in JSON" in refused(model, tmp_path, capsys, *to, "--driving", "Anna")
    assert "no-such.json" in refused(model, tmp_path, capsys, *to, "--driving", "no-such.json")
    bare = tmp_path / "bare"
    bare.mkdir()
    write_model(bare, write_things(bare / "data.zip", size=16))
    assert "model: wanted one whose objects have parts" in refused(bare, tmp_path, capsys, *to)
    assert not (tmp_path / "a.glb").exists()


def test_a_motion_of_other_parts_is_refused(tmp_path):
    asset = figure(16, others=1)
    with pytest.raises(
        ValueError, match="driving: wanted a motion of as many parts as the model's objects have, 3; got 2"
    ):
        save_animation(asset, nodding(3), tmp_path / "a.glb")
    assert torch.equal(asset.volume.grid, figure(16, others=1).volume.grid)
