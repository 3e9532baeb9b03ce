"""Chairs, stools and tables of our own making, in any number."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vader3d.captions import Caption, joined
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.captioning.kinds import with_article
from vader3d.data.making.conversion import Job, Output, PrepareReport, Work, convert
from vader3d.data.making.joinery import Solid, assembled, box, leaned, strut
from vader3d.data.making.meshes import Photography, render_object
from vader3d.data.making.surface import OBJECT_RADIUS, surface_from_scene
from vader3d.data.writer import PreparedObject
from vader3d.files import cache_folder, held

if TYPE_CHECKING:
    from trimesh import Trimesh

COUNT, EDITION = 500, 1  # the edition rises whenever the same seed gives other objects
PAINTS = {
    "red": (0.76, 0.15, 0.13),
    "orange": (0.91, 0.49, 0.13),
    "yellow": (0.93, 0.80, 0.25),
    "green": (0.24, 0.56, 0.28),
    "turquoise": (0.24, 0.66, 0.66),
    "blue": (0.20, 0.36, 0.74),
    "purple": (0.48, 0.27, 0.62),
    "pink": (0.90, 0.55, 0.66),
    "white": (0.92, 0.91, 0.88),
    "grey": (0.52, 0.53, 0.55),
    "black": (0.16, 0.16, 0.17),
}
WOODS = {"light": (0.83, 0.67, 0.46), "brown": (0.58, 0.38, 0.21), "dark": (0.36, 0.22, 0.14)}
STEEL = (0.66, 0.68, 0.70)
TABLE_SHARE = 0.2


@dataclass(frozen=True)
class Design:
    """All that is decided about one piece; lengths in metres before it is scaled into the cube.

    kind: chair, stool, table; material: wooden, plastic, metal; legs: straight, tapered, splayed, pedestal, sled;
    back: none, slatted, ladder, solid, framed; seat: square, round. `accent` colours a cushion, where there is one.
    """

    kind: str
    paint: str
    colour: tuple[float, ...]
    material: str
    legs: str
    leg_count: int
    leg_colour: tuple[float, ...]
    seat: str
    width: float
    depth: float
    height: float
    thickness: float
    back: str
    back_height: float
    slope: float
    arms: bool
    cushion: str
    shelf: bool

    @property
    def caption(self) -> str:
        """What the piece is, in one exact phrase."""
        round_or_not = "round " if self.seat == "round" else ""
        steel = "grey steel " if self.leg_colour == STEEL else ""
        extras = [
            self.base(steel),
            BACKS[self.back],
            "arms" if self.arms else "",
            "a lower shelf" if self.shelf else "",
        ]
        extras += [f"a {self.cushion} cushion" if self.cushion else ""]
        return with_article(f"{round_or_not}{self.paint} {self.material} {self.kind} with {listed(extras)}")

    @property
    def captions(self) -> tuple[str, ...]:
        """Exact phrases: all there is, type and colour, each part with its colour, the material, type before colour."""
        legs = "grey steel" if self.leg_colour == STEEL else self.hue
        parts = [f"{with_article(f'{self.shape} {self.hue}')} {'top' if self.kind == 'table' else 'seat'}"]
        back = BACKS[self.back].removeprefix("a ").removeprefix("an ")
        parts += [with_article(f"{self.hue} {back}") if back else "", self.base(f"{legs} ")]
        parts += [f"{self.hue} arms" if self.arms else "", f"a {self.hue} lower shelf" if self.shelf else ""]
        parts += [f"a {self.cushion} cushion" if self.cushion else ""]
        brief = with_article(f"{self.hue} {self.kind}")
        parted = f"{with_article(f'{self.material} {self.kind}')} with {listed(parts)}"
        made_of = with_article(f"{self.paint} {self.material} {self.kind}")
        return (self.caption, brief, parted, made_of, f"{with_article(self.kind)}, {self.hue}")

    @property
    def tags(self) -> tuple[str, ...]:
        """The same as key:value."""
        tags = {"type": self.kind, "colour": self.hue, "material": self.material, "seat": self.shape, "legs": self.legs}
        tags |= {"leg-count": str(self.leg_count)} if self.legs not in BASES else {}
        tags |= {"leg-colour": "grey" if self.leg_colour == STEEL else self.hue, "back": self.back}
        tags |= {"arms": "yes" if self.arms else "no", "cushion": self.cushion or "none"}
        return tuple(f"{key}:{value}" for key, value in tags.items()) + (("shelf:yes",) if self.shelf else ())

    @property
    def hue(self) -> str:
        """The colour in one of `vader3d.colour.COLOURS`."""
        return {"light": "beige", "dark": "brown"}.get(self.paint, self.paint)

    @property
    def shape(self) -> str:
        """The seat's or top's."""
        return "rectangular" if self.seat == "square" and self.depth < 0.85 * self.width else self.seat

    def base(self, coloured: str) -> str:
        """What it stands on; `coloured` stands before it."""
        if self.legs in BASES:
            return with_article(f"{coloured}{BASES[self.legs]}")
        return f"{ {3: 'three', 4: 'four'}[self.leg_count] } {self.legs} {coloured}legs"


BASES = {"pedestal": "pedestal", "sled": "sled base"}
BACKS = {
    "none": "",
    "solid": "a solid back",
    "slatted": "a slatted back",
    "ladder": "a ladder back",
    "framed": "an open framed back",
}


def listed(phrases: Sequence[str]) -> str:
    """Phrases that are not empty, with commas and an and."""
    said = [phrase for phrase in phrases if phrase]
    return ", ".join(said[:-1]) + " and " + said[-1] if len(said) > 1 else said[0]


def captions_of(piece: Design) -> tuple[Caption, ...]:
    return joined((Caption(text, "chairs") for text in piece.captions), ())


def design(seed: int, index: int) -> Design:
    """Object `index` of the series `seed`: the same for ever, whatever else is made."""
    rng = np.random.default_rng([EDITION, seed, index])
    table = rng.random() < TABLE_SHARE
    material = str(rng.choice(["wooden", "plastic", "metal"], p=[0.6, 0.22, 0.18]))
    natural = material == "wooden" and rng.random() < 0.5
    paint = str(rng.choice(list(WOODS if natural else PAINTS)))
    colour = tuple(np.clip(np.array((WOODS if natural else PAINTS)[paint]) + rng.normal(0, 0.025, 3), 0.05, 0.97))
    legs = str(rng.choice(["straight", "tapered", "splayed", "pedestal", "sled"], p=[0.34, 0.22, 0.22, 0.12, 0.10]))
    back = (
        "none"
        if table
        else str(rng.choice(["none", "slatted", "ladder", "solid", "framed"], p=[0.14, 0.24, 0.2, 0.28, 0.14]))
    )
    kind = "table" if table else "stool" if back == "none" else "chair"
    if kind == "table" and legs == "sled":
        legs = "straight"
    round_seat = bool(rng.random() < {"table": 0.35, "stool": 0.55, "chair": 0.2}[kind])
    three = kind == "stool" and legs in ("straight", "tapered", "splayed") and rng.random() < 0.4
    low_table = rng.random() < 0.4
    width = rng.uniform(0.7, 1.4) if table else rng.uniform(0.38, 0.54)
    if table:
        height = rng.uniform(0.38, 0.5) if low_table else rng.uniform(0.68, 0.78)
    else:
        height = rng.uniform(0.42, 0.5) if kind == "chair" or rng.random() < 0.5 else rng.uniform(0.6, 0.75)
    return Design(
        kind=kind,
        paint=paint,
        colour=colour,
        material=material,
        legs=legs,
        leg_count=3 if three else 4,
        leg_colour=STEEL if legs in ("sled", "pedestal") and material != "wooden" else colour,
        seat="round" if round_seat else "square",
        width=width,
        depth=width if round_seat else width * rng.uniform(0.5, 1.0) if table else width * rng.uniform(0.88, 1.05),
        height=height,
        thickness=rng.uniform(0.025, 0.05) if material != "plastic" else rng.uniform(0.03, 0.06),
        back=back,
        back_height=rng.uniform(0.32, 0.58),
        slope=rng.uniform(0.05, 0.28),
        arms=bool(kind == "chair" and rng.random() < 0.4),
        cushion=str(rng.choice([name for name in PAINTS if name != paint])) if not table and rng.random() < 0.3 else "",
        shelf=bool(table and legs in ("straight", "tapered") and not round_seat and rng.random() < 0.35),
    )


def build(piece: Design) -> "Trimesh":
    """The piece as a coloured trimesh.Trimesh in the cube, z up, its front towards -y."""
    colour, leg_colour = np.array(piece.colour), np.array(piece.leg_colour)
    parts = [(solid, colour) for solid in seat_parts(piece)]
    parts += [(solid, leg_colour * 0.96) for solid in base_parts(piece)]
    parts += [(solid, colour * shade) for solid, shade in zip(back_parts(piece), shades(), strict=False)]
    if piece.arms:
        parts += [(solid, colour * 0.95) for solid in arm_parts(piece)]
    if piece.cushion:
        parts.append((slab(piece, piece.height, piece.height + 0.05, scale=0.92), np.array(PAINTS[piece.cushion])))
    return assembled(parts, radius=OBJECT_RADIUS)


def prepare_chairs(
    output: Path,
    *,
    count: int = COUNT,
    seed: int = 0,
    views: int = 24,
    size: int = 64,
    objects_per_shard: int | None = None,
    processes: int = 2,
    work: Work | None = None,
    captions: Path | None = None,
    azimuths: float = 180.0,
) -> PrepareReport:
    """Make and render `count` pieces into the archive `output`, or into shards there; with their meshes.

    azimuths: degrees from the front; below 180 only chairs, which have one, are made.
    """
    if count < 1:
        raise ValueError(f"count: wanted at least 1; got {count}")
    if not 0 < azimuths <= 180:
        raise ValueError(f"azimuths: wanted above 0 and at most 180; got {azimuths}")
    photography = Photography(views, size, rays_per_side=3, azimuths_from_front=azimuths)
    wanted = (index for index in itertools.count() if azimuths == 180 or design(seed, index).kind == "chair")
    jobs = [
        Job(f"chair-{index:05d}", make_chair, (seed, index, photography)) for index in itertools.islice(wanted, count)
    ]
    title = f"chairs: {count} pieces, series {seed}, edition {EDITION}"
    target = Output(Path(output), title=title, resolution=(size, size), objects_per_shard=objects_per_shard)
    return convert(jobs, target, work=work, processes=processes, captions=captions)


def cached_chairs(name: str) -> Path:
    """The archive `chairs` (500 pieces) or `chairs:N`, made on first use in the user's cache."""
    _, _, number = name.partition(":")
    if number and not (number.isascii() and number.isdigit() and int(number)):
        raise ValueError(f"data: wanted chairs:N with N a whole number above 0; got {name!r}")
    count = int(number or COUNT)
    path = cache_folder() / f"chairs-{EDITION}-{count}.zip"
    if not path.exists():
        with held(path.parent, f"first-{path.name}", wait=True):
            if not path.exists():  # of another process, meanwhile
                prepare_chairs(path, count=count)
    return path


