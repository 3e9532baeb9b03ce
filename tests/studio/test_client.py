"""The client for scripts, and the examples that are made of it, their hosts being fakes."""

import json
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import trimesh
from processes import ROOT, environment
from studios import waited

from vader3d.studio.client import Client


def run(example: str, *arguments: str, name: str = "__main__") -> dict:
    """A program of examples/, in this process, as its host runs it; gives its names."""
    path = str(ROOT / "examples" / example)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [path, *arguments])
        return runpy.run_path(path, run_name=name)


@pytest.fixture
def token(studio, monkeypatch):
    monkeypatch.setenv("VADER3D_TOKEN", studio.keys.token)


def test_a_script_makes_and_saves(studio, tmp_path):
    client = Client(studio.address + "/", studio.keys.token)
    (asset,) = client.make(count=1, steps=1, seeds=[77])
    client.save(asset, tmp_path / "chair.glb")
    assert (tmp_path / "chair.glb").read_bytes() == studio.get(f"/v1/assets/{asset}.glb").body


def test_a_script_makes_an_object_of_photographs(studio, scene, tmp_path):
    client = Client(studio.address, studio.keys.token)
    cameras = json.loads((scene / "transforms.json").read_text())
    for frame in cameras["frames"]:
        frame["file_path"] = client.send(scene / frame["file_path"])
    (tmp_path / "cameras.json").write_text(json.dumps(cameras))
    (asset,) = client.make(kind="reconstruct", pictures=[client.send(tmp_path / "cameras.json")], steps=2)
    client.save(asset, tmp_path / "a.glb")
    assert len(trimesh.load(tmp_path / "a.glb", force="mesh").faces) > 0
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(ValueError, match="Content-Type: wanted"):
        client.send(tmp_path / "a.txt")


def test_a_refusal_is_an_error_of_one_line(studio):
    with pytest.raises(ValueError, match=r"^count: wanted at least 1 and at most 64; got 0$"):
        Client(studio.address, studio.keys.token).make(count=0)
    with pytest.raises(ValueError, match=r"^token: wanted"):
        Client(studio.address, "another").ask("GET", "/v1/jobs")


def test_a_gradio_page_makes_an_object(studio, token, monkeypatch):
    launched = []

    class Interface:
        def __init__(self, make, inputs, output, title):
            self.make, self.inputs = make, inputs

        def launch(self):
            launched.append(self)

    gradio = ModuleType("gradio")
    for part in ("Textbox", "Number", "Model3D"):
        setattr(gradio, part, lambda **how: SimpleNamespace(**how))
    gradio.Interface = Interface
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    run("gradio_space.py", "--address", studio.address)
    (page,) = launched
    assert [part.label for part in page.inputs] == ["Prompt", "Seed"]
    assert len(trimesh.load(page.make("", 78.0), force="mesh").faces) > 0
    assert studio.get("/v1/jobs?most=1").json[0]["request"]["seeds"] == [78]


def test_a_space_has_a_studio_of_its_own_as_long_as_it_lives(studio, tmp_path):
    """In a process of its own, by the model that ships; one whose port is taken says so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = (
        "import runpy, sys; from pathlib import Path\n"
        "names = runpy.run_path(sys.argv[1], run_name='space')\n"
        "client = names['own_studio'](Path(sys.argv[2]), int(sys.argv[3]))\n"
        "print(client.ask('GET', '/v1/model').decode())"
    )
    line = [sys.executable, "-c", program, str(ROOT / "examples" / "gradio_space.py"), str(tmp_path)]
    said = subprocess.run([*line, str(port)], env=environment(), capture_output=True, text=True)
    assert json.loads(said.stdout)["schema"]["title"] == "vader3d generate --model furniture", said.stderr
    waited(lambda: socket.socket().connect_ex(("127.0.0.1", port)), bool)
    refused = subprocess.run([*line, str(studio.port)], env=environment(), capture_output=True, text=True)
    assert refused.returncode == 1
    assert "which is in use" in refused.stderr


def test_a_comfyui_node_makes_a_mesh_and_a_picture(studio, token, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "folder_paths", SimpleNamespace(get_output_directory=lambda: str(tmp_path)))
    names = run("comfyui_node.py", name="custom_nodes.vader3d")
    assert names["NODE_DISPLAY_NAME_MAPPINGS"].keys() == names["NODE_CLASS_MAPPINGS"].keys()
    node = names["NODE_CLASS_MAPPINGS"]["Vader3DStudio"]
    inputs = node.INPUT_TYPES()["required"]
    chosen = {name: kind[1]["default"] for name, kind in inputs.items()}
    path, picture = getattr(node(), node.FUNCTION)(**chosen | {"prompt": "", "steps": 1, "address": studio.address})
    assert Path(path).parent == tmp_path
    assert len(trimesh.load(path, force="mesh").faces) > 0
    assert (picture.ndim, picture.shape[0], picture.shape[-1]) == (4, 1, 3)
    assert 0 <= picture.min() < picture.max() <= 1


def test_blender_gets_objects_side_by_side(studio, token, monkeypatch):
    seen = []

    def gltf(filepath):
        assert len(trimesh.load(filepath, force="mesh").faces) > 0
        seen.append(SimpleNamespace(location=SimpleNamespace(x=0.0), dimensions=(1.0, 2.0, 1.0)))
        bpy.context.selected_objects = seen[-1:]

    bpy = ModuleType("bpy")
    bpy.context = SimpleNamespace(selected_objects=[])
    bpy.ops = SimpleNamespace(import_scene=SimpleNamespace(gltf=gltf))
    monkeypatch.setitem(sys.modules, "bpy", bpy)
    run("blender_studio.py", "--python", "x", "--", studio.address, "", "2")
    assert [each.location.x for each in seen] == [0.0, 2.4]
    with pytest.raises(SystemExit, match="blender --python"):
        run("blender_studio.py")
