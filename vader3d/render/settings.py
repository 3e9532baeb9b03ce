"""How rays are marched, and a model's own settings of it."""

from dataclasses import dataclass, field

from vader3d.config import Checked, ranged, within
from vader3d.render.volume import Activation


@dataclass(frozen=True)
class March(Checked):
    """What every back-end is told of a march; the volume says how its density is read.

    Raises ValueError, naming the field, for values out of range.
    """

    samples_per_ray: int = field(metadata=within(at_least=1))
    # standard deviation of noise on the raw density, drawn from the seed
    density_noise: float = ranged(0.0, at_least=0)
    # 32 bits; jitters samples along their rays; None: each in the middle of its step
    seed: int | None = ranged(None, at_least=0, below=1 << 32)
    early_stop: float = ranged(1e-4, at_least=0, below=1)  # rays end where less light is left; 0: exact (A36)
    skip_empty: bool = False  # pass over blocks of the grid that hold nothing; for inference only

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.density_noise and self.seed is None:
            raise ValueError(f"seed: wanted one to draw density_noise {self.density_noise} from; got None")


@dataclass(frozen=True)
class RenderConfig(Checked):
    """How a model's volumes are rendered; part of the model, since its densities were learned under it."""

    samples_per_ray: int = ranged(128, at_least=1)  # points at which each ray reads the volume
    activation: Activation = "relu"  # makes densities of raw ones; the decoder's volumes carry it and its scale
    density_scale: float = ranged(1.0, above=0)  # multiplies the activated density
    # std of noise on the raw density in training, falls linearly to 0 (A17)
    density_noise: float = ranged(0.5, at_least=0)

    def march(self, *, noise_factor: float = 0.0, seed: int | None = None, skip_empty: bool = False) -> March:
        """The march of these settings, with `noise_factor` times the configured noise."""
        noise = self.density_noise * noise_factor
        return March(self.samples_per_ray, density_noise=noise, seed=seed, skip_empty=skip_empty)