def make_chair(seed: int, index: int, photography: Photography) -> PreparedObject:
    piece, name = design(seed, index), f"chair-{index:05d}"
    mesh = build(piece)
    pictures, cameras = render_object(surface_from_scene(mesh), f"{seed}.{name}", photography)
    record = ObjectRecord(
        name,
        category=piece.kind,
        creator="vader3d",
        licence="CC0-1.0 https://creativecommons.org/publicdomain/zero/1.0/",
        source=f"vader3d chairs, edition {EDITION}, series {seed}, piece {index}",
    )
    return PreparedObject(with_captions(record, seed, index), pictures, cameras, mesh)


def with_captions(record: ObjectRecord, seed: int, index: int) -> ObjectRecord:
    """The record of a piece with all that can be said of it, whatever an older version said."""
    piece = design(seed, index)
    return replace(record, captions=captions_of(piece), tags=piece.tags)


def shades() -> Iterator[float]:
    """Neighbouring parts differ a little in tone, as boards do."""
    while True:
        yield from (1.0, 0.93, 0.97, 0.9)


def slab(piece: Design, low: float, high: float, *, scale: float = 1.0) -> Solid:
    x, y = piece.width / 2 * scale, piece.depth / 2 * scale
    if piece.seat == "round":
        return strut((0, 0, low), (0, 0, high), x, sides=32)
    return box((-x, -y, low), (x, y, high))


