"""Reads OBJ and MTL as they are found: of many programs, half broken."""

import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vader3d.data.making.parts import PLAIN, Part, Parts, texels_of
from vader3d.data.making.polygons import triangulated
from vader3d.data.mesh_files import check_faces
from vader3d.untrusted import reason_of, text_of

Resolve = Callable[[str], bytes]
BARE = 1.0  # grey of materials without a colour
ONE, TWO, THREE = ("blendu", "blendv", "cc", "clamp", "boost", "texres", "bm", "imfchan", "type"), ("mm",), "ost"
OPTIONS = {f"-{name}": most for most, names in ((1, ONE), (2, TWO), (3, THREE)) for name in names}  # words that follow


@dataclass
class Material:
    """A material of an MTL in a folder: its colour, and its texture with the scale and offset of that."""

    colour: tuple[float, ...] = ()
    texture: str = ""
    folder: str = ""
    alpha: str = ""
    scale: np.ndarray = field(default_factory=lambda: np.ones(2))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(2))


@dataclass
class Corners:
    """Polygons of one material and one number of sides: numbers of points and of texture coordinates."""

    points: list[list[int]] = field(default_factory=list)
    uvs: list[list[int]] = field(default_factory=list)


def parts_of_obj(data: bytes, stem: str, resolve: Resolve) -> Parts:
    """The triangles of an OBJ; `stem` is its file's name, `resolve` gives the files that it names.

    Faces before any `usemtl` have the first material, if there is one. ValueError for numbers that are none.
    """
    found, libraries = Parts(), []
    points: list[list[float]] = []
    places: list[list[float]] = []
    groups: dict[tuple[str, int], Corners] = defaultdict(Corners)
    name = ""
    for line in lines_of(data):
        word, _, rest = line.partition(" ")
        rest = rest.partition("#")[0].replace(",", ".") if word in ("v", "vt", "f") else rest  # decimal commas
        if word == "v":
            points.append([float(number) for number in rest.split()])
        elif word == "vt":
            places.append([float(number) for number in [*rest.split(), "0"][:2]])
        elif word == "f":
            corners = [corner.split("/") for corner in rest.split()]
            if len(corners) > 2:
                group = groups[name, len(corners)]
                group.points.append([index_of(corner[0], len(points)) for corner in corners])
                group.uvs.append(uvs_of(corners, len(places), found))
        elif word == "usemtl":
            name = rest.strip()
        elif word == "mtllib":
            libraries.append(rest.strip())
    materials = materials_of(libraries, stem, resolve, found, any(name for name, _ in groups))
    first = next(iter(materials.values()), None)
    if not materials and places and not found.notes:
        found.note("no MTL: textures, if it has any, are left out")
    any_case = {name.lower(): material for name, material in materials.items()}
    check_faces(sum((sides - 2) * len(group.points) for (_, sides), group in groups.items()))
    position, own = columns_of(points)
    uv = np.array([*places, [0.0, 0.0]])
    textures = Textures(resolve, found)
    for (name, _), group in groups.items():
        material = materials.get(name) or (any_case.get(name.lower()) if name else first)
        if name and material is None:
            found.note(f"material {name!r} is in no MTL")
        found.parts.append(part_of(group, position, own, uv, material, textures))
    return found


def lines_of(data: bytes) -> list[str]:
    """Lines without comments, a blank after the first word, continued ones joined; UTF-8, else Latin-1."""
    try:
        text = text_of(data)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    text = text.replace("\\\r\n", " ").replace("\\\n", " ")
    lines = (line.split(None, 1) for line in text.splitlines())
    return [" ".join(words) for words in lines if words and not words[0].startswith("#")]


def index_of(word: str, count: int) -> int:
    """A place from 0, of one from 1 or, where it is negative, from the last back."""
    number = int(word)
    place = number - 1 if number > 0 else count + number
    if not 0 <= place < count or number == 0:
        raise ValueError(f"f: wanted a number of 1 to {count}; got {number}")
    return place


def uvs_of(corners: list[list[str]], count: int, found: Parts) -> list[int]:
    """Places of a face's texture coordinates; -1, the one that `parts_of_obj` adds, where it has none of the file's."""
    if not all(len(corner) > 1 and corner[1] for corner in corners):
        return [-1] * len(corners)
    try:
        return [index_of(corner[1], count) for corner in corners]
    except ValueError:
        found.note("faces name texture coordinates that are not there")
        return [-1] * len(corners)


def columns_of(points: list[list[float]]) -> tuple[np.ndarray, np.ndarray | None]:
    """Points [P, 3] and, where all have them, their colours [P, 3] in [0, 1], sRGB; all white are none.

    Of seven numbers the fourth is a weight, 1, where all fourth ones and not all last ones are.
    """
    if any(len(point) < 3 for point in points):
        raise ValueError("v: wanted 3 numbers or more; got fewer")
    position = np.array([point[:3] for point in points]).reshape(-1, 3)
    if not points or any(len(point) < 6 for point in points):
        return position, None
    rest = np.array([[*point[3:], 1.0][:4] for point in points])
    weighted = min(map(len, points)) > 6 and (rest[:, 0] == 1).all() and not (rest[:, 3] == 1).all()
    colours = rest[:, 1:] if weighted else rest[:, :3]
    colours = (colours / (255 if colours.max() > 1 else 1)).clip(0, 1)
    return position, None if (colours == 1).all() else colours


