"""USD as Pixar's own library writes it: where meshes stand, their colours, textures, materials of faces."""

import sys

import numpy as np
import pytest
from surfaces import RED, area, colour_of, texture

from vader3d.data.making.meshes import Photography, prepare_meshes
from vader3d.data.making.surface import load_surface

pxr = pytest.importorskip("pxr", reason="usd-core is not installed")
SQUARE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
GREY = (188, 188, 188)  # half the light


def staged(path, up="Z"):
    """A stage with a square, twice as large by its parent."""
    from pxr import Gf, Sdf, Usd, UsdGeom

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, up)
    parent = UsdGeom.Xform.Define(stage, "/all")
    parent.AddScaleOp().Set(Gf.Vec3f(2, 2, 2))
    mesh = UsdGeom.Mesh.Define(stage, "/all/square")
    mesh.CreatePointsAttr([Gf.Vec3f(*point) for point in SQUARE])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    places = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("UVMap", Sdf.ValueTypeNames.TexCoord2fArray, "faceVarying")
    places.Set([(0, 0), (1, 0), (1, 1), (0, 1)])
    stage.SetDefaultPrim(parent.GetPrim())
    return stage, mesh


def bound(stage, prim, *, picture=None, colour=None, name="look"):
    """A preview material with a picture, or a colour of linear light."""
    from pxr import Sdf, UsdShade

    material = UsdShade.Material.Define(stage, f"/all/{name}")
    surface = UsdShade.Shader.Define(stage, f"/all/{name}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    diffuse = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    if colour is not None:
        diffuse.Set(colour)
    else:
        reader, image = (UsdShade.Shader.Define(stage, f"/all/{name}/{part}") for part in ("reader", "image"))
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("UVMap")
        image.CreateIdAttr("UsdUVTexture")
        image.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(picture)
        image.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
        diffuse.ConnectToSource(image.ConnectableAPI(), "rgb")
    UsdShade.MaterialBindingAPI.Apply(prim).Bind(material)


@pytest.mark.parametrize("kind", ["usda", "usdc", "usd"])
def test_a_mesh_stands_where_its_parents_put_it(kind, tmp_path):
    stage, mesh = staged(tmp_path / f"m.{kind}", up="Y")
    mesh.CreateDisplayColorAttr([(0.5, 0.5, 0.5)])
    stage.Save()
    surface = load_surface(tmp_path / f"m.{kind}")
    assert area(surface) == pytest.approx(4)
    assert colour_of(surface) == GREY
    assert np.ptp(surface.triangles.reshape(-1, 3), axis=0) == pytest.approx([2, 0, 2])  # y is up
    assert np.ptp(load_surface(tmp_path / f"m.{kind}", up="z").triangles.reshape(-1, 3), axis=0)[2] == 0


@pytest.mark.parametrize("packed", [False, True], ids=["beside", "in a package"])
def test_a_texture_is_found(packed, tmp_path):
    from pxr import Sdf, UsdUtils

    texture(tmp_path / "red.png")
    stage, mesh = staged(tmp_path / "m.usda")
    bound(stage, mesh.GetPrim(), picture="./red.png")
    stage.Save()
    path = tmp_path / "m.usda"
    if packed:
        path = tmp_path / "m.usdz"
        assert UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(tmp_path / "m.usda")), str(path))
        (tmp_path / "red.png").unlink()
    surface = load_surface(path)
    assert colour_of(surface) == RED
    assert surface.notes == ()
    uv = surface.uv[np.isclose(surface.triangles[..., 0], 2) & np.isclose(surface.triangles[..., 1], 0)]
    assert uv == pytest.approx(np.tile([1, 0], (len(uv), 1)))


def test_a_texture_that_is_nowhere_is_said(tmp_path):
    stage, mesh = staged(tmp_path / "m.usda")
    bound(stage, mesh.GetPrim(), picture="./gone.png")
    stage.Save()
    assert "textures left out: ./gone.png" in load_surface(tmp_path / "m.usda").notes[0]


