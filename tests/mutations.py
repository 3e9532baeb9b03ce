"""Foreign data sets, meshes and captions with one of their files spoilt, many times over.

As a program: `mutations.py TALLY COUNT [KIND...]` spoils and reads each kind so many times, prints how many there were
and each that hung, took memory without end, or raised what no command prints, and goes on where TALLY, its file, is.
"""

import json
import logging
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import colmap_files
import foreign
import numpy as np
import pytest
import trimesh
from foreign_sets import SETS
from hostile import damaged, reworded, spoilt_member, swapped_json
from PIL import Image

from vader3d.captions import read_captions
from vader3d.data.making.crew import Job, attempt
from vader3d.data.making.surface import load_surface
from vader3d.data.photographs.frames import chosen_frames
from vader3d.data.photographs.objects import given_views
from vader3d.data.reading import carving, co3d
from vader3d.data.reading.folders import object_folders
from vader3d.data.reading.reader import Reading
from vader3d.data.reading.readers import READERS
from vader3d.files import write_text
from vader3d.untrusted import reason_of

LONGEST_SECONDS, MOST_BYTES = 20, 2**30  # of the processor, and of memory, that one spoilt file may take
WAITING = 10  # times as long by the clock: other processes may have the processor
WORDS = {".usda", ".json", ".txt", ".obj", ".mtl", ".off", ".csv", ".tsv", ".jsonl", ".dae", ".gltf"}
VIEWS = 3
CELLS = {"COARSE": 6, "FINE": 12}  # a side where objects are carved: the same code, and ten times as many are tried
CHUNK = 1000  # spoilt ones of a seed
Write, Read = Callable[[Path], object], Callable[[Path], object]


class Endless(BaseException):
    """What takes longer than it may."""


@dataclass
class Tally:
    """What became of the spoilt ones of a kind: how many, of these refused, the reasons' beginnings, and the faults."""

    tried: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def write_dressed(folder: Path, kind: str) -> None:
    """A box with a texture and a ball, in a kind of file that names pictures or holds them."""
    box = trimesh.creation.box((1, 0.7, 0.4))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8))
    box.visual = trimesh.visual.TextureVisuals(uv=box.vertices[:, :2], image=picture)
    scene = trimesh.Scene([box, trimesh.creation.icosphere(subdivisions=1)])
    if kind == "gltf":
        for name, data in trimesh.exchange.gltf.export_gltf(scene).items():
            (folder / ("thing.gltf" if name.endswith(".gltf") else name)).write_bytes(data)
    elif kind == "dae":
        (folder / "thing.dae").write_bytes(trimesh.exchange.dae.export_collada(box))
    else:
        (box if kind == "obj" else scene).export(folder / f"thing.{kind}")


def write_plain(folder: Path, kind: str, **how: object) -> None:
    trimesh.creation.box((1, 0.7, 0.4)).export(folder / f"thing.{kind}", **how)


def write_polygons(folder: Path) -> None:
    """A PLY in words with triangles and a square, colours and places in textures."""
    lines = ["ply", "format ascii 1.0", "element vertex 5", *(f"property float {name}" for name in "xyz")]
    lines += [f"property uchar {name}" for name in ("red", "green", "blue")]
    lines += ["element face 5", "property list uchar int vertex_indices", "end_header"]
    lines += ["0 0 0 255 0 0", "1 0 0 0 255 0", "1 1 0 0 0 255", "0 1 0 9 9 9", "0.5 0.5 1 7 7 7"]
    lines += ["4 0 1 2 3", "3 0 1 4", "3 1 2 4", "3 2 3 4", "3 3 0 4"]
    (folder / "thing.ply").write_text("\n".join(lines) + "\n")


def write_usd(folder: Path, kind: str) -> None:
    """Two meshes, one within a moved place, with colours and places in textures, y up."""
    from pxr import Gf, Sdf, Usd, UsdGeom

    stage = Usd.Stage.CreateNew(str(folder / f"thing.{kind}"))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.Xform.Define(stage, "/world").AddTranslateOp().Set(Gf.Vec3d(0.1, 0.2, 0.3))
    box = trimesh.creation.box((1, 0.7, 0.4))
    for name in ("/box", "/world/box"):
        mesh = UsdGeom.Mesh.Define(stage, name)
        mesh.GetPointsAttr().Set(box.vertices.tolist())
        mesh.GetFaceVertexCountsAttr().Set([3] * len(box.faces))
        mesh.GetFaceVertexIndicesAttr().Set(box.faces.flatten().tolist())
        mesh.GetDisplayColorAttr().Set([(0.1, 0.5, 0.9)])
        places = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "vertex")
        places.Set([(float(x), float(y)) for x, y, _ in box.vertices])
    stage.GetRootLayer().Save()


