"""Reads OmniObject3D's Blender renders: render/transforms.json."""

from dataclasses import replace
from pathlib import Path

from vader3d.data.reading import nerfstudio
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of CATEGORY/OBJECT/render, whose pictures lie in render/images; the category is the folder's above."""
    category = reading.category or folder.parent.name
    return nerfstudio.read_object(folder / "render", name, replace(reading, category=category))


OMNIOBJECT3D = Reader(
    name="omniobject3d",
    what="OmniObject3D's renders: CATEGORY/OBJECT/render with transforms.json and images.",
    source="A folder of categories (blender_renders), or one of them, or an object.",
    markers=("render/transforms.json",),
    mask="auto",
    read_object=read_object,
)
