"""What broke in others' programs, tried on an object that ships.

Judges of other hands compare its files with its volume. Colours of all 256 values, seams and padding, `usdchecker` and
the splats' names: test_formats.py, test_texture.py, test_splats.py, on solids whose truth is known.
"""

import io
import runpy
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from glb_files import document_of
from PIL import Image
from solids import egg

from vader3d import Generator
from vader3d.assets import Asset
from vader3d.export.placement import ExportConfig
from vader3d.export.surface import SurfaceConfig, soundness

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "assets.py"))
TEXTURE = 300  # px; no power of two


@pytest.fixture(scope="module")
def chair() -> Asset:
    return Generator.from_pretrained()("a wooden chair", seed=0)[0]


@pytest.fixture(scope="module")
def mesh(chair) -> trimesh.Trimesh:
    return chair.mesh(SurfaceConfig(texture_size=TEXTURE))


@pytest.fixture(scope="module")
def glb(chair, mesh, tmp_path_factory) -> Path:
    return chair.save(tmp_path_factory.mktemp("glb") / "chair.glb", mesh=mesh)


@pytest.fixture(scope="module")
def truth(chair) -> tuple:
    return BENCHMARK["truth"](chair)


def test_engines_find_a_png_and_nothing_that_they_must_know_besides(glb):
    document, body = document_of(glb)
    assert [image["mimeType"] for image in document["images"]] == ["image/png"]
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    picture = Image.open(io.BytesIO(body[view["byteOffset"] :][: view["byteLength"]]))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (TEXTURE, TEXTURE))  # as was asked
    assert not {"extensionsRequired", "extensionsUsed"} & document.keys()
    assert glb.stat().st_size < 2_000_000


def test_blender_and_three_js_find_an_opaque_outward_surface_without_bones(glb):
    document, _ = document_of(glb)
    (material,) = document["materials"]
    assert material.get("alphaMode", "OPAQUE") == "OPAQUE"
    assert material["pbrMetallicRoughness"].get("baseColorFactor", [1, 1, 1, 1]) == [1, 1, 1, 1]
    assert not {"skins", "animations"} & document.keys()
    (found,) = trimesh.load_scene(glb, process=False).geometry.values()
    assert soundness(found).watertight
    assert np.einsum("nd,nd->n", found.vertex_normals[found.faces].mean(1), found.face_normals).min() > -0.5


def test_phones_find_metres_and_an_unpacked_png(chair, mesh, tmp_path):
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom

    path = chair.save(tmp_path / "chair.usdz", ExportConfig(size_cm="auto", pivot="base"), mesh=mesh)
    stage = Usd.Stage.Open(str(path))
    assert (UsdGeom.GetStageMetersPerUnit(stage), UsdGeom.GetStageUpAxis(stage)) == (1.0, "Y")
    bounds = UsdGeom.BBoxCache(0, ["default"]).ComputeWorldBound(stage.GetPseudoRoot()).ComputeAlignedRange()
    assert 0.7 < max(bounds.GetSize()) < 1.2  # a chair, in metres
    assert bounds.GetMin()[1] == pytest.approx(0, abs=1e-5)
    with zipfile.ZipFile(path) as packed:
        assert {each.compress_type for each in packed.infolist()} == {zipfile.ZIP_STORED}
        assert [name for name in packed.namelist() if not name.endswith((".usdc", ".png"))] == []


@pytest.mark.parametrize("end", ["stl", "3mf"])
def test_printers_find_one_closed_shell(chair, tmp_path, end):
    if end == "3mf":
        pytest.importorskip("lxml")
        pytest.importorskip("networkx")
    print_out = chair.mesh(SurfaceConfig(faces=5000, colour="vertex", one_shell=True))
    found = trimesh.load(chair.save(tmp_path / f"chair.{end}", mesh=print_out), force="mesh")
    assert soundness(found)[:2] == (True, 1)
    assert max(found.extents) == pytest.approx(100, abs=0.1)  # mm


@pytest.mark.parametrize(
    ("end", "judge", "least"), [("glb", "by_trimesh", 25), ("usdz", "by_usd", 25), ("splats.ply", "by_rasteriser", 28)]
)
def test_judges_of_other_hands_see_what_the_volume_shows(chair, mesh, truth, tmp_path, end, judge, least):
    if end == "usdz":
        pytest.importorskip("pxr")
    config = ExportConfig(up="z") if end == "splats.ply" else ExportConfig()
    path = chair.save(tmp_path / f"chair.{end}", config, mesh=mesh)
    psnr, overlap = BENCHMARK["compared"](truth, BENCHMARK[judge](path))
    print(f"{judge}: foreground {psnr:.1f} dB, IoU {overlap:.3f}")
    assert psnr >= least
    assert overlap >= 0.95


def test_its_mesh_has_the_silhouettes_of_its_volume(chair, mesh):
    assert chair.likeness(mesh).iou >= 0.95


def test_the_benchmark_says_of_many_objects_how_their_surfaces_are(capsys):
    BENCHMARK["surface"]([egg(), egg("ball")])
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == ["egg", "ball", "IoU", "dB", "IoU of .95 or more"]
    assert "watertight: yes, shells: 1" in said[0]
    assert said[-1].endswith(": 2 of 2")
