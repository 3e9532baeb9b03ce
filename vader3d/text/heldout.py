"""Pairs of a colour and a type that stage 2 never meets.

An object's pairs are the first colour word of each of its captions with its type. Pairs are held out, and with them a
share of the objects: those whose hashes come first, but none that would leave its colour or its type with too few other
objects to be learned from. The hash is of the words alone, so another order, seed or machine holds out the same.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

WORDS = re.compile(r"[^\W\d_]+")
KNOWN = 100  # objects from which a word can be learned well (docs/text.md: thirty are too few)


class Pair(NamedTuple):
    """For instance red, chair."""

    colour: str
    type: str


class Said(NamedTuple):
    """What is said of one object: its captions and its type; "" where that is not known."""

    captions: Sequence[str]
    type: str


def said_of(captions: Sequence[str], category: str, tags: Iterable[str]) -> Said:
    """The type is that of a tag `type:chair`, else the category."""
    return Said(captions, next((tag.removeprefix("type:") for tag in tags if tag.startswith("type:")), category))


def first_of(words: Collection[str], text: str) -> str:
    """The word of a text that is one of `words` and comes first; "" where none is."""
    return next((word for word in WORDS.findall(text.lower()) if word in words), "")


def pairs_of(said: Said, colours: Collection[str]) -> set[Pair]:
    """Of one object; none where it has no type, or no caption names a colour."""
    found = {first_of(colours, caption) for caption in said.captions} - {""}
    return {Pair(colour, said.type) for colour in found if said.type}


def held_out_pairs(objects: Iterable[Said], share: float, colours: Collection[str]) -> list[Pair]:
    """Pairs, in alphabetical order, that `share` of the objects have, or fewer; none where it is 0.

    Their colours and types stay `KNOWN` from that many other objects; where that leaves no pair, from one.
    ValueError: no pair can be held out.
    """
    if not share:
        return []
    members: dict[Pair, set[int]] = {}
    for number, said in enumerate(objects):
        for pair in pairs_of(said, colours):
            members.setdefault(pair, set()).add(number)
    most = max(1, round(share * len({*chain(*members.values())})))
    chosen = chosen_pairs(members, most, known=KNOWN) or chosen_pairs(members, most, known=1)
    if not chosen:
        raise ValueError(
            f"held_out: wanted captions that name colours with types in several ways; got {len(members)} pairs of "
            "them; write captions (`vader3d prepare captions`), or set held_out=0"
        )
    return sorted(chosen)


def chosen_pairs(members: Mapping[Pair, set[int]], most: int, *, known: int) -> list[Pair]:
    """The first pairs that together cost at most `most` objects and leave `known` of each of their words."""
    having: dict[tuple[str, str], set[int]] = {}
    for pair, objects in members.items():
        for word in pair._asdict().items():
            having.setdefault(word, set()).update(objects)
    chosen: list[Pair] = []
    lost: set[int] = set()
    for pair in sorted(members, key=lambda pair: hashlib.sha256(" ".join(pair).encode()).digest()):
        without = lost | members[pair]
        if len(without) <= most and all(len(having[word] - without) >= known for word in pair._asdict().items()):
            chosen, lost = [*chosen, pair], without
    return chosen


def kept_objects(objects: Sequence[Said], held_out: Iterable[Pair], colours: Collection[str]) -> list[int]:
    """The numbers of the objects without a pair that is held out."""
    apart = {*held_out}
    return [number for number, said in enumerate(objects) if not pairs_of(said, colours) & apart]
