"""Which measurements a protocol asks for."""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vader3d.data.archive.format import ArchiveError
from vader3d.data.batches.views import ViewBatch
from vader3d.data.dataset import DataSet
from vader3d.evaluation.chunks import Measured, Measurement
from vader3d.evaluation.sets import (
    HELDOUT,
    NOT_FINITE,
    POSES,
    RECONSTRUCTION,
    REFERENCE,
    PictureSets,
    finite,
    owned,
    render_clamped,
)
from vader3d.export.mesh import SURFACES, sample_surface_points
from vader3d.frozen.embeddings import FeatureNetwork
from vader3d.frozen.lpips import PerceptualDistance
from vader3d.measures.pictures import foreground_psnr, iou, psnr, ssim

SHOWN = 32  # samples whose latents are kept for the report's pictures, whatever else is measured
QUALITY = ("psnr", "foreground_psnr", "ssim", "iou")  # and the perceptual distance, where there is one


class Measurements:
    """All that is measured of one model under one protocol; `network` may be None where no sets are compared.

    perceptual: what judges reconstructions beside the pure metrics, if any.
    """

    def __init__(self, sets: PictureSets, network: FeatureNetwork | None, perceptual: PerceptualDistance | None):
        self.sets, self.protocol, self.network = sets, sets.protocol, network
        self.perceptual = perceptual
        self.base = {
            "model": sets.judged.model,
            "data": sets.judged.archive.fingerprint,
            "seed": self.protocol.seed,
            "size": list(sets.size),
            "background": self.protocol.background,
        }
        self.pictures: dict[str, Any] = {"network": [network.name, network.checksum] if network else None}
        self.objects = len(sets.judged)

    @property
    def headline(self) -> int:
        """The sampling steps of `generated`; other numbers of steps are named `generated_16_steps`."""
        return self.protocol.steps[-1] if self.protocol.steps else 0

    @property
    def samples(self) -> int:
        """How many objects are generated."""
        within = self.protocol.samples_within_objects
        return min(self.protocol.samples, self.objects) if within else self.protocol.samples

    def all(self) -> list[Measurement]:
        protocol, measurements = self.protocol, []
        if protocol.reference is not None:
            measurements.append(self.reference())
        if "heldout_views" in protocol.sets:
            measurements.append(self.heldout())
        measurements += [self.rendered(name) for name in protocol.sets if name not in ("heldout_views", "generated")]
        if protocol.steps:
            measurements += [self.rendered("generated", steps=steps) for steps in protocol.steps]
        if protocol.shapes is not None and self.knows_meshes:
            measurements.append(self.true_shapes())
        elif self.shape_stand_in and "reconstruction" not in protocol.sets:
            measurements.append(self.rendered("reconstruction"))
        if protocol.memorisation:
            measurements.append(self.training_looks())
        if protocol.reconstruction is not None:
            measurements.append(self.quality())
        return measurements

    @property
    def compared(self) -> list[str]:
        """The names of the sets of pictures that are compared with the reference."""
        steps = [self.generated_name(steps) for steps in self.protocol.steps]
        return [name for each in self.protocol.sets for name in (steps if each == "generated" else [each])]

    def generated_name(self, steps: int) -> str:
        return "generated" if steps == self.headline else f"generated_{steps}_steps"

    @cached_property
    def knows_meshes(self) -> bool:
        return has_true_meshes(self.sets.judged.archive)

    @property
    def shape_stand_in(self) -> bool:
        """Whether the surfaces of reconstructions stand in for true ones."""
        shapes = self.protocol.shapes
        return shapes is not None and shapes.against != "true meshes" and not self.knows_meshes

    def reference(self) -> Measurement:
        """Real pictures that all sets are compared with."""
        reference = self.protocol.reference
        assert reference is not None
        count = min(reference.objects or self.objects, self.objects)
        choice = {"split": reference.split, "views": reference.views, "purpose": REFERENCE}
        return self.real("reference", "reference pictures", count, choice)

    def heldout(self) -> Measurement:
        """Real pictures again: the floor of the measure."""
        purpose = POSES if self.protocol.poses == "heldout" else HELDOUT
        choice = {"split": "heldout", "views": self.protocol.views, "purpose": purpose}
        return self.real("heldout_views", "held-out views", min(self.samples, self.objects), choice)

    def real(self, name: str, title: str, count: int, choice: dict[str, Any]) -> Measurement:
        """Features of real pictures: of each item, `choice`."""

        def compute(numbers: list[int]) -> Measured:
            excluded: Counter[str] = Counter()
            views = self.sets.readable_views(numbers, excluded, **choice)
            return Measured(self.embedded({number: each.colour[0] for number, each in views.items()}), excluded)

        return Measurement(name, title, count, self.base | self.pictures | choice, compute)

    def rendered(self, name: str, *, steps: int = 0) -> Measurement:
        """Pictures of volumes, as features; of the first items also latents and points on surfaces."""
        protocol, headline = self.protocol, steps == self.headline
        generated = name == "generated"
        sampled_here = generated and self.sets.generator.device.type == "cpu"
        count = self.samples if generated else min(self.samples, self.objects)
        pictures = name in protocol.sets
        latents = max(SHOWN, protocol.memorisation if headline else 0) if generated else 0
        shapes = self.surfaces_of(name, headline=headline)
        points = protocol.shapes.points if protocol.shapes else 0

        def compute(numbers: list[int]) -> Measured:
            excluded: Counter[str] = Counter()
            start = time.process_time()
            raw = self.sets.latents(name, numbers, steps=steps, churn=protocol.churn)
            sampling = time.process_time() - start if sampled_here else None
            volume = self.sets.generator.decode(raw)
            good = finite(raw) & finite(volume.grid).cpu()
            excluded[NOT_FINITE] += int((~good).sum())
            raw, volume = raw[good], volume.with_grid(volume.grid[good.to(volume.grid.device)])
            numbers = [number for number, kept in zip(numbers, good.tolist(), strict=True) if kept]
            tensors: dict[str, Tensor] = {}
            if pictures:
                tensors |= self.embedded(self.sets.rendered(volume, numbers, excluded))
            first = [place for place, number in enumerate(numbers) if number < latents]
            tensors |= {"latents": raw[first], "latent_owners": torch.tensor([numbers[place] for place in first])}
            if first and generated and headline and protocol.memorisation:
                tensors["looks"] = self.sets.looks(volume.with_grid(volume.grid[first]))
            first = [place for place, number in enumerate(numbers) if number < shapes]
            shaped = volume.with_grid(volume.grid[first])
            surfaces = self.sets.surfaces(shaped, [numbers[place] for place in first], points, excluded)
            tensors["points"], tensors["point_owners"] = owned(surfaces)
            return Measured(tensors, excluded, sampling_cpu_seconds=sampling)

        title = f"generated, {steps} steps" if generated else name.replace("_", " ")
        inputs = {
            "steps": steps,
            "churn": asdict(protocol.churn) if protocol.churn.amount else None,
            **({"redraws": protocol.redraws} if protocol.redraws else {}),
            "latents": latents,
            "shapes": [shapes, points, *([SURFACES] if shapes else [])],
            "views": protocol.views,
            "poses": protocol.poses,
            "pictures": pictures,
        }
        full = self.generated_name(steps) if generated else name
        return Measurement(full, title, count, self.base | (self.pictures if pictures else {}) | inputs, compute)

    def surfaces_of(self, name: str, *, headline: bool) -> int:
        """Of how many items of a set the surface is measured."""
        shapes = self.protocol.shapes
        if shapes is None or not (self.knows_meshes or self.shape_stand_in):
            return 0
        if name == "generated":
            return shapes.generated if headline else 0
        return (shapes.reference or self.objects) if name == "reconstruction" and self.shape_stand_in else 0

    def true_shapes(self) -> Measurement:
        """Points on the true surfaces of training objects."""
        shapes = self.protocol.shapes
        assert shapes is not None
        archive = self.sets.judged.archive

        def compute(numbers: list[int]) -> Measured:
            excluded: Counter[str] = Counter()
            surfaces = {}
            for number in numbers:
                try:
                    mesh = archive.true_mesh(self.sets.object_of(number))
                except ArchiveError:
                    mesh = None
                if mesh is None or not len(mesh.faces):
                    excluded["objects without a true mesh"] += 1
                    continue
                surfaces[number] = sample_surface_points(mesh, shapes.points, seed=self.protocol.seed)[None]
            points, owners = owned(surfaces)
            return Measured({"points": points, "point_owners": owners}, excluded)

        count = min(shapes.reference or self.objects, self.objects)
        return Measurement("true_shapes", "true shapes", count, self.base | {"points": shapes.points}, compute)

    def training_looks(self) -> Measurement:
        """All training objects, in the archive's order, as `PictureSets.looks` sees them; then their turned copies."""

        def compute(numbers: list[int]) -> Measured:
            codes = self.sets.judged.codes(torch.tensor(numbers))
            volume = self.sets.generator.decode(self.sets.generator.to_latent(codes))
            return Measured({"looks": self.sets.looks(volume)})

        inputs = {"poses": self.protocol.poses}
        return Measurement(
            "training_looks", "training objects", len(self.sets.judged.codes), self.base | inputs, compute
        )

    def quality(self) -> Measurement:
        """Scores of reconstructions against real pictures, picture by picture."""
        choice = self.protocol.reconstruction
        assert choice is not None

        def compute(numbers: list[int]) -> Measured:
            excluded: Counter[str] = Counter()
            targets = self.sets.readable_views(
                numbers, excluded, split=choice.split, views=choice.views, purpose=RECONSTRUCTION
            )
            if not targets:
                return Measured({}, excluded)
            generator = self.sets.generator
            volume = generator.decode(generator.to_latent(self.sets.codes("reconstruction", [*targets])))
            good = finite(volume.grid).tolist()
            excluded[NOT_FINITE] += good.count(False)
            rows = {
                number: self.quality_of(*render_clamped(each, target.cameras, generator.settings), target)
                for (number, target), each, kept in zip(targets.items(), volume.objects(), good, strict=True)
                if kept
            }
            scores, owners = owned(rows)
            return Measured({"quality": scores, "owners": owners}, excluded)

        count = min(choice.objects or self.objects, self.objects)
        inputs = {"split": choice.split, "views": choice.views, "columns": self.quality_columns}
        if self.perceptual is not None:
            inputs["weights"] = [self.perceptual.checksum, self.perceptual.heads_checksum]
        return Measurement("quality", "reconstruction against real views", count, self.base | inputs, compute)

    @property
    def quality_columns(self) -> list[str]:
        return [*QUALITY, *([self.perceptual.name.replace("-", "_")] if self.perceptual else [])]

    def quality_of(self, rendered: Tensor, opacity: Tensor, target: ViewBatch) -> Tensor:
        """The columns for each of the pictures [1, V, ...] of one object: [V, columns]."""
        columns = [
            psnr(rendered, target.colour),
            foreground_psnr(rendered, target.colour, target.mask),
            ssim(rendered, target.colour),
            iou(opacity[:, :, 0], target.mask[:, :, 0]),
        ]
        if self.perceptual is not None:
            columns.append(self.perceptual(rendered, target.colour))
        return torch.stack([column[0].double() for column in columns], 1)

    def embedded(self, pictures: dict[int, Tensor]) -> dict[str, Tensor]:
        """Features of each item's pictures [V, 3, H, W], and whose each row is."""
        assert self.network is not None
        rows, owners = owned(pictures)
        return {"features": self.network(rows), "owners": owners} if len(rows) else {}


def has_true_meshes(archive: DataSet) -> bool:
    """Whether the first object whose surface can be read has one."""
    for index in range(len(archive)):
        with suppress(ArchiveError):
            return archive.true_mesh(index) is not None
    return False
