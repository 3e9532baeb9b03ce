"""Scores of prompted samples, each with its control and its ceiling."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vader3d.colour import COLOURS
from vader3d.evaluation.chunks import Measured
from vader3d.evaluation.prompted import REAL, PromptedMeasurements
from vader3d.evaluation.prompts import Prompt, captions_of
from vader3d.evaluation.scores import Scores, add_distances, mean_interval
from vader3d.measures.adherence import Agreement, agreement, nearest_pictures, retrieval, voted
from vader3d.measures.memorisation import memorisation

GROUPS = ("prompts", "heldout_pairs", "captions")
SEEN_COLOUR = ("colour", "pair")  # what is read off the pixels
PERCENT = 100


class Bank:
    """Real training pictures, and what their objects are: they say what a picture shows."""

    def __init__(self, measurements: PromptedMeasurements, reference: Measured):
        self.features, self.items = reference.tensors["features"], reference.tensors["owners"]
        known, sets = measurements.known, measurements.sets
        judged = [name for name in measurements.attributes if name not in SEEN_COLOUR]
        objects = [sets.object_of(item) for item in self.items.tolist()]
        self.labels = {name: [known.label(index, name) for index in objects] for name in judged}
        self.neighbours = measurements.asked.neighbours

    def shown(self, measured: Measured, *, others: bool = False) -> dict[str, list[str | None]]:
        """What the items of a measurement show, attribute by attribute; None where that has no name.

        others: the bank has the items' own objects, which shall not vote.
        """
        rows, owners, items = (measured.tensors[key] for key in ("features", "owners", "items"))
        apart = {"objects": owners, "bank_objects": self.items} if others else {}
        nearest = nearest_pictures(rows, self.features, neighbours=self.neighbours, **apart)
        of_items = [nearest[owners == item] for item in items.tolist()]
        shown: dict[str, list[str | None]] = {
            name: [voted(each, labels) or None for each in of_items] for name, labels in self.labels.items()
        }
        shown["colour"] = [COLOURS[number] if number >= 0 else None for number in measured.tensors["colours"].tolist()]
        both = zip(shown["colour"], shown["type"], strict=True)
        shown["pair"] = [f"{colour} {kind}" if colour and kind else None for colour, kind in both]
        return shown


def add_prompted(scores: Scores, measurements: PromptedMeasurements, measured: Mapping[str, Measured]) -> None:
    """The scores at the protocol's scale of guidance, and under `sweep` those at every scale."""
    bank = Bank(measurements, measured["reference"])
    real = Scores()
    texts = embedded_captions(measurements, scores)
    if "features" in measured[REAL].tensors:
        add_real(real, measurements, measured[REAL], bank, texts)
    sweep: list[dict[str, Any]] = []
    for guidance_scale in measurements.asked.guidance_scales:
        part, at = measured[measurements.name(guidance_scale)], Scores()
        if "features" not in part.tensors:
            scores.notes.append(f"guidance {guidance_scale:g} could not be judged: none of its samples is left")
            continue
        add_scale(at, measurements, part, measured, bank, texts)
        if "frechet_prompted" in at.values and (plain := scores.values.get("frechet_generated")):
            at.add("frechet_ratio_prompted", at.values["frechet_prompted"] / plain)
        if guidance_scale == measurements.asked.guidance_scale:
            scores.values |= at.values
            scores.intervals |= at.intervals
        sweep.append({"guidance_scale": guidance_scale, **at.values, "intervals": at.intervals})
    scores.values |= real.values
    scores.intervals |= real.intervals
    scores.values |= {"guidance_scale": measurements.asked.guidance_scale, "sweep": sweep}
    scores.values |= {f"asked_{group}": len(in_group(measurements.prompts, group)) for group in GROUPS}
    scores.values["held_out_pairs"] = [" ".join(pair) for pair in measurements.known.held_out]


def in_group(prompts: Sequence[Prompt], group: str) -> list[int]:
    return [place for place, prompt in enumerate(prompts) if prompt.group == group]


