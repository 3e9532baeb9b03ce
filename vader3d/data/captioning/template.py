"""Captions by a template over what is known and what the views show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vader3d.captions import WEAK, Caption
from vader3d.colour import dominant_colours
from vader3d.data.archive.format import ObjectRecord, ObjectViews
from vader3d.data.captioning.kinds import clean_name, kind_of, with_article
from vader3d.data.inspection.hull import visual_hull

CATALOGUED = "Sweet Home 3D library"  # how the sources begin of what libraries of furniture hold
ROOMS = {room: room for room in ("living room", "bedroom", "office", "kitchen", "bathroom")} | {"exterior": "garden"}
SECOND_SHARE = 0.2  # of its pixels that a second colour must have to be named
CELLS = 32
TALL, FLAT, LONG = 1.6, 0.3, 1.9  # height over width, the same, width over depth
SMALL, LARGE = 0.6, 1.6  # of the usual size of a data set


@dataclass(frozen=True)
class Look:
    """What views show: the words of the colours, largest first, and the extents (x, y, z) in the cube's units.

    The extents are 0 where nobody knows where the cameras stand.
    """

    colours: tuple[str, ...]
    extents: tuple[float, float, float]

    @property
    def size(self) -> float:
        """The diagonal."""
        return float(np.linalg.norm(self.extents))

    @property
    def shape(self) -> str:
        """tall, flat, wide, long (as deep as others are wide), or nothing: by the extents' proportions."""
        width, depth, height = self.extents
        across = max(width, depth)
        if not across:
            return ""
        if height > TALL * across:
            return "tall"
        if height < FLAT * across:
            return "flat"
        if across > LONG * max(min(width, depth), height * 0.5):
            return "wide" if width >= depth else "long"
        return ""


def look_of(views: ObjectViews) -> Look:
    """Colours of all views; extents of the visual hull's largest piece (corners that no view shows are others)."""
    from scipy.ndimage import label

    shares = dominant_colours(views.pictures)
    colours = tuple(word for number, (word, share) in enumerate(shares[:2]) if not number or share >= SECOND_SHARE)
    if not views.cameras.posed:
        return Look(colours, (0.0, 0.0, 0.0))
    pieces, _ = label(visual_hull(views, cells=CELLS))
    hull = pieces == np.bincount(pieces[pieces > 0], minlength=1).argmax() if pieces.any() else pieces > 0
    filled = [np.flatnonzero(hull.any(axes)) for axes in ((0, 1), (0, 2), (1, 2))]  # of x, y, z
    width, depth, height = (float(np.ptp(cells) + 1) * 2 / CELLS if len(cells) else 0.0 for cells in filled)
    return Look(colours, (width, depth, height))


def size_word(look: Look, usual: float | None) -> str:
    """small, large or nothing, beside the usual size of the data set."""
    if usual is None or not look.size:
        return ""
    return "small" if look.size < SMALL * usual else "large" if look.size > LARGE * usual else ""


def name_of(record: ObjectRecord) -> str:
    """The clean words for the thing: of a catalogue's or file's caption, else of its category, else of its name."""
    catalogued = record.source.startswith(CATALOGUED)  # before captions had sources, too
    said = [c.text for c in record.captions if c.source in (*WEAK, "catalogue") or (catalogued and not c.source)]
    words = said[0].split(",")[0] if said else record.category or record.name.rpartition(".")[2]
    return clean_name(words) or clean_name(record.category)


def template_captions(record: ObjectRecord, look: Look, *, usual_size: float | None = None) -> tuple[Caption, ...]:
    """Some wordings: all that is known, colour and name, colour and kind of thing, kind and colour; () for an unknown.

    A plain thing, of which all of them are one, is also said to be of its room, or without its colour.
    """
    name = name_of(record)
    kind = kind_of(name, record.tags)
    if not name:
        return ()
    main, both = " ".join(look.colours[:1]), " and ".join(look.colours)
    adjectives = [word for word in (size_word(look, usual_size), look.shape) if word and word not in name.split()]
    worded = [([*adjectives, both], name), ([main], name), ([main], kind)]
    if len({" ".join(filter(None, (*before, noun))) for before, noun in worded}) == 1:  # a plain thing
        worded.append(([main, ROOMS[record.category]], name) if record.category in ROOMS else ([], name))
    texts = [with_article(" ".join([*filter(None, before), noun]), noun) for before, noun in worded]
    texts += [f"{with_article(kind, kind)}, {main}"] if main and kind else []  # colours may stand behind, too
    return tuple(Caption(text, "template") for text in dict.fromkeys(texts))


def template_tags(record: ObjectRecord, look: Look) -> tuple[str, ...]:
    """type:, colour: (the largest) and shape: as far as they are known and no such tag is there."""
    tags = {"type": kind_of(name_of(record), record.tags), "colour": "".join(look.colours[:1]), "shape": look.shape}
    there = attributes(record.tags)
    return tuple(f"{key}:{value}" for key, value in tags.items() if value and key not in there)


def attributes(tags: Sequence[str]) -> dict[str, str]:
    """The tags of the form key:value, such as type:chair."""
    return {key: value for key, colon, value in (tag.partition(":") for tag in tags) if colon}
