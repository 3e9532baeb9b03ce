"""The autodecoder as one module, and all its settings."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from vader3d.autodecoder.codes import CodeConfig, codes_for, keep_old_multipliers
from vader3d.autodecoder.decoder import Decoder, DecoderConfig
from vader3d.autodecoder.losses import LossConfig
from vader3d.autodecoder.parts import PartConfig, PartPoses
from vader3d.autodecoder.pose_table import PoseTable
from vader3d.autodecoder.posing import PoseConfig, Posing, found_in, seen_by
from vader3d.config import Checked, config_from_dict, config_to_dict, ranged
from vader3d.data.batches.views import ViewBatch
from vader3d.geometry.cameras import Cameras
from vader3d.latents import LatentConfig
from vader3d.render import RenderConfig, Volume
from vader3d.snapshots import MODEL, explained_by, filled, load_snapshot, read_header, save_snapshot
from vader3d.training.loop import LoopConfig
from vader3d.training.optimisers import OptimiserConfig

MOST_OBJECTS = 2**26


@dataclass(frozen=True)
class AutodecoderConfig(Checked):
    """Everything stage 1 needs besides data."""

    codes: CodeConfig = field(default_factory=CodeConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    latents: LatentConfig = field(default_factory=LatentConfig)
    poses: PoseConfig = field(default_factory=PoseConfig)
    parts: PartConfig = field(default_factory=PartConfig)
    views_per_object: int = ranged(4, at_least=1)  # rendered and compared of each object in a step
    # objects that are held and shuffled at a time where data are streamed from shards
    stream_buffer: int = ranged(4096, at_least=1)
    # of each training view every n-th pixel across and down is rendered, from a random first one
    pixel_stride: int = ranged(1, at_least=1)
    code_std: float = ranged(1.0, at_least=0)  # initial standard deviation of the codes
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    code_lr: float = ranged(5e-4, at_least=0)  # learning rate of the codes at the start
    # the density noise is gone after so many steps; None: at the end (A17)
    noise_steps: int | None = ranged(None, at_least=1)
    # standard deviation of noise on the codes in training: neighbours then decode alike
    code_noise: float = ranged(0.0, at_least=0)
    # every object is learned so many times, turned about z by equal angles, each with a code and a latent of its own:
    # stage 2 sees more of few objects. 2 and 4 turn the cube onto itself; others may cut what fills its corners
    yaw_copies: int = ranged(1, at_least=1)
    # SHA-256 of the autodecoder that the decoder was taken from (--init); None: it began anew
    init: str | None = None
    # codes then begin so many of its codes' standard deviations around their mean
    init_spread: float = ranged(0.3, at_least=0)
    decoder_rate: float = ranged(1.0, at_least=0)  # the decoder's share of its learning rates; 0: codes alone learn


class Autodecoder(nn.Module):
    """Codes and decoder: object numbers [B] -> Volume."""

    def __init__(self, config: AutodecoderConfig, objects: int):
        super().__init__()
        self.codes = codes_for(config.codes, objects, config.decoder.code_length, initial_std=config.code_std)
        render = config.render
        self.decoder = Decoder(config.decoder, activation=render.activation, density_scale=render.density_scale)
        self.averages_codes = config.codes.average
        source, from_file = config.poses.source, config.parts.poses is not None
        heights = config.decoder.part_heights or (0.0,) * max(1, config.decoder.extra_channels)
        self.posing = None if source == "given" else Posing(config.poses, heights)
        self.poses = PoseTable(objects, config.poses.table_views) if source == "table" and not from_file else None
        self.parts = PartPoses(config.parts, objects) if config.parts.names else None
        self.finds_poses = self.posing is not None and not from_file

    def forward(self, objects: Tensor) -> Volume:
        return self.decoder(self.codes(objects))

    def seen(self, volume: Volume, target: ViewBatch) -> tuple[Cameras, Tensor | None]:
        """The cameras [B, V] that `volume` is compared with `target` from, and poses of its parts for `render_views`.

        The data's and the table's, or what is found in the target's pictures.
        """
        if self.posing is not None and self.finds_poses:
            return seen_by(found_in(self.posing, volume, target), target.cameras)
        return target.cameras, None if self.parts is None else self.parts.of_batch(target)

    def not_averaged(self) -> list[nn.Parameter]:
        """What a moving average of this module leaves out: it would cost O(N) at every step."""
        tables: list[nn.Module | None] = [None if self.averages_codes else self.codes.table, self.poses, self.parts]
        return [parameter for table in tables if table is not None for parameter in table.parameters()]


def save_autodecoder(path: Path, model: Autodecoder, config: AutodecoderConfig, *, data: str) -> None:
    """A snapshot that `load_autodecoder` reads. data: the fingerprint of what it was trained on."""
    header = {"kind": "autodecoder", "config": config_to_dict(config), "objects": len(model.codes), "data": data}
    save_snapshot(path, dict(model.state_dict()), header)


def load_autodecoder(path: str | Path) -> tuple[Autodecoder, AutodecoderConfig, dict]:
    """An autodecoder from its run folder or snapshot, in evaluation mode, with its configuration and header."""
    path = Path(path)
    path = path / MODEL if path.is_dir() else path
    tensors, header = load_snapshot(path, "autodecoder")
    with explained_by(path, header):
        config = config_from_dict(AutodecoderConfig, header["config"])
        if not (isinstance(objects := header["objects"], int) and 1 <= objects <= MOST_OBJECTS):
            raise ValueError(f"objects: wanted 1 to {MOST_OBJECTS}; got {objects!r}")
        if objects % config.yaw_copies:
            raise ValueError(f"objects: wanted a multiple of yaw_copies {config.yaw_copies}; got {objects}")
        if config.codes.kind == "hashed":
            keep_old_multipliers(tensors, config.codes, "codes.")
        model = filled(lambda: Autodecoder(config, objects), tensors)
    return model, config, header


def read_config(path: Path) -> AutodecoderConfig:
    """The configuration that an autodecoder's snapshot was trained with; no weights are read."""
    header = read_header(path, "autodecoder")
    with explained_by(path, header):
        return config_from_dict(AutodecoderConfig, header["config"])