def seat_parts(piece: Design) -> list[Solid]:
    slabs = [slab(piece, piece.height - piece.thickness, piece.height)]
    if piece.shelf:
        low = piece.height * 0.3
        slabs.append(slab(piece, low, low + piece.thickness * 0.8, scale=0.9))
    return slabs


def base_parts(piece: Design) -> list[Solid]:
    top, girth = piece.height - piece.thickness, 0.028 if piece.kind == "table" else 0.019
    girth = girth * (0.75 if piece.material == "metal" else 1.2)
    reach = 0.68 if piece.seat == "round" else 0.92
    x, y = piece.width / 2 * reach - girth, piece.depth / 2 * reach - girth
    if piece.legs == "pedestal":
        foot = 0.34 * max(piece.width, piece.depth)
        return [strut((0, 0, 0), (0, 0, 0.03), foot, sides=24), strut((0, 0, 0.03), (0, 0, top), girth * 1.5, sides=12)]
    if piece.legs == "sled":
        bars = []
        for side in (-x, x):
            bars += [strut((side, end, 0), (side, end, top), girth, sides=8) for end in (-y, y)]
            bars.append(strut((side, -y - girth, girth), (side, y + girth, girth), girth, sides=8))
        return bars
    corners = [(-x, -y), (x, -y), (-x, y), (x, y)]
    if piece.leg_count == 3:
        corners = [(x * np.sin(turn), -y * np.cos(turn)) for turn in 2 * np.pi * np.arange(3) / 3]
    spread = 1.22 if piece.legs == "splayed" else 1.0
    sides = 4 if piece.legs == "straight" and piece.material != "metal" else 8
    slim = 1.0 if piece.legs == "straight" else 0.55
    return [strut((a, b, top), (a * spread, b * spread, 0), girth, girth * slim, sides=sides) for a, b in corners]