def add_scale(
    scores: Scores,
    measurements: PromptedMeasurements,
    part: Measured,
    measured: Mapping[str, Measured],
    bank: Bank,
    texts: Tensor | None,
) -> None:
    """All scores of the samples of one scale of guidance."""
    shown, items = bank.shown(part), part.tensors["items"].tolist()
    asked = [measurements.prompt_of[item] for item in items]
    prompts = [measurements.prompts[place] for place in asked]
    for group in GROUPS:
        for name in measurements.attributes:
            chosen = [
                place for place, one in enumerate(prompts) if one.group == group and name_of(one, name) is not None
            ]
            if chosen:
                named = [str(name_of(prompts[place], name)) for place in chosen]
                found = agreement(named, [shown[name][place] for place in chosen])
                key = f"{name}_percent_{group}"
                add_agreement(scores, measurements, key, found, [asked[place] for place in chosen])
        chosen = [place for place, one in enumerate(prompts) if one.group == group]
        looks = measured["training_looks"].tensors["looks"] if "training_looks" in measured else torch.empty(0)
        if chosen and len(looks) >= 3:
            near = memorisation(part.tensors["looks"][chosen], looks).samples
            flags = near.flagged.double()
            interval = mean_interval(flags, measurements.protocol)
            scores.add(f"copied_percent_{group}_pictures", float(flags.mean()), interval, unit=PERCENT)
            scores.add(f"local_ratio_{group}_pictures", float(near.ratios.median()))
    for name in ("colour", "type", "pair"):
        both = [scores.values.get(f"{name}_percent_{group}") for group in ("heldout_pairs", "prompts")]
        if both[0] is not None and both[1]:
            scores.add(f"heldout_ratio_{name}", both[0] / both[1])
    captions = [place for place, one in enumerate(prompts) if one.group == "captions"]
    if not captions:
        return
    numbers = torch.tensor([items[place] for place in captions])
    rows = torch.isin(part.tensors["owners"], numbers)
    only = Measured({key: part.tensors[key][rows] for key in ("features", "owners")})
    add_distances(scores, "prompted", only, measured["reference"], measurements.protocol)
    if texts is not None:
        places = caption_places(measurements, [prompts[place].text for place in captions])
        pictures = part.tensors["joint"][rows].unflatten(0, (len(captions), -1))
        for at in measurements.asked.retrieval:
            found = retrieval(pictures, texts, places, at=at)
            add_agreement(scores, measurements, f"retrieval_{at}_captions", found, [asked[n] for n in captions])


def name_of(prompt: Prompt, attribute: str) -> str | None:
    """What a prompt names; of colours only those that pictures are searched for."""
    name = prompt.names.get(attribute)
    return None if attribute in SEEN_COLOUR and prompt.names.get("colour") not in COLOURS else name


def add_agreement(
    scores: Scores, measurements: PromptedMeasurements, key: str, found: Agreement, prompts: Sequence[int]
) -> None:
    """In percent, means over prompts of the means over their samples; the interval draws prompts again."""
    for end, values in (("", found.right), ("_shuffled", found.shuffled)):
        _, whose, counts = torch.tensor(prompts).unique(return_inverse=True, return_counts=True)
        means = values.new_zeros(len(counts)).index_add_(0, whose, values) / counts
        scores.add(key + end, float(means.mean()), mean_interval(means, measurements.protocol), unit=PERCENT)


def add_real(
    scores: Scores, measurements: PromptedMeasurements, real: Measured, bank: Bank, texts: Tensor | None
) -> None:
    """Real held-out views, judged by what is known of their objects: no sample can be expected to score more."""
    shown, items = bank.shown(real, others=True), real.tensors["items"].tolist()
    objects = [measurements.sets.object_of(item) for item in items]
    for name in measurements.attributes:
        labels = [measurements.known.label(index, name) for index in objects]
        chosen = [place for place, label in enumerate(labels) if label]
        if chosen:
            found = agreement([labels[place] for place in chosen], [shown[name][place] for place in chosen])
            add_agreement(scores, measurements, f"{name}_percent_real", found, [items[place] for place in chosen])
    if texts is None:
        return
    said = {index: captions_of(record) for index, record in measurements.known.records.items()}
    chosen = [place for place, index in enumerate(objects) if said.get(index)]
    if chosen:
        rows = [real.tensors["joint"][real.tensors["owners"] == items[place]] for place in chosen]
        pictures = torch.stack([torch.nn.functional.normalize(each, dim=-1).mean(0, keepdim=True) for each in rows])
        places = caption_places(measurements, [said[objects[place]][0] for place in chosen])
        for at in measurements.asked.retrieval:
            found = retrieval(pictures, texts, places, at=at)
            add_agreement(scores, measurements, f"retrieval_{at}_real", found, [items[place] for place in chosen])


def embedded_captions(measurements: PromptedMeasurements, scores: Scores) -> Tensor | None:
    """Features of all captions; None without an encoder of both pictures and texts, which is noted."""
    if measurements.joint is None:
        scores.notes.append("R@k was not measured: no encoder of both pictures and texts was given (--clip)")
        return None
    captions = measurements.known.captions
    return measurements.joint.texts(captions) if captions else None


def caption_places(measurements: PromptedMeasurements, texts: Sequence[str]) -> Tensor:
    """Places of texts among all captions."""
    places = {text: place for place, text in enumerate(measurements.known.captions)}
    return torch.tensor([places[text] for text in texts])
