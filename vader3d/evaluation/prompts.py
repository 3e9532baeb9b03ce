"""Which prompts a model is asked, and what each of them names."""

import re
import string
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch

from vader3d.colour import COLOURS
from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.dataset import DataSet
from vader3d.evaluation.protocol import Prompts
from vader3d.text.heldout import Pair, first_of, kept_objects, said_of

Group = Literal["prompts", "heldout_pairs", "captions"]
PAIR = {"colour", "type"}


@dataclass(frozen=True)
class Prompt:
    """A text, why it is asked, and the attributes it names: `{"colour": "red", "type": "chair", "pair": "red chair"}`.

    group: `prompts`, new wordings of what training knows; `heldout_pairs`, of a colour and a type that it never met
    together; `captions`, those of training objects.
    """

    text: str
    group: Group
    names: Mapping[str, str]


def captions_of(record: ObjectRecord) -> list[str]:
    return [caption.text for caption in record.captions]


def names_of(record: ObjectRecord) -> dict[str, str]:
    """The attributes of an object: its tags `key:value`, else its category as type, its captions' first colour."""
    names = dict(tag.split(":", 1) for tag in record.tags if ":" in tag)
    names.setdefault("type", record.category)
    spoken = " ".join([names.get("colour", ""), *captions_of(record)])  # of a tag `light brown` the word in it
    names["colour"] = first_of(COLOURS, spoken)
    return with_pair({key: value for key, value in names.items() if value})


def with_pair(names: dict[str, str]) -> dict[str, str]:
    """Also what both together are, where both are known."""
    return names | ({"pair": f"{names['colour']} {names['type']}"} if names.keys() >= PAIR else {})


class KnownObjects:
    """What is said of all objects of a data set; the model was trained on `kept`, without any pair of `held_out`."""

    def __init__(self, data: DataSet, held_out: Sequence[Pair]):
        self.records: dict[int, ObjectRecord] = {}
        for index in range(len(data)):
            with suppress(ArchiveError):  # what cannot be read is counted by what meets it
                self.records[index] = data.records[index]
        self.names = {index: names_of(record) for index, record in self.records.items()}
        self.said = [said_of(captions_of(each), each.category, each.tags) for each in self.records.values()]
        self.held_out = held_out
        numbers = [*self.records]
        self.kept = [numbers[place] for place in kept_objects(self.said, held_out, COLOURS)]

    @property
    def captions(self) -> list[str]:
        """All different ones, of all objects."""
        return [*dict.fromkeys(text for record in self.records.values() for text in captions_of(record))]

    def label(self, index: int, attribute: str) -> str:
        """An object's attribute; "" where it has none."""
        return self.names[index].get(attribute, "") if index in self.names else ""


def fields_of(template: str) -> tuple[str, ...]:
    """The attributes that a template names, in alphabetical order."""
    return tuple(sorted({field for _, field, _, _ in string.Formatter().parse(template) if field}))


def filled_in(template: str, names: Mapping[str, str]) -> str:
    """An attribute that an object has or has not (`arms`: yes) is named by its own name."""
    words = {key: key if value == "yes" else value for key, value in names.items()}
    return re.sub(r"\ba (?=[aeiou])", "an ", template.format(**words))


def template_prompts(known: KnownObjects, asked: Prompts, *, seed: int) -> list[Prompt]:
    """Prompts of templates: of what training objects show, at most `asked.of_each` a template, and of held-out pairs.

    Each wording is new: where a template's text is a caption, the next template of the same attributes is taken.
    """
    captions, prompts = {text.lower() for text in known.captions}, []
    kinds: dict[tuple[str, ...], list[str]] = {}
    for template in asked.templates:
        kinds.setdefault(fields_of(template), []).append(template)

    def prompt(fields: tuple[str, ...], values: Sequence[str], group: Group) -> list[Prompt]:
        names = dict(zip(fields, values, strict=True))
        texts = [filled_in(template, names) for template in kinds[fields]]
        new = [text for text in texts if text.lower() not in captions]
        return [Prompt(new[0], group, with_pair(names))] if new else []

    for number, fields in enumerate(kinds):
        seen = (known.names[index] for index in known.kept)
        values = sorted({tuple(names[field] for field in fields) for names in seen if names.keys() >= {*fields}})
        values = [each for each in values if not {"no", "none"} & {*each}]
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed + number)).tolist()
        prompts += [one for place in order[: asked.of_each] for one in prompt(fields, values[place], "prompts")]
        if {*fields} == PAIR:
            held_out = [{"colour": pair.colour, "type": pair.type} for pair in known.held_out]
            prompts += [
                one for pair in held_out for one in prompt(fields, [pair[field] for field in fields], "heldout_pairs")
            ]
    return prompts


def caption_prompts(known: KnownObjects, objects: Sequence[int]) -> list[Prompt]:
    """The captions of these objects; of one that has none, or that the model must not have seen, the next one's."""
    able = [index for index in known.kept if captions_of(known.records[index])]
    places = {index: place for place, index in enumerate(able)}
    if not able:
        return []
    prompts = []
    for number, index in enumerate(objects):
        one = able[places.get(index, number % len(able))]
        texts = captions_of(known.records[one])
        prompts.append(Prompt(texts[number % len(texts)], "captions", known.names[one]))
    return prompts
