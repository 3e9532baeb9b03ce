"""Volume rendering on CUDA: a torch operator over Triton kernels.

The grid is laid out channels-last and padded to whole groups of four channels, then `vader3d::march` renders it in
one kernel and `vader3d::march_backward` differentiates it in another. Nothing of size rays x samples is kept: the
backward marches again from the saved outputs. Both operators run without asking the GPU anything, so calls can be
captured in a CUDA graph (the seed is a plain number, and so frozen in the graph).
"""

import importlib.util
import os
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vader3d.render.packing import CHANNEL_GROUP, DTYPES, highest_empty, padded_channels
from vader3d.render.reference import first_key
from vader3d.render.settings import March
from vader3d.render.volume import Volume

WARP = 32
INSTALLED = importlib.util.find_spec("triton") is not None  # asked once: torch.compile cannot trace the question
OCCUPANCY_BLOCK = 4  # cells along an edge, as in triton_kernels.BLOCK


def why_not(grid: Tensor) -> str | None:
    """What keeps this back-end from rendering `grid` [B, C, D, H, W]; None where nothing does."""
    if grid.dtype not in DTYPES:
        return f"the triton back-end takes float32, float16 or bfloat16 grids, not {str(grid.dtype)[6:]}"
    if grid.shape[2:].numel() >= 1 << 31:
        return f"the triton back-end counts an object's voxels in 31 bits, and {tuple(grid.shape[2:])} passes them"
    if not grid.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        return f"the triton back-end needs a CUDA device, and the grid is on {grid.device}"
    if grid.is_cuda and torch.cuda.get_device_capability(grid.device) < (8, 0):
        return "the triton back-end needs a GPU of compute capability 8.0 or later"
    if not INSTALLED:
        return "the triton back-end needs the package `triton`, which is not installed"
    return None


