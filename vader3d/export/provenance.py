"""What made a file, read from it again."""

import re
import zipfile
from pathlib import Path
from typing import Any

from vader3d.export.line import TAG
from vader3d.export.threemf import CORE, MODEL, PROVENANCE
from vader3d.export.turntable import IMAGE_DESCRIPTION
from vader3d.export.usdz import layer_data
from vader3d.export.video import comment_of
from vader3d.snapshots import read_header
from vader3d.untrusted import parsed_json, read_json, reading

HEAD_BYTES = 1 << 20  # of a file whose first lines are looked through
LINE = re.compile(rb"^(?:#|comment) vader3d (\{.*\})\s*$", re.MULTILINE)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What an exported file says of what made it: the plain values that it was saved with.

    ValueError: no such file, a format that carries none (STL), or a file that says nothing.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: wanted an exported file; got no such file")
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"{path}: wanted one of {', '.join(READERS)}; got a format that says nothing of its making")
    with reading(path, "an exported file"):
        found = read(path)
        if isinstance(found, (str, bytes)):
            data = found.encode() if isinstance(found, str) else found
            found = parsed_json(data.removeprefix(f"{TAG} ".encode()))
        if not isinstance(found, dict):
            raise ValueError("provenance: wanted what made the file; got none; was it written by vader3d?")
    return found


def from_glb(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(20)
        length = int.from_bytes(head[12:16], "little")
        if head[:4] != b"glTF" or head[16:] != b"JSON" or length > path.stat().st_size:
            raise ValueError("format: wanted a GLB; got another")
        return parsed_json(file.read(length))["asset"].get("extras", {}).get(TAG)


def from_lines(path: Path) -> Any:
    with path.open("rb") as file:
        found = LINE.search(file.read(HEAD_BYTES))
    return found[1] if found else None


def from_picture(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.info.get(TAG) or picture.getexif().get(IMAGE_DESCRIPTION)


def from_3mf(path: Path) -> Any:
    from xml.etree import ElementTree

    with zipfile.ZipFile(path) as file, file.open(MODEL) as model:
        head = model.read(HEAD_BYTES).partition(b"<resources>")[0]
    if b"<!" in head:  # declarations of entities, which may unfold without bounds
        raise ValueError("format: wanted a plain 3MF model; got declarations in it")
    for each in ElementTree.fromstring(head + b"</model>").iter(f"{{{CORE}}}metadata"):
        if each.get("name") == PROVENANCE:
            return each.text
    return None


def from_usdz(path: Path) -> Any:
    return layer_data(path).get(TAG)


def from_mp4(path: Path) -> Any:
    return comment_of(path)


def from_safetensors(path: Path) -> Any:
    return read_header(path, "volume").get("provenance")


def from_scene(path: Path) -> Any:
    return read_json(path).get(TAG)


READERS = {
    ".glb": from_glb,
    ".obj": from_lines,
    ".ply": from_lines,
    ".3mf": from_3mf,
    ".usdz": from_usdz,
    ".webp": from_picture,
    ".png": from_picture,
    ".mp4": from_mp4,
    ".safetensors": from_safetensors,
    ".json": from_scene,
}