def test_faces_may_have_materials_of_their_own(tmp_path):
    from pxr import UsdGeom, UsdShade

    stage, mesh = staged(tmp_path / "m.usda")
    mesh.GetFaceVertexCountsAttr().Set([3, 3])
    mesh.GetFaceVertexIndicesAttr().Set([0, 1, 2, 0, 2, 3])
    UsdGeom.PrimvarsAPI(mesh).RemovePrimvar("UVMap")
    bound(stage, mesh.GetPrim(), colour=(1, 0, 0))
    subset = UsdGeom.Subset.CreateGeomSubset(mesh, "half", UsdGeom.Tokens.face, [1], UsdShade.Tokens.materialBind)
    bound(stage, subset.GetPrim(), colour=(0, 0, 1), name="other")
    stage.Save()
    surface = load_surface(tmp_path / "m.usda")
    assert np.allclose(surface.colours, [[[1, 0, 0]] * 3, [[0, 0, 1]] * 3])


def test_what_is_hidden_or_no_mesh_is_left_out(tmp_path):
    from pxr import UsdGeom

    stage, _ = staged(tmp_path / "m.usda")
    for name, way in (
        ("hidden", lambda each: each.MakeInvisible()),
        ("guide", lambda each: each.CreatePurposeAttr("guide")),
    ):
        way(UsdGeom.Imageable(UsdGeom.Mesh.Define(stage, f"/all/{name}")))
    UsdGeom.Sphere.Define(stage, "/all/ball")
    stage.Save()
    surface = load_surface(tmp_path / "m.usda")
    assert area(surface) == pytest.approx(4)
    assert surface.notes == ("Sphere left out: wanted meshes",)


def test_what_is_damaged_is_named(tmp_path):
    stage, mesh = staged(tmp_path / "m.usda")
    mesh.GetFaceVertexIndicesAttr().Set([0, 1, 2, 9])
    stage.Save()
    with pytest.raises(ValueError, match=r"m.usda: mesh: wanted corners of 4 points; got others in /all/square"):
        load_surface(tmp_path / "m.usda")
    for kind in ("usda", "usdc", "usdz"):
        (tmp_path / f"x.{kind}").write_bytes(b"#usda 1.0\n(((")
        with pytest.raises(ValueError, match=rf"x.{kind}: wanted a mesh; got a damaged or foreign one"):
            load_surface(tmp_path / f"x.{kind}")


def test_the_command_reads_usd_and_names_what_does(tmp_path, monkeypatch):
    stage, mesh = staged(tmp_path / "m.usda")
    mesh.GetPointsAttr().Set([*SQUARE[:3], (0, 1, 1)])
    stage.Save()
    assert prepare_meshes([tmp_path], tmp_path / "out.zip", Photography(2, 16), processes=1).objects == 1
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(
        ValueError, match=r"m.usda: mesh: wanted what reads usd; got none; pip install 'vader3d\[usd\]'"
    ):
        load_surface(tmp_path / "m.usda")


def test_black_that_glows_has_the_colour_it_glows_in_and_instancers_are_said(tmp_path):
    from pxr import Sdf, UsdGeom, UsdShade

    stage, mesh = staged(tmp_path / "m.usda")
    bound(stage, mesh.GetPrim(), colour=(0, 0, 0))
    surface = UsdShade.Shader(stage.GetPrimAtPath("/all/look/surface"))
    surface.CreateInput("emissiveColor", Sdf.ValueTypeNames.Color3f).Set((0.5, 0.5, 0.5))
    UsdGeom.PointInstancer.Define(stage, "/all/many")
    stage.Save()
    surface = load_surface(tmp_path / "m.usda")
    assert colour_of(surface) == GREY
    assert surface.notes == ("PointInstancer left out: wanted meshes",)