def render_rays(volume: Volume, origins: Tensor, directions: Tensor, march: March) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.render_rays` in fp32 arithmetic, with the same results and gradients; outputs are float32.

    `skip_empty` passes over empty blocks of the grid where no gradient is asked for, and does nothing elsewhere.
    """
    learning = torch.is_grad_enabled() and any(x.requires_grad for x in (volume.grid, origins, directions))
    occupied = occupied_blocks(volume, march) if march.skip_empty and not learning else None
    rays = (origins.float().contiguous(), directions.float().contiguous())
    return march_operator(channels_last(volume.grid), *rays, occupied, *constants_of(volume, march).packed())


def channels_last(grid: Tensor) -> Tensor:
    """Grid [B, C, D, H, W] -> [B, D, H, W, padded C], contiguous (no copy if it is already)."""
    spare = padded_channels(grid.shape[1]) - grid.shape[1]
    moved = grid.movedim(1, -1)
    return (torch.nn.functional.pad(moved, (0, spare)) if spare else moved).contiguous()


def occupied_blocks(volume: Volume, march: March) -> Tensor:
    """uint8 [B, blocks z, y, x], zero where no sample of a block's cells can absorb.

    A block is 4 x 4 x 4 cells, hence 5 x 5 x 5 voxels: it shares its outermost ones with its neighbours.
    """
    raw = volume.grid[:, 3]
    edges = []
    for size in reversed(raw.shape[1:]):
        blocks = -(-max(size - 1, 1) // OCCUPANCY_BLOCK)
        edges += [0, blocks * OCCUPANCY_BLOCK + 1 - size]
    padded = torch.nn.functional.pad(raw.detach().float(), edges, value=-torch.inf)
    highest = torch.nn.functional.max_pool3d(padded, OCCUPANCY_BLOCK + 1, OCCUPANCY_BLOCK)
    return (~(highest <= highest_empty(volume, march))).to(torch.uint8)  # not-a-numbers are something


class Constants(NamedTuple):
    """What the kernels take besides tensors. The operators carry it as two plain lists, for torch knows no structs."""

    channels: int
    samples_per_ray: int
    softplus: int
    seeded: int
    seed_key: int  # signed, in 32 bits, which the kernels wrap back: triton would compile anew for a 64-bit number
    density_scale: float
    density_noise: float
    early_stop: float

    def packed(self) -> tuple[list[int], list[float]]:
        return [*self[:5]], [*self[5:]]

    @classmethod
    def unpacked(cls, integers: list[int], numbers: list[float]) -> "Constants":
        return cls(*integers, *numbers)


def constants_of(volume: Volume, march: March) -> Constants:
    """Those of one call."""
    key = first_key(march.seed or 0)
    return Constants(
        channels=volume.grid.shape[1],
        samples_per_ray=march.samples_per_ray,
        softplus=int(volume.activation == "softplus"),
        seeded=int(march.seed is not None),
        seed_key=key - (key >> 31 << 32),
        density_scale=volume.density_scale,
        density_noise=march.density_noise,
        early_stop=march.early_stop,
    )


@torch.library.custom_op(
    "vader3d::march",
    mutates_args=(),
    schema="(Tensor grid, Tensor origins, Tensor directions, Tensor? occupied, SymInt[] integers, float[] numbers)"
    " -> (Tensor, Tensor, Tensor)",
)
def march_operator(
    grid: Tensor,
    origins: Tensor,
    directions: Tensor,
    occupied: Tensor | None,
    integers: list[int],
    numbers: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Grid [B, D, H, W, padded C], rays [B, R, 3] -> features [B, R, C - 1], opacity, depth [B, R].

    integers, numbers: `Constants.packed`.
    """
    from vader3d.render import triton_kernels

    constants = Constants.unpacked(integers, numbers)
    features, opacity, depth = outputs = empty_outputs(origins, constants.channels)
    if opacity.numel():
        with torch.cuda.device_of(grid):
            triton_kernels.march_forward[programs(grid, opacity)](
                *outputs,
                grid,
                origins,
                directions,
                grid if occupied is None else occupied,
                *runtime_numbers(grid, origins, constants),
                **variant(grid, constants),
                SKIP=occupied is not None,
            )
    return features, opacity, depth


@march_operator.register_fake
def march_shapes(
    grid: Tensor,
    origins: Tensor,
    directions: Tensor,
    occupied: Tensor | None,
    integers: list[int],
    numbers: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    return empty_outputs(origins, Constants.unpacked(integers, numbers).channels)


@torch.library.custom_op(
    "vader3d::march_backward",
    mutates_args=(),
    schema="(Tensor[] gradients, Tensor[] outputs, Tensor[] inputs, bool[] needed, SymInt[] integers, float[] numbers)"
    " -> (Tensor, Tensor, Tensor)",
)
def march_backward(
    gradients: list[Tensor],
    outputs: list[Tensor],
    inputs: list[Tensor],
    needed: list[bool],
    integers: list[int],
    numbers: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to `march_operator`'s grid (float32), origins and directions; empty tensors for those not asked for.

    gradients: of its three outputs; outputs: those; inputs: grid, origins, directions; needed: to the grid, to rays.
    """
    from vader3d.render import triton_kernels

    (grid, origins, _), (to_grid, to_rays) = inputs, needed
    constants = Constants.unpacked(integers, numbers)
    made = empty_gradients(grid, origins, needed)
    made[0].zero_()
    if outputs[1].numel():
        with torch.cuda.device_of(grid):
            triton_kernels.march_backward[programs(grid, outputs[1])](
                *made,
                *(gradient.contiguous() for gradient in gradients),
                *outputs,
                *inputs,
                *runtime_numbers(grid, origins, constants),
                **variant(grid, constants),
                TO_GRID=to_grid,
                TO_RAYS=to_rays,
            )
    return made


@march_backward.register_fake
def march_backward_shapes(
    gradients: list[Tensor], outputs: list[Tensor], inputs: list[Tensor], needed: list[bool], *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return empty_gradients(inputs[0], inputs[1], needed)


def remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    grid, origins, directions, _, *ctx.constants = inputs
    ctx.save_for_backward(*output, grid, origins, directions)


def differentiate(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    outputs, inputs = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
    to_grid, to_origins, to_directions = ctx.needs_input_grad[:3]
    needed = [to_grid, to_origins or to_directions]
    made = march_backward([*gradients], [*outputs], [*inputs], needed, *ctx.constants)
    d_grid = made[0].to(inputs[0].dtype) if to_grid else None
    return d_grid, made[1] if to_origins else None, made[2] if to_directions else None, None, None, None


march_operator.register_autograd(differentiate, setup_context=remember)


def empty_outputs(origins: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `march_operator` fills: features, opacity, depth."""
    rays = origins.shape[:2]
    return origins.new_empty(*rays, channels - 1), origins.new_empty(rays), origins.new_empty(rays)


def empty_gradients(grid: Tensor, origins: Tensor, needed: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    """What `march_backward` fills: gradients to grid, origins, directions; needed: to the grid, to rays."""
    rays = origins.shape if needed[1] else (0,)
    d_grid = grid.new_empty(grid.shape if needed[0] else (0,), dtype=torch.float32)
    return d_grid, origins.new_empty(rays), origins.new_empty(rays)


def tile(stride: int) -> tuple[int, int]:
    """Rays and channels (powers of two) of one program: each of a warp's threads holds four channels of one ray."""
    channels = 1 << (stride - 1).bit_length()
    return max(1, WARP * CHANNEL_GROUP // channels), channels


def programs(grid: Tensor, opacity: Tensor) -> tuple[int]:
    """The launch: as many programs as cover every ray."""
    return (-(-opacity.numel() // tile(grid.shape[-1])[0]),)


def runtime_numbers(grid: Tensor, origins: Tensor, constants: Constants) -> tuple[float, ...]:
    """The kernels' run-time numbers, in their order."""
    rays = origins.shape[:2]
    sizes = (rays.numel(), rays[1], constants.samples_per_ray, *grid.shape[1:4])
    scales = (constants.density_scale, constants.density_noise, constants.early_stop)
    return (*sizes, constants.seed_key, *scales)


def variant(grid: Tensor, constants: Constants) -> dict[str, int]:
    """The kernels' compile-time constants that forward and backward share."""
    rays, block = tile(grid.shape[-1])
    return {
        "CHANNELS": constants.channels,
        "STRIDE": grid.shape[-1],
        "CHANNEL_BLOCK": block,
        "RAYS": rays,
        "SOFTPLUS": bool(constants.softplus),
        "JITTER": bool(constants.seeded),
        "NOISE": bool(constants.seeded) and constants.density_noise != 0,
        "num_warps": 1,
    }
