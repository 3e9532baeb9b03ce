"""Skinned meshes: what a GLB holds moves as the parts do, by the letter of glTF."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import trimesh
from figures import PARTS, figure, nodding
from glb_files import array_of, document_of

from vader3d.assets import Asset
from vader3d.colour import srgb_from_linear
from vader3d.export.skinned import skin_of
from vader3d.export.surface import SurfaceConfig
from vader3d.generate.animate import save_animation, skinned
from vader3d.geometry.skinning import posed as equation_8

Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # of the file, from the world
MOTION = nodding(5)


@pytest.fixture(scope="module")
def asset() -> Asset:
    return figure(32)


@pytest.fixture(scope="module")
def written(asset, tmp_path_factory):
    path = tmp_path_factory.mktemp("skinned") / "a.glb"
    save_animation(asset, MOTION, path)
    return path, *document_of(path)


def attributes_of(document, body) -> dict[str, np.ndarray]:
    (primitive,) = document["meshes"][0]["primitives"]
    return {name: array_of(document, body, number) for name, number in primitive["attributes"].items()}


def matrix(translation, quaternion) -> np.ndarray:
    x, y, z, w = quaternion
    whole = np.eye(4)
    whole[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    whole[:3, 3] = translation
    return whole


def test_a_root_has_a_named_joint_for_each_part(written):
    _, document, body = written
    (skin,) = document["skins"]
    names = [document["nodes"][joint]["name"] for joint in skin["joints"]]
    assert names == ["root", *PARTS]
    root = document["nodes"][skin["skeleton"]]
    assert root == {"name": "root", "children": skin["joints"][1:]}
    assert skin["skeleton"] in document["scenes"][0]["nodes"]
    binds = array_of(document, body, skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
    for bind, joint in zip(binds[1:], skin["joints"][1:], strict=True):
        rest = matrix(document["nodes"][joint]["translation"], (0, 0, 0, 1))
        np.testing.assert_allclose(rest @ bind, np.eye(4), atol=1e-6)
    heights = [document["nodes"][joint]["translation"][1] for joint in skin["joints"][1:]]
    assert heights[0] < -0.3 < 0.2 < heights[1]  # each in the middle of its part, y up


def test_weights_are_at_most_four_and_sum_to_one(written):
    _, document, body = written
    attributes = attributes_of(document, body)
    weights, joints = attributes["WEIGHTS_0"], attributes["JOINTS_0"]
    assert weights.shape == joints.shape == (len(attributes["POSITION"]), 4)
    np.testing.assert_allclose(weights.astype(np.float64).sum(1), 1, atol=1e-6)
    assert (weights >= 0).all()
    assert (joints[weights == 0] == 0).all()
    high = attributes["POSITION"][:, 1]
    assert (weights[high > 0.3][joints[high > 0.3] == 2] > 0.99).all()


def test_of_more_than_four_parts_the_largest_are_kept():
    volume = figure(24, others=5).volume
    skin = skin_of(volume, figure(24).mesh())
    assert skin.parts.max() == 1
    assert (skin.weights[:, 2:] == 0).all()
    np.testing.assert_allclose(skin.weights.sum(1, dtype=np.float64), 1, atol=1e-6)
    even = volume.grid.clone()
    even[:, 4:] = 0
    np.testing.assert_allclose(skin_of(volume.with_grid(even), figure(24).mesh()).weights, 0.25)


def test_what_the_file_says_moves_vertices_as_equation_8_does(asset, written):
    """Joints, weights and tracks are read by hand; poses and shares come from the volume."""
    _, document, body = written
    attributes, mesh = attributes_of(document, body), skinned(asset)[0]
    np.testing.assert_array_equal(mesh.vertices, asset.mesh().vertices)
    import torch

    vertices = torch.tensor(np.asarray(mesh.vertices), dtype=torch.float32)
    read = torch.nn.functional.grid_sample(asset.volume.extra, vertices[None, None, None], align_corners=True)
    shares = read[0, :, 0, 0].softmax(0)
    (animation,) = document["animations"]
    (skin,) = document["skins"]
    binds = array_of(document, body, skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
    tracks = {
        (channel["target"]["node"], channel["target"]["path"]): array_of(
            document, body, animation["samplers"][channel["sampler"]]["output"]
        )
        for channel in animation["channels"]
    }
    times = array_of(document, body, animation["samplers"][0]["input"])
    np.testing.assert_allclose(times[:, 0], np.arange(5) / 24, atol=1e-6)
    corners = np.pad(attributes["POSITION"], ((0, 0), (0, 1)), constant_values=1)
    for frame in range(5):
        matrices = [np.eye(4)]
        for joint, bind in zip(skin["joints"][1:], binds[1:], strict=True):
            matrices.append(matrix(tracks[joint, "translation"][frame], tracks[joint, "rotation"][frame]) @ bind)
        each = np.einsum("jab,pb->pja", np.stack(matrices), corners)[..., :3]
        chosen = np.take_along_axis(each, attributes["JOINTS_0"].astype(int)[..., None], 1)
        found = (attributes["WEIGHTS_0"][..., None] * chosen).sum(1)
        # `posed` takes poses from the world to rest, the inverse of a motion's
        to_rest = torch.linalg.inv(
            torch.cat([MOTION.poses[frame], torch.tensor([[[0.0, 0, 0, 1]]]).expand(2, 1, 4)], 1)
        )
        wanted = equation_8(vertices, to_rest[:, :3], shares).numpy() @ Y_UP.T
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_its_surface_is_that_of_the_object_at_rest(asset, written):
    _, document, body = written
    attributes, mesh = attributes_of(document, body), skinned(asset)[0]
    np.testing.assert_array_equal(mesh.vertices, asset.mesh().vertices)
    np.testing.assert_allclose(attributes["POSITION"], mesh.vertices @ Y_UP.T, atol=1e-6)
    colours = np.rint(srgb_from_linear(attributes["COLOR_0"]) * 255)
    np.testing.assert_array_equal(colours, mesh.visual.vertex_colors[:, :3])
    assert document["asset"]["extras"] == {"vader3d": {"seed": 7}, "name": "figure"}


@pytest.mark.parametrize("textured", [False, True])
def test_the_khronos_validator_finds_nothing(asset, tmp_path, textured):
    """Needs node with gltf-validator, in NODE_PATH."""
    command = "process.stdout.write(require.resolve('gltf-validator'))"
    if not shutil.which("node") or subprocess.run(["node", "-e", command], capture_output=True).returncode:
        pytest.skip("gltf-validator is not installed")
    if textured:
        pytest.importorskip("xatlas")
        pytest.importorskip("fast_simplification")
    surface = SurfaceConfig(faces=2000, texture_size=64) if textured else None
    save_animation(asset, MOTION, tmp_path / "a.glb", surface=surface)
    judge = (
        "require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues.messages)))"
    )
    done = subprocess.run(["node", "-e", judge, str(tmp_path / "a.glb")], capture_output=True, text=True, check=True)
    assert [issue for issue in json.loads(done.stdout) if issue["severity"] < 2] == []


def test_other_readers_take_it_for_a_mesh(written):
    path, _, _ = written
    (loaded,) = trimesh.load_scene(path, process=False).geometry.values()
    assert loaded.is_watertight


def test_a_volume_without_parts_has_no_skin(asset):
    bare = asset.volume.with_grid(asset.volume.grid[:, :4])
    with pytest.raises(ValueError, match="volume: wanted skinning channels, one a part; got none"):
        skin_of(bare, asset.mesh())