def back_parts(piece: Design) -> list[Solid]:
    if piece.back == "none":
        return []
    bottom, top, half, thick = piece.height, piece.height + piece.back_height, piece.width / 2, 0.02
    rear = piece.depth / 2 if piece.seat == "square" else piece.depth * 0.42
    reach = half if piece.seat == "square" else half * 0.8

    def board(x0: float, x1: float, z0: float, z1: float) -> Solid:
        return box((x0, rear - 2 * thick, z0), (x1, rear, z1))

    if piece.back == "solid":
        boards = [board(-reach, reach, bottom - piece.thickness, top)]
    else:
        posts = [board(-reach, 2 * thick - reach, bottom - piece.thickness, top)]
        posts += [board(reach - 2 * thick, reach, bottom - piece.thickness, top)]
        rail = board(-reach, reach, top - 0.07, top)
        if piece.back == "ladder":
            levels = np.linspace(bottom + 0.1, top, 4 if piece.back_height > 0.42 else 3)
            boards = posts + [board(-reach, reach, level - 0.055, level) for level in levels]
        elif piece.back == "slatted":
            places = np.linspace(-reach, reach, 7 if reach > 0.2 else 6)[1:-1]
            boards = [*posts, rail, *(board(x - 0.016, x + 0.016, bottom, top - 0.05) for x in places)]
        else:
            boards = [*posts, rail, board(-reach, reach, bottom + 0.08, bottom + 0.14)]
    return [leaned(solid, piece.slope, from_height=bottom) for solid in boards]


def arm_parts(piece: Design) -> list[Solid]:
    level, half = piece.height + 0.21, piece.width / 2
    front, rear = -piece.depth / 2 * 0.75, piece.depth / 2 + piece.slope * 0.21
    inset = half if piece.seat == "square" else half * 0.8
    solids = []
    for side in (-1, 1):
        x = side * (inset - 0.015)
        solids.append(box((x - 0.025, front - 0.03, level), (x + 0.025, rear - 0.01, level + 0.03)))
        solids.append(box((x - 0.017, front, piece.height - piece.thickness), (x + 0.017, front + 0.034, level)))
    return solids
