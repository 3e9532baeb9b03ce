"""Triangles as USDZ, for phones: y-up, metres, packed as ARKit asks."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.export.line import TAG, line_of
from vader3d.export.triangles import Triangles, png_bytes

PATH = "/object"


def write_usdz(path: Path, triangles: Triangles, *, name: str, provenance: Mapping[str, Any]) -> None:
    """A .usdz of y-up triangles in metres; with a texture, or with colours at the vertices. Overwrites `path`.

    OSError where the packer cannot write it.
    """
    from pxr import UsdUtils

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        layer = folder / "object.usdc"
        if triangles.texture is not None:
            (folder / "texture.png").write_bytes(png_bytes(triangles.texture))
        write_stage(layer, triangles, name=name, provenance=provenance)
        packed = folder / "object.usdz"
        if not UsdUtils.CreateNewARKitUsdzPackage(str(layer), str(packed)) or not packed.stat().st_size:
            raise OSError(f"the packer of USDZ wrote nothing for {path.name}")
        path.write_bytes(packed.read_bytes())


def write_stage(path: Path, triangles: Triangles, *, name: str, provenance: Mapping[str, Any]) -> None:
    """The stage: a mesh and its material."""
    from pxr import Sdf, Usd, UsdGeom, UsdShade, Vt

    stage = Usd.Stage.CreateNew(str(path))
    stage.SetMetadata("metersPerUnit", 1.0)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    if provenance:
        stage.GetRootLayer().customLayerData = {TAG: line_of(provenance)}
    root = UsdGeom.Xform.Define(stage, PATH).GetPrim()
    root.SetDisplayName(name)
    stage.SetDefaultPrim(root)
    mesh = UsdGeom.Mesh.Define(stage, f"{PATH}/mesh")
    vertices, faces = (np.ascontiguousarray(each) for each in (triangles.vertices.astype("f4"), triangles.faces))
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(vertices))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(faces.astype(np.int32).reshape(-1)))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(triangles.normals, "f4")))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([vertices.min(0), vertices.max(0)])))

    values = UsdGeom.PrimvarsAPI(mesh)
    if triangles.texture is None:
        reader, output = "UsdPrimvarReader_float3", Sdf.ValueTypeNames.Float3
        linear = linear_colours(triangles)
        values.CreatePrimvar("displayColor", Sdf.ValueTypeNames.Color3fArray, UsdGeom.Tokens.vertex).Set(
            Vt.Vec3fArray.FromNumpy(linear)
        )
    else:
        reader, output = "UsdPrimvarReader_float2", Sdf.ValueTypeNames.Float2
        values.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex).Set(
            Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(triangles.uv, "f4"))
        )
    material = UsdShade.Material.Define(stage, f"{PATH}/material")
    surface = shader(stage, "surface", "UsdPreviewSurface")
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.9)
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    read = shader(stage, "reader", reader)
    read.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st" if triangles.texture else "displayColor")
    colour = read.CreateOutput("result", output)
    if triangles.texture is not None:
        picture = shader(stage, "picture", "UsdUVTexture")
        picture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set("./texture.png")
        picture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        for axis in ("wrapS", "wrapT"):
            picture.CreateInput(axis, Sdf.ValueTypeNames.Token).Set("clamp")
        picture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(colour)
        colour = picture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
    surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(colour)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    stage.GetRootLayer().Save()


def shader(stage: Any, name: str, identity: str) -> Any:
    from pxr import UsdShade

    made = UsdShade.Shader.Define(stage, f"{PATH}/material/{name}")
    made.CreateIdAttr(identity)
    return made


def linear_colours(triangles: Triangles) -> np.ndarray:
    """USD's colours are linear."""
    from vader3d.colour import linear_from_srgb

    return np.ascontiguousarray(linear_from_srgb(triangles.colours / 255), "f4")


def layer_data(path: Path) -> Mapping[str, Any]:
    """What a .usdz says of itself."""
    from vader3d.export.extras import needed

    needed("pxr")
    from pxr import Sdf

    layer = Sdf.Layer.OpenAsAnonymous(str(path))
    if layer is None:
        raise ValueError("format: wanted a USDZ; got another")
    return dict(layer.customLayerData)
