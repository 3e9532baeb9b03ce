"""What a model shows for prompts, measured chunk by chunk."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from vader3d.assets import Asset
from vader3d.colour import COLOURS, dominant_colours
from vader3d.evaluation.chunks import Measured, Measurement
from vader3d.evaluation.measurements import Measurements
from vader3d.evaluation.prompts import KnownObjects, Prompt, caption_prompts, template_prompts
from vader3d.evaluation.sets import HELDOUT, NOT_FINITE, finite, owned
from vader3d.export.turntable import straight_alpha
from vader3d.frozen.joint import JointEncoder
from vader3d.randomness import sample_seed
from vader3d.render import Volume
from vader3d.text.heldout import Pair

REAL = "real_attributes"
SHOWN_SIDE = 96  # px of the pictures that are kept, at most
SHOWN_ITEMS = 512  # ... and of how many items


class PromptedDraw(Protocol):
    """What a model that knows texts offers: objects for prompts, None being none (unconditional).

    One object for each prompt and seed; all of its randomness comes from its seed.
    """

    def __call__(
        self, prompts: Sequence[str | None], seeds: Sequence[int], guidance_scale: float, *, steps: int, solver: str
    ) -> Sequence[Asset]: ...


class PromptedMeasurements:
    """The prompts of one protocol, and the samples of each at every guidance scale.

    Items are numbered: captions first, whose item n has the noise and the poses of item n of `generated`; then
    `samples_each` of every other prompt. `prompt_of` [items] are places in `prompts`.
    """

    def __init__(
        self, measurements: Measurements, draw: PromptedDraw, *, held_out: Sequence[Pair], joint: JointEncoder | None
    ):
        asked = measurements.protocol.prompts
        assert asked is not None
        self.asked, self.draw, self.joint = asked, draw, joint
        self.whole, self.sets, self.protocol = measurements, measurements.sets, measurements.protocol
        self.known = KnownObjects(self.sets.judged.archive, held_out)
        objects = [self.sets.object_of(number) for number in range(measurements.samples)]
        captions = caption_prompts(self.known, objects)
        others = template_prompts(self.known, asked, seed=self.protocol.seed)
        self.prompts: list[Prompt] = [*captions, *others]
        if not self.prompts:
            raise ValueError(
                f"data: wanted captions, colours or types to make prompts of; got {self.sets.judged.archive.path} "
                "without any; give it captions"
            )
        self.prompt_of = [*range(len(captions))]
        self.prompt_of += [len(captions) + place for place in range(len(others)) for _ in range(asked.samples_each)]

    def all(self) -> list[Measurement]:
        return [self.real(), *map(self.prompted, self.asked.guidance_scales)]

    @property
    def attributes(self) -> list[str]:
        """All that is judged: of these a prompt names some."""
        return ["colour", "type", "pair", *self.asked.attributes]

    @cached_property
    def inputs(self) -> dict[str, Any]:
        encoders = [self.joint.name, self.joint.checksum] if self.joint else None
        return self.whole.base | self.whole.pictures | {"joint": encoders, "colours": list(COLOURS)}

    def real(self) -> Measurement:
        """Real held-out views of training objects, probed as samples are: the ceiling of each score."""
        count = min(self.asked.real_objects or self.whole.objects, self.whole.objects)

        def compute(numbers: list[int]) -> Measured:
            excluded: Counter[str] = Counter()
            views = self.sets.readable_views(numbers, excluded, split="heldout", views=None, purpose=HELDOUT)
            pictures = {number: straight_alpha(each.colour, each.mask)[0] for number, each in views.items()}
            plain = {number: each.colour[0] for number, each in views.items()}
            return Measured(self.probed(plain, pictures), excluded)

        return Measurement(REAL, "real pictures, probed", count, self.inputs, compute)

    def prompted(self, guidance_scale: float) -> Measurement:
        """Samples of all prompts at one scale."""
        steps, protocol = self.whole.headline, self.protocol

        def compute(numbers: list[int]) -> Measured:
            excluded: Counter[str] = Counter()
            texts = [self.prompts[self.prompt_of[number]].text for number in numbers]
            seeds = [sample_seed(protocol.seed, number) for number in numbers]
            assets = self.draw(texts, seeds, guidance_scale, steps=steps, solver=self.asked.solver)
            volume = joined([asset.volume for asset in assets])
            good = finite(volume.grid).tolist()
            excluded[NOT_FINITE] += good.count(False)
            numbers = [number for number, kept in zip(numbers, good, strict=True) if kept]
            if not numbers:
                return Measured({}, excluded)
            volume = volume.with_grid(volume.grid[good])
            seen = self.sets.seen(volume, numbers, excluded)
            if not seen:
                return Measured({}, excluded)
            plain = {number: colour for number, (colour, _) in seen.items()}
            pictures = {number: straight_alpha(*both) for number, both in seen.items()}
            tensors = self.probed(plain, pictures)
            if protocol.memorisation:
                kept = [number in seen for number in numbers]
                tensors["looks"] = self.sets.looks(volume.with_grid(volume.grid[kept]))
            first = [number for number in pictures if number < SHOWN_ITEMS]
            shown = [small(pictures[number][0]) for number in first]
            if shown:
                tensors |= {"shown": torch.stack(shown), "shown_owners": torch.tensor(first)}
            return Measured(tensors, excluded)

        asked = [[self.prompts[place].text for place in self.prompt_of], guidance_scale, steps, self.asked.solver]
        inputs = self.inputs | {"asked": asked, "views": protocol.views, "poses": protocol.poses}
        inputs |= {"looks": bool(protocol.memorisation)}
        return Measurement(
            self.name(guidance_scale), f"prompts, guidance {guidance_scale:g}", len(self.prompt_of), inputs, compute
        )

    def name(self, guidance_scale: float) -> str:
        return f"prompted_guidance_{guidance_scale:g}"

    def probed(self, plain: dict[int, Tensor], pictures: dict[int, Tensor]) -> dict[str, Tensor]:
        """All that is asked of each item's pictures: [V, 3, H, W] on black, and [V, 4, H, W] with straight alpha."""
        if not plain:
            return {}
        rows = owned(plain)[0]
        colours = [colour_number(each) for each in pictures.values()]
        found = self.whole.embedded(plain) | {"items": torch.tensor([*plain]), "colours": torch.tensor(colours)}
        return found | ({"joint": self.joint.pictures(rows)} if self.joint else {})


def joined(volumes: Sequence[Volume]) -> Volume:
    """Volumes of one object each as one."""
    return volumes[0].with_grid(torch.cat([volume.grid for volume in volumes]))


def colour_number(pictures: Tensor) -> int:
    """The place in COLOURS of what most of an object's pixels are, in pictures [V, 4, H, W]; -1: there are none."""
    found = dominant_colours(pictures.movedim(1, -1).numpy())
    return COLOURS.index(found[0][0]) if found else -1


def small(picture: Tensor) -> Tensor:
    """A picture [4, H, W] in [0, 1] as uint8, no larger than it has to be to be looked at."""
    if max(picture.shape[1:]) > SHOWN_SIDE:
        picture = torch.nn.functional.interpolate(picture[None], (SHOWN_SIDE, SHOWN_SIDE), mode="area")[0]
    return (picture * 255).round().to(torch.uint8)