def write_photos(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0xA405] = 35
        pixels = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"IMG_{number}.jpg", exif=exif)


def views() -> list[foreign.ForeignView]:
    return foreign.trimesh_views(size=16)[:VIEWS]


def read_thing(folder: Path) -> object:
    path = next(path for path in folder.glob("thing.*") if path.suffix != ".mtl")
    return load_surface(path)


def read_apart(folder: Path) -> object:
    """As a worker of `prepare`: what its library breaks costs one process, here silent, and is a refusal."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        outcome(lambda: read_thing(folder), "", tally := Tally())
        os._exit(2 if tally.faults else tally.refused)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code != 2, "hung, took memory without end, or raised what no command prints"
    if code:
        raise ValueError("mesh: wanted one that can be read; got a refusal or a worker that died")
    return None


def read_scene(name: str) -> Read:
    """As the command does: the folders found, the objects made."""

    def read(folder: Path) -> object:
        reader = READERS[name]
        co3d.sequences.cache_clear()  # remembered by the file's name
        places = object_folders(reader, folder)
        made = [attempt(Job("scene", reader.read_object, (place, "scene", Reading(size=8)))) for place in places]
        faults = [each for each in made if isinstance(each, Exception)]
        if len(faults) == len(made):
            raise faults[0]
        return None

    return read


def read_photos(folder: Path) -> object:
    return given_views(folder) or chosen_frames(folder, 3)[0]


def captions(name: str, text: str) -> tuple[Write, Read]:
    return lambda folder: (folder / name).write_text(text), lambda folder: read_captions(folder / name)


def scenes(reader: str, write: Write) -> tuple[Write, Read]:
    return lambda folder: write(folder / "scene"), read_scene(reader)


def sets(reader: str, write: Callable[[Path, list[foreign.ForeignView]], object]) -> tuple[Write, Read]:
    return lambda folder: write(folder / "set", views()), read_scene(reader)


def meshes(write: Callable[..., object], kind: str, **how: object) -> tuple[Write, Read]:
    return lambda folder: write(folder, kind, **how), read_thing


KINDS: dict[str, tuple[Write, Read]] = {
    "nerfstudio": scenes("nerfstudio", lambda place: foreign.write_nerfstudio(place, views())),
    "blender": scenes("nerfstudio", lambda place: foreign.write_blender(place, foreign.trimesh_views(size=16))),
    "srn": scenes("srn", lambda place: foreign.write_srn(place, views())),
    "eg3d": scenes("eg3d", lambda place: foreign.write_eg3d(place, views())),
    "objaverse": scenes("objaverse", lambda place: foreign.write_objaverse(place, views())),
    "colmap text": scenes("colmap", lambda place: colmap_files.write_colmap(place, views(), binary=False)),
    "colmap binary": scenes("colmap", lambda place: colmap_files.write_colmap(place, views(), binary=True)),
    **{name: sets(reader, write) for name, (write, reader, _) in SETS.items()},
    "photographs": (write_photos, read_photos),
    "posed photographs": (
        lambda folder: foreign.write_nerfstudio(folder / "o", views()),
        lambda folder: read_photos(folder / "o"),
    ),
    **{kind: meshes(write_dressed, kind) for kind in ("glb", "gltf", "obj", "3mf", "dae")},
    **{kind: meshes(write_plain, kind) for kind in ("ply", "stl", "off")},
    **({kind: (partial(write_usd, kind=kind), read_apart) for kind in ("usda", "usdc")} if find_spec("pxr") else {}),
    "stl in words": meshes(write_plain, "stl", file_type="stl_ascii"),
    "ply in words": (write_polygons, read_thing),
    "captions csv": captions("captions.csv", 'name,caption\na,a chair\nb,"a table, red"\n'),
    "captions tsv": captions("captions.tsv", "uid\ttext\na\ta chair\nb\ta table\n"),
    "captions json": captions("captions.json", json.dumps({"a": "a chair", "b": ["a", {"text": "b", "source": "c"}]})),
    "captions jsonl": captions(
        "captions.jsonl", '{"name": "a", "caption": "a chair"}\n{"id": "b", "texts": ["a", "b"]}\n'
    ),
}


def spoilt(path: Path, data: bytes, rng: random.Random) -> bytes:
    """A file's bytes, changed as its kind is: bytes, values of JSON, words of text."""
    ways = [damaged]
    if path.suffix in (".json", ".gltf"):
        ways += [swapped_json] * 2
    if path.suffix in WORDS or data[:40].isascii():
        ways += [reworded] * 2
    more = {".glb": swapped_glb, ".3mf": spoilt_member}.get(path.suffix)
    ways += [more] * 3 if more else []
    return rng.choice(ways)(data, rng)


