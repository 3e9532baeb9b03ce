"""Reads 3MF: objects, components and colours of its parts."""

import io
import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np

from vader3d.data.making.parts import PLAIN, Part, Parts, texels_of
from vader3d.data.mesh_files import TEXT_MESH_BYTES, check_faces
from vader3d.untrusted import reason_of, zip_member

START, DEEPEST, MOST = "3D/3dmodel.model", 32, 2**16  # components in one another, and all together
GROUPS = {"basematerials": "displaycolor", "colorgroup": "color"}  # whose children have colours


def parts_of_3mf(data: bytes) -> Parts:
    """The triangles of all that is to be built; ValueError for a package without a model."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return Package(opened).parts()


class Model:
    """A parsed model: what is to be built, its objects and its colours [N, 3] by their ids.

    pictures, places: of groups of texture coordinates [N, 2], by their ids.
    """

    def __init__(self, root: Any):
        self.items = [*each(root, "item")]
        self.objects = {thing.get("id"): thing for thing in each(root, "object")}
        self.colours = palette(root)
        pictures = {thing.get("id"): thing.get("path", "").lstrip("/") for thing in each(root, "texture2d")}
        groups = list(each(root, "texture2dgroup"))
        self.pictures = {group.get("id"): pictures.get(group.get("texid"), "") for group in groups}
        self.places = {
            group.get("id"): np.array([[float(place.get("u", 0)), float(place.get("v", 0))] for place in group])
            for group in groups
        }


class Package:
    """A package's models, parsed as they are asked for."""

    def __init__(self, opened: zipfile.ZipFile):
        self.opened, self.models = opened, dict[str, Model]()
        self.found, self.faces, self.placed = Parts(), 0, 0
        self.decoded: dict[str, np.ndarray | None] = {}

    def model(self, name: str) -> Model:
        if name not in self.models:
            data = zip_member(self.opened, name, most=TEXT_MESH_BYTES)
            if b"<!ENTITY" in data:
                raise ValueError("mesh: wanted plain XML; got entities, which may grow without end")
            self.models[name] = Model(ElementTree.fromstring(data))
        return self.models[name]

    def parts(self) -> Parts:
        names = self.opened.namelist()
        start = next((name for name in names if name.lower() == START.lower()), None)
        start = start or next((name for name in names if name.lower().endswith(".model")), START)
        for item in self.model(start).items:
            self.add(start, item, np.eye(4), DEEPEST)
        return self.found

    def add(self, name: str, item: Any, above: np.ndarray, deeper: int) -> None:
        """What an item of a model, or a component, names, where it stands."""
        self.placed += 1
        if not deeper or self.placed > MOST:
            raise ValueError(f"components: wanted a tree of at most {MOST}; got more, or a circle")
        name = posixpath.normpath(said(item, "path") or name).lstrip("/")
        world, model = placed(item) @ above, self.model(name)
        thing = model.objects.get(item.get("objectid"))
        if thing is None:
            raise ValueError(f"objects: wanted {item.get('objectid')} in {name}; got none")
        for component in each(thing, "component"):
            self.add(name, component, world, deeper - 1)
        for mesh in each(thing, "mesh"):
            self.found.parts += self.parts_in(mesh, thing, model, world)

    def parts_in(self, mesh: Any, thing: Any, model: Model, world: np.ndarray) -> list[Part]:
        """A mesh's triangles, a part for each texture."""
        points = np.array([[float(vertex.get(axis)) for axis in "xyz"] for vertex in each(mesh, "vertex")])
        triangles = [*each(mesh, "triangle")]
        self.faces += len(triangles)
        check_faces(self.faces)
        numbers = [[int(triangle.get(f"v{n}")) for n in (1, 2, 3)] for triangle in triangles]
        faces = np.array(numbers, int).reshape(-1, 3)
        if len(faces) and not 0 <= faces.min() <= faces.max() < len(points):
            raise ValueError(f"triangles: wanted corners of 0 to {len(points) - 1}; got {faces.min()} to {faces.max()}")
        shown, uv = np.full((len(faces), 3, 3), PLAIN), np.zeros((len(faces), 3, 2))
        named = np.full(len(faces), "", dtype=object)
        for row, triangle in enumerate(triangles):
            group = triangle.get("pid", thing.get("pid"))
            first = triangle.get("p1", thing.get("pindex") if triangle.get("pid") is None else None)
            if first is not None and (group in model.colours or group in model.places):
                chosen = [int(triangle.get(f"p{n}", first)) for n in (1, 2, 3)]
                if group in model.colours:
                    shown[row] = model.colours[group][chosen]
                else:
                    uv[row], named[row] = model.places[group][chosen], model.pictures[group]
        corners = (points @ world[:3, :3] + world[3, :3])[faces] if len(faces) else np.empty((0, 3, 3))
        parts = []
        for name in sorted(set(named)):
            texels, which = self.texels(name) if name else None, named == name
            colours = shown[which] if texels is None else np.ones((which.sum(), 3, 3))
            parts.append(Part(corners[which], colours, uv[which], texels))
        return parts

    def texels(self, name: str) -> np.ndarray | None:
        """A picture of the package; None, with a note, where it cannot be had."""
        from PIL import Image

        if name not in self.decoded:
            try:
                with Image.open(io.BytesIO(zip_member(self.opened, name, most=TEXT_MESH_BYTES))) as image:
                    self.decoded[name] = texels_of(image)
            except (OSError, ValueError, SyntaxError) as error:
                self.decoded[name] = None
                self.found.note(f"textures left out: {name}: {reason_of(error)}")
        return self.decoded[name]


def each(element: Any, kind: str) -> Iterator[Any]:
    """Elements of a kind below, whatever their namespace."""
    return (inner for inner in element.iter() if inner.tag.rpartition("}")[2] == kind)


def said(element: Any, name: str) -> str | None:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def placed(element: Any) -> np.ndarray:
    """A transform [4, 4] of rows: points stand on the left."""
    numbers = [float(word) for word in element.get("transform", "1 0 0 0 1 0 0 0 1 0 0 0").split()]
    return np.concatenate([np.reshape(numbers, (4, 3)), [[0], [0], [0], [1]]], 1)


def palette(model: Any) -> dict[str, np.ndarray]:
    """The colours [N, 3] of a model's groups, by their ids."""
    groups = {}
    for kind, name in GROUPS.items():
        for group in each(model, kind):
            words = [inner.get(name, "#B2B2B2").lstrip("#")[:6] for inner in group]
            numbers = [[int(word[at : at + 2], 16) for at in (0, 2, 4)] for word in words]
            groups[group.get("id")] = np.array(numbers) / 255
    return groups