def part_of(
    group: Corners,
    position: np.ndarray,
    own: np.ndarray | None,
    uv: np.ndarray,
    material: Material | None,
    textures: "Textures",
) -> Part:
    points, places = np.array(group.points), np.array(group.uvs)
    rows, triples = triangulated(position[points])
    points, places = points[rows[:, None], triples], places[rows[:, None], triples]
    texels = textures.of(material) if material is not None and (places >= 0).any() else None
    colours = np.full((len(points), 3, 3), PLAIN if material is None else BARE)
    if texels is None and own is not None:
        colours = own[points]
    elif texels is None and material is not None and material.colour:
        colours[:] = np.clip(material.colour, 0, 1)
    corners = uv[places]
    if material is not None:
        corners = corners * material.scale + material.offset
    return Part(position[points], colours, corners, texels)


def materials_of(libraries: list[str], stem: str, resolve: Resolve, found: Parts, wanted: bool) -> dict[str, Material]:
    """Those of all MTLs that are found; where none is, and some are asked for, of the MTL called as the OBJ."""
    materials: dict[str, Material] = {}
    for named in libraries:
        texts = {text: name for name in (named, *named.split()) if (text := fetched(resolve, name)) is not None}
        if not texts:
            found.note(f"MTL left out: {named!r} is not there")
        for text, name in texts.items():
            materials |= read_mtl(text, name.replace("\\", "/").rpartition("/")[0])
    if not materials and wanted and (text := fetched(resolve, f"{stem}.mtl")) is not None:
        materials = read_mtl(text)
    return materials


def fetched(resolve: Resolve, name: str) -> bytes | None:
    try:
        return resolve(name)
    except (OSError, KeyError, ValueError):
        return None


def read_mtl(data: bytes, folder: str = "") -> dict[str, Material]:
    materials: dict[str, Material] = {}
    own = Material()
    for line in lines_of(data):
        word, _, rest = line.partition(" ")
        word = word.lower()
        if word == "newmtl":
            own = materials.setdefault(rest.strip(), Material(folder=folder))
        elif word == "kd" and rest[:1] in "-.0123456789":
            numbers = [float(number) for number in rest.replace(",", ".").split()[:3]]
            numbers = [number / 255 for number in numbers] if max(numbers) > 2 else numbers
            own.colour = tuple((numbers * 3)[:3] if len(numbers) < 3 else numbers)
        elif word == "ke" and own.colour and max(own.colour) == 0 and rest[:1] in "-.0123456789":  # black that glows
            own.colour = tuple(float(number) for number in rest.replace(",", ".").split()[:3])
        elif word == "map_kd" or (word in ("map_ka", "map_ke") and not own.texture):
            own.texture, own.scale, own.offset = texture_of(rest)
        elif word == "map_d":
            own.alpha = texture_of(rest)[0]
    return materials


def texture_of(words: str) -> tuple[str, np.ndarray, np.ndarray]:
    """A texture's file, scale and offset, of what stands behind map_Kd; the file's name may have blanks."""
    scale, offset = np.ones(2), np.zeros(2)
    while (option := (words := words.lstrip()).partition(" ")[0]).lower() in OPTIONS:
        words = words.partition(" ")[2].lstrip()
        taken: list[str] = []
        numeric = option.lower() not in ("-blendu", "-blendv", "-cc", "-clamp", "-imfchan", "-type")
        while len(taken) < OPTIONS[option.lower()] and words and (not numeric or is_number(words.split()[0])):
            word, _, words = words.partition(" ")
            words = words.lstrip()
            taken.append(word)
        if option.lower() in ("-s", "-o") and taken:
            numbers = np.array([float(word) for word in taken])
            default = 1.0 if option.lower() == "-s" else 0.0
            (scale if option.lower() == "-s" else offset)[:] = [*numbers[:2], default][:2]
    return words.partition(" #")[0].strip().strip('"'), scale, offset


def is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


class Textures:
    """Pictures by their names, each decoded once; those that cannot be had are noted."""

    def __init__(self, resolve: Resolve, found: Parts):
        self.resolve, self.found = resolve, found
        self.decoded: dict[tuple[str, str, str], np.ndarray | None] = {}

    def of(self, material: Material) -> np.ndarray | None:
        key = (material.texture, material.alpha, material.folder)
        if key not in self.decoded:
            texels = self.picture(material.texture, material.folder) if material.texture else None
            if texels is not None and not (texels[..., 3] >= 128).any():  # leftovers: nothing at all would show
                texels = np.concatenate([texels[..., :3], np.full_like(texels[..., 3:], 255)], -1)
            mask = self.picture(material.alpha, material.folder) if texels is not None and material.alpha else None
            self.decoded[key] = texels if mask is None or texels is None else masked(texels, mask)
        return self.decoded[key]

    def picture(self, name: str, folder: str) -> np.ndarray | None:
        """A texture that an MTL in a folder names: from there, else from the OBJ's."""
        from PIL import Image

        beside = fetched(self.resolve, f"{folder}/{name}") if folder else None
        try:
            with Image.open(io.BytesIO(self.resolve(name) if beside is None else beside)) as image:
                return texels_of(image)
        except FileNotFoundError:
            self.found.note(f"textures left out: {name} is not there")
        except (OSError, KeyError, ValueError, SyntaxError) as error:
            self.found.note(f"textures left out: {name}: {reason_of(error)}")
        return None


def masked(texels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Texels whose alpha is that of a mask, or its brightness where it has none."""
    from PIL import Image

    alpha = mask[..., 3] if (mask[..., 3] < 255).any() else mask[..., :3].max(-1)
    fitted = Image.fromarray(alpha).resize(texels.shape[1::-1])
    return np.concatenate([texels[..., :3], np.asarray(fitted)[..., None]], -1)
