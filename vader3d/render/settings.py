"""How rays are marched, and a model's own settings of it."""

import math
from dataclasses import dataclass

from vader3d.render.volume import Activation


@dataclass(frozen=True)
class March:
    """What every back-end is told of a march; the volume says how its density is read.

    Raises ValueError, naming the field, for values out of range.
    """

    samples_per_ray: int
    density_noise: float = 0.0  # standard deviation of noise on the raw density, drawn from the seed
    seed: int | None = None  # 32 bits; jitters samples along their rays; None: each in the middle of its step
    early_stop: float = 1e-4  # a ray ends where less light than this is left; 0: exact (A36)
    skip_empty: bool = False  # pass over blocks of the grid that hold nothing; for inference only

    def __post_init__(self) -> None:
        if self.samples_per_ray < 1:
            raise ValueError(f"samples_per_ray: wanted 1 or more; got {self.samples_per_ray}")
        if not 0 <= self.density_noise < math.inf:
            raise ValueError(f"density_noise: wanted 0 or more and finite; got {self.density_noise}")
        if self.seed is not None and not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed: wanted 0 to 2^32 - 1, or None; got {self.seed}")
        if self.density_noise and self.seed is None:
            raise ValueError(f"seed: wanted one to draw density_noise {self.density_noise} from; got None")
        if not 0 <= self.early_stop < 1:
            raise ValueError(f"early_stop: wanted in [0, 1); got {self.early_stop}")


@dataclass(frozen=True)
class RenderConfig:
    """How a model's volumes are rendered; part of the model, since its densities were learned under it."""

    samples_per_ray: int = 128  # points at which each ray reads the volume
    activation: Activation = "relu"  # makes densities of raw ones; the decoder's volumes carry it and its scale
    density_scale: float = 1.0  # multiplies the activated density
    density_noise: float = 0.5  # std of noise on the raw density in training, falls linearly to 0 (A17)

    def march(self, *, noise_factor: float = 0.0, seed: int | None = None, skip_empty: bool = False) -> March:
        """The march of these settings, with `noise_factor` times the configured noise."""
        noise = self.density_noise * noise_factor
        return March(self.samples_per_ray, density_noise=noise, seed=seed, skip_empty=skip_empty)
