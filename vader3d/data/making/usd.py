"""Reads USD: the meshes of a stage with their preview materials."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.colour import srgb_from_linear
from vader3d.data.making.parts import PLAIN, Part, Parts, texels_of
from vader3d.data.making.polygons import triangulated
from vader3d.data.mesh_files import MESH_BYTES, Neighbours, check_faces
from vader3d.untrusted import reason_of

KINDS = frozenset({"usd", "usda", "usdc", "usdz"})
PLACES = ("st", "UVMap", "st0", "uv")  # usual names of texture coordinates


def parts_of_usd(path: Path) -> tuple[Parts, str]:
    """What a file shows at its first moment, and which axis it says is up (y or z)."""
    try:
        from pxr import Usd, UsdGeom
    except ImportError as error:
        raise ValueError("mesh: wanted what reads usd; got none; pip install 'vader3d[usd]'") from error
    if path.stat().st_size > MESH_BYTES:
        raise ValueError(f"mesh: wanted at most {MESH_BYTES} bytes of usd; got {path.stat().st_size}")
    stage = Usd.Stage.Open(str(path))
    reader = StageReader(path)
    for prim in stage.Traverse(Usd.TraverseInstanceProxies()):
        shape = UsdGeom.Imageable(prim)
        if prim.IsA(UsdGeom.PointInstancer):
            reader.found.note("PointInstancer left out: wanted meshes")
        if not prim.IsA(UsdGeom.Gprim) or shape.ComputePurpose() in ("proxy", "guide"):
            continue
        if shape.ComputeVisibility() == "invisible":
            continue
        if prim.IsA(UsdGeom.Mesh):
            reader.add(UsdGeom.Mesh(prim))
        else:
            reader.found.note(f"{prim.GetTypeName()} left out: wanted meshes")
    return reader.found, str(UsdGeom.GetStageUpAxis(stage)).lower()


class StageReader:
    """Takes meshes, one after the other; pictures are decoded once."""

    def __init__(self, path: Path):
        from pxr import Usd, UsdGeom

        self.neighbours, self.found, self.faces = Neighbours(path), Parts(), 0
        self.time = Usd.TimeCode.EarliestTime()
        self.places = UsdGeom.XformCache(self.time)
        self.textures: dict[str, np.ndarray | None] = {}

    def add(self, mesh: Any) -> None:
        """One mesh where it stands, a part for each material and number of sides."""
        from pxr import UsdGeom, UsdShade

        points = np.asarray(mesh.GetPointsAttr().Get(self.time) or [], float).reshape(-1, 3)
        sides = np.asarray(mesh.GetFaceVertexCountsAttr().Get(self.time) or [], int)
        corners = np.asarray(mesh.GetFaceVertexIndicesAttr().Get(self.time) or [], int)
        if sides.sum() != len(corners) or (sides < 0).any() or (corners < 0).any() or (corners >= len(points)).any():
            raise ValueError(f"mesh: wanted corners of {len(points)} points; got others in {mesh.GetPath()}")
        self.faces += int(np.maximum(sides - 2, 0).sum())
        check_faces(self.faces)
        matrix = np.array(self.places.GetLocalToWorldTransform(mesh.GetPrim()))
        points = points @ matrix[:3, :3] + matrix[3, :3]
        materials = np.zeros(len(sides), int)
        kinds = [UsdShade.MaterialBindingAPI(mesh.GetPrim()).ComputeBoundMaterial()[0]]
        for subset in UsdShade.MaterialBindingAPI(mesh.GetPrim()).GetMaterialBindSubsets():
            chosen = np.asarray(subset.GetIndicesAttr().Get(self.time) or [], int)
            materials[chosen[(chosen >= 0) & (chosen < len(sides))]] = len(kinds)
            kinds.append(UsdShade.MaterialBindingAPI(subset.GetPrim()).ComputeBoundMaterial()[0])
        shown = self.at_corners(mesh, "displayColor", sides, corners, len(points))
        starts = np.cumsum(sides) - sides
        for number, material in enumerate(kinds):
            colour, texels, named = self.look(material)
            names = (named, *PLACES) if named else PLACES
            uvs = (self.at_corners(mesh, name, sides, corners, len(points)) for name in names)
            uv = next((each[:, :2] for each in uvs if each is not None and each.shape[1] >= 2), None)
            for count in np.unique(sides[(materials == number) & (sides > 2)]):
                rows = starts[(materials == number) & (sides == count)][:, None] + np.arange(count)
                chosen, triples = triangulated(points[corners[rows]])
                rows = rows[chosen[:, None], triples]
                colours = np.full((len(rows), 3, 3), PLAIN if texels is None or uv is None else 1.0)
                if colour is not None and (texels is None or uv is None):
                    colours[:] = srgb_from_linear(np.clip(colour, 0, 1))
                elif colour is None and texels is None and shown is not None:
                    colours = srgb_from_linear(np.clip(shown[rows], 0, 1))
                places = np.zeros((len(rows), 3, 2)) if uv is None else uv[rows]
                own = None if uv is None else texels
                if mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded:
                    rows, colours, places = rows[:, ::-1], colours[:, ::-1], places[:, ::-1]
                self.found.parts.append(Part(points[corners[rows]], colours, places, own))

    def at_corners(self, mesh: Any, name: str, sides: np.ndarray, corners: np.ndarray, count: int) -> np.ndarray | None:
        """A primvar's values [C, width] at all corners; None where there is none of a fitting length."""
        from pxr import UsdGeom

        primvar = UsdGeom.PrimvarsAPI(mesh.GetPrim()).FindPrimvarWithInheritance(name)
        values = primvar.ComputeFlattened(self.time) if primvar else None
        if values is None:
            return None
        values = np.asarray(values, float).reshape(len(values), -1)
        faces = np.repeat(np.arange(len(sides)), sides)
        which = {
            "constant": (1, np.zeros(len(corners), int)),
            "uniform": (len(sides), faces),
            "vertex": (count, corners),
            "varying": (count, corners),
            "faceVarying": (len(corners), np.arange(len(corners))),
        }
        wanted, rows = which[primvar.GetInterpolation()]
        return values[rows] if len(values) == wanted else None

    def look(self, material: Any) -> tuple[np.ndarray | None, np.ndarray | None, str]:
        """Linear colour [3] or None, texels or None, and the name of the texture's coordinates, of a material."""
        from pxr import UsdShade

        surface = material.ComputeSurfaceSource()[0] if material else None
        if not surface:
            return None, None, ""
        diffuse = surface.GetInput("diffuseColor")
        if not diffuse or surface.GetIdAttr().Get() != "UsdPreviewSurface":
            self.found.note("materials left out: wanted UsdPreviewSurface with a diffuseColor")
            return None, None, ""
        value = diffuse.Get()
        for given in filter(None, (diffuse, surface.GetInput("emissiveColor"))):
            for source in UsdShade.Utils.GetValueProducingAttributes(given):
                shader = UsdShade.Shader(source.GetPrim())
                if shader and shader.GetIdAttr().Get() == "UsdUVTexture" and shader.GetInput("file"):
                    return None, self.picture(shader.GetInput("file").Get()), self.coordinates(shader)
            value = value if given.Get() is None else given.Get()
            if value is None or any(value):  # what is black may glow
                break
        return (None if value is None else np.asarray(value, float)), None, ""

    def coordinates(self, shader: Any) -> str:
        from pxr import UsdShade

        where = shader.GetInput("st")
        for source in UsdShade.Utils.GetValueProducingAttributes(where) if where else []:
            name = UsdShade.Shader(source.GetPrim()).GetInput("varname")
            if name:
                return str(name.Get())
        return ""

    def picture(self, asset: Any) -> np.ndarray | None:
        """Texels of a picture in the package, or beside the file; None, with a note, where there is none."""
        from PIL import Image
        from pxr import Ar

        path = asset.path if asset is not None else ""
        if path not in self.textures:
            try:
                if "[" in asset.resolvedPath:
                    data = bytes(Ar.GetResolver().OpenAsset(Ar.ResolvedPath(asset.resolvedPath)).GetBuffer())
                else:
                    data = self.neighbours.get(path)
                with Image.open(io.BytesIO(data)) as image:
                    self.textures[path] = texels_of(image)
            except Exception as error:  # USD's own errors are of no one kind
                self.textures[path] = None
                self.found.note(f"textures left out: {path}: {reason_of(error)}")
        return self.textures[path]
