"""Generated shapes against true ones: coverage and minimum matching distance where an archive knows true meshes."""

import torch
from torch import Tensor

from vader3d.data.archive import AnyArchive
from vader3d.evaluation.shapes import coverage_and_mmd
from vader3d.export.mesh import EmptyVolumeError, sample_surface_points
from vader3d.generate import Asset, Generator, sample_seed
from vader3d.progress import track
from vader3d.render import Volume

POINTS = 2048  # on each surface (METHOD 6.4)
SHAPES_PER_BATCH = 16


def has_true_meshes(archive: AnyArchive) -> bool:
    return archive.true_mesh(0) is not None


def shape_scores(generator: Generator, archive: AnyArchive, *, shapes: int, steps: int, seed: int) -> dict[str, float]:
    """`coverage` (%) and `mmd` of `shapes` generated objects against as many true meshes, evenly chosen.

    Empty volumes have no surface: they are left out and counted in `empty_shapes`.
    """
    chosen = torch.linspace(0, len(archive) - 1, min(shapes, len(archive))).long().tolist()
    reference = torch.stack([sample_surface_points(archive.true_mesh(i), POINTS, seed=seed) for i in chosen])
    generated: list[Tensor] = []
    batches = torch.arange(shapes).split(SHAPES_PER_BATCH)
    for numbers in track(batches, "shapes", total=len(batches)):
        seeds = [sample_seed(seed, number) for number in numbers.tolist()]
        for grid in generator.decode(generator.sample_latents(seeds, steps=steps)).grid:
            try:
                mesh = Asset(Volume(grid[None]), generator.settings).mesh()
            except EmptyVolumeError:
                continue
            generated.append(sample_surface_points(mesh, POINTS, seed=seed))
    scores: dict[str, float] = {
        "shapes": len(generated),
        "true_shapes": len(reference),
        "empty_shapes": shapes - len(generated),
    }
    if not generated:
        return scores
    coverage, mmd = coverage_and_mmd(torch.stack(generated), reference)
    return scores | {"coverage": coverage, "mmd": mmd}