def swapped_glb(data: bytes, rng: random.Random) -> bytes:
    """A GLB with another value in its document, all lengths right."""
    length = int.from_bytes(data[12:16], "little")
    document = swapped_json(data[20 : 20 + length], rng)
    document += b" " * (-len(document) % 4)
    rest = data[20 + length :]
    return data[:8] + struct.pack("<II", 20 + len(document) + len(rest), len(document)) + data[16:20] + document + rest


def mutate(name: str, *, seed: int, seconds: float = 1e9, count: int = 10**9) -> Tally:
    """Spoil and read one kind, `count` times or for so many seconds of the processor."""
    write, read = KINDS[name]
    room, rng, tally = Path(tempfile.mkdtemp(prefix="mutations-")), random.Random(f"{name} {seed}"), Tally()
    try:
        write(room)
        read(room)
        files = {path: path.read_bytes() for path in sorted(room.rglob("*")) if path.is_file()}
        words = [path for path in files if path.suffix not in (".png", ".jpg")]
        start = time.process_time()
        while tally.tried < count and time.process_time() - start < seconds:
            path = rng.choice(words if words and rng.random() < 0.8 else list(files))
            path.write_bytes(spoilt(path, files[path], rng))
            outcome(lambda: read(room), f"{name}: file {path.name}, number {tally.tried} of seed {seed}", tally)
            path.write_bytes(files[path])
    finally:
        shutil.rmtree(room)
    return tally


def outcome(read: Callable[[], object], place: str, tally: Tally) -> None:
    """Read once, within limits, and note what came of it."""
    tally.tried += 1
    logged: list[logging.LogRecord] = []
    heard = logging.Handler()
    heard.emit = logged.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(heard)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING * LONGEST_SECONDS)
    try:
        read()
    except Endless:
        tally.faults.append(f"{place}: took more than {LONGEST_SECONDS} s of the processor")
    except (ValueError, OSError) as error:
        tally.refused += 1
        tally.reasons[" ".join(str(error).split("; got")[0].split()[:6])[-60:]] += 1
        if not str(error).isprintable() or len(str(error)) > 1500 or "MemoryError" in str(error):
            tally.faults.append(f"{place}: {str(error)[:300]!r}")
    except Exception as error:
        tally.faults.append(f"{place}: {reason_of(error)}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        logging.getLogger().removeHandler(heard)
        tally.faults += [f"{place}: logs a traceback: {record.getMessage()}" for record in logged if record.exc_info]


def endless(*_: object) -> None:
    raise Endless


class Limits:
    """Within: an alarm raises `Endless`, and memory beyond what there is now is limited."""

    def __enter__(self) -> None:
        self.handlers = {kind: signal.signal(kind, endless) for kind in (signal.SIGALRM, signal.SIGPROF)}
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self.before)
        for kind, handler in self.handlers.items():
            signal.signal(kind, handler)


def tally_up(path: Path, count: int, names: Sequence[str]) -> None:
    """Try each kind until `count` were, a chunk of each after the other; what came of all is kept at `path`."""
    known: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    for chunk in range(-(-count // CHUNK)):
        for name in names:
            entry = known.setdefault(name, {"tried": 0, "refused": 0, "faults": [], "reasons": {}})
            if entry["tried"] > chunk * CHUNK:
                continue
            tally = mutate(name, seed=chunk, count=CHUNK)
            entry["tried"] += tally.tried
            entry["refused"] += tally.refused
            entry["faults"] += tally.faults
            entry["reasons"] = dict((Counter(entry["reasons"]) + tally.reasons).most_common(50))
            write_text(path, json.dumps(known, indent=1))
            print(
                f"{name}: {entry['tried']} tried, {entry['refused']} refused", *tally.faults, sep="\n    ", flush=True
            )


if __name__ == "__main__":
    for name in KINDS:
        mutate(name, seed=0, count=0)  # loads what reading takes, before memory is limited
    with Limits(), pytest.MonkeyPatch.context() as patched:
        for cells, side in CELLS.items():
            patched.setattr(carving, cells, side)
        tally_up(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or list(KINDS))
