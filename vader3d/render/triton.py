"""Volume rendering on CUDA: the march as a torch operator over Triton kernels.

The grid is laid out channels-last and padded to whole groups of four channels, then `vader3d::march` renders it in
one kernel and `vader3d::march_backward` differentiates it in another. Nothing of size rays x samples is kept: the
backward marches again from the saved outputs. Both operators run without asking the GPU anything, so calls can be
captured in a CUDA graph (the seed is a plain number, and so frozen in the graph).
"""

import importlib.util
import os

import torch
from torch import Tensor

from vader3d.render import reference

THREAD_CHANNELS = 4  # what one thread loads at once: 16 bytes of fp32
WARP = 32
OCCUPANCY_BLOCK = 4  # cells along an edge, as in triton_kernels.BLOCK
HIGHEST_NOISE = 510 / (65535 / 3) ** 0.5  # of reference.sample_noise
EMPTY_DENSITY = 1e-6  # densities up to this are passed over: the longest way through absorbs under 4e-6
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


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
    if importlib.util.find_spec("triton") is None:
        return "the triton back-end needs the package `triton`, which is not installed"
    return None


def render_rays(
    grid: Tensor,
    origins: Tensor,
    directions: Tensor,
    *,
    samples_per_ray: int,
    activation: str,
    density_scale: float,
    density_noise: float,
    seed: int | None,
    early_stop: float,
    skip_empty: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.render_rays` in fp32 arithmetic, with the same results and gradients; outputs are float32.

    `skip_empty` passes over empty blocks of the grid where no gradient is asked for, and does nothing elsewhere.
    """
    inputs = (grid, origins, directions)
    learning = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    occupied = None
    if skip_empty and not learning:
        noise = 0.0 if seed is None else density_noise
        occupied = occupied_blocks(grid[:, 3], activation=activation, scale=density_scale, noise=noise)
    return march(
        channels_last(grid),
        origins.float().contiguous(),
        directions.float().contiguous(),
        occupied,
        grid.shape[1],
        samples_per_ray,
        activation,
        density_scale,
        density_noise,
        seed,
        early_stop,
    )


def channels_last(grid: Tensor) -> Tensor:
    """Grid [B, C, D, H, W] -> [B, D, H, W, C rounded up to a multiple of 4], contiguous (no copy if it is already)."""
    spare = -grid.shape[1] % THREAD_CHANNELS
    moved = grid.movedim(1, -1)
    return (torch.nn.functional.pad(moved, (0, spare)) if spare else moved).contiguous()


def occupied_blocks(raw: Tensor, *, activation: str, scale: float, noise: float) -> Tensor:
    """Raw density [B, D, H, W] -> uint8 [B, blocks z, y, x], zero where no sample of a block's cells can absorb.

    A block is 4 x 4 x 4 cells, hence 5 x 5 x 5 voxels: it shares its outermost ones with its neighbours.
    """
    edges = []
    for size in reversed(raw.shape[1:]):
        blocks = -(-max(size - 1, 1) // OCCUPANCY_BLOCK)
        edges += [0, blocks * OCCUPANCY_BLOCK + 1 - size]
    padded = torch.nn.functional.pad(raw.detach().float(), edges, value=-torch.inf)
    highest = torch.nn.functional.max_pool3d(padded, OCCUPANCY_BLOCK + 1, OCCUPANCY_BLOCK) + HIGHEST_NOISE * noise
    density = torch.relu(highest) if activation == "relu" else torch.nn.functional.softplus(highest)
    return (~(density * scale <= EMPTY_DENSITY)).to(torch.uint8)


@torch.library.custom_op("vader3d::march", mutates_args=())
def march(
    grid: Tensor,
    origins: Tensor,
    directions: Tensor,
    occupied: Tensor | None,
    channels: int,
    samples_per_ray: int,
    activation: str,
    density_scale: float,
    density_noise: float,
    seed: int | None,
    early_stop: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Grid [B, D, H, W, channels padded], rays [B, R, 3] -> features [B, R, channels - 1], opacity, depth [B, R]."""
    from vader3d.render import triton_kernels

    features, opacity, depth = outputs = empty_outputs(origins, channels)
    if opacity.numel():
        with torch.cuda.device_of(grid):
            triton_kernels.march_forward[programs(grid, opacity)](
                *outputs,
                grid,
                origins,
                directions,
                grid if occupied is None else occupied,
                *numbers(grid, origins, samples_per_ray, density_scale, density_noise, seed, early_stop),
                **variant(grid, channels, activation, density_noise, seed),
                SKIP=occupied is not None,
            )
    return features, opacity, depth


@march.register_fake
def march_shapes(grid, origins, directions, occupied, channels, *settings):
    return empty_outputs(origins, channels)


@torch.library.custom_op("vader3d::march_backward", mutates_args=())
def march_backward(
    grad_features: Tensor,
    grad_opacity: Tensor,
    grad_depth: Tensor,
    features: Tensor,
    opacity: Tensor,
    depth: Tensor,
    grid: Tensor,
    origins: Tensor,
    directions: Tensor,
    to_grid: bool,
    to_rays: bool,
    channels: int,
    samples_per_ray: int,
    activation: str,
    density_scale: float,
    density_noise: float,
    seed: int | None,
    early_stop: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to `march`'s grid (float32), origins and directions; empty tensors for those not asked for."""
    from vader3d.render import triton_kernels

    gradients = empty_gradients(grid, origins, to_grid, to_rays)
    gradients[0].zero_()
    if opacity.numel():
        with torch.cuda.device_of(grid):
            triton_kernels.march_backward[programs(grid, opacity)](
                *gradients,
                grad_features.contiguous(),
                grad_opacity.contiguous(),
                grad_depth.contiguous(),
                features,
                opacity,
                depth,
                grid,
                origins,
                directions,
                *numbers(grid, origins, samples_per_ray, density_scale, density_noise, seed, early_stop),
                **variant(grid, channels, activation, density_noise, seed),
                TO_GRID=to_grid,
                TO_RAYS=to_rays,
            )
    return gradients


@march_backward.register_fake
def march_backward_shapes(
    grad_features,
    grad_opacity,
    grad_depth,
    features,
    opacity,
    depth,
    grid,
    origins,
    directions,
    to_grid,
    to_rays,
    *settings,
):
    return empty_gradients(grid, origins, to_grid, to_rays)


def remember(ctx, inputs, output):
    grid, origins, directions, _, *ctx.settings = inputs
    ctx.save_for_backward(*output, grid, origins, directions)


def differentiate(ctx, grad_features, grad_opacity, grad_depth):
    to_grid, to_origins, to_directions = ctx.needs_input_grad[:3]
    grads = march_backward(
        grad_features, grad_opacity, grad_depth, *ctx.saved_tensors, to_grid, to_origins or to_directions, *ctx.settings
    )
    grad_grid = grads[0].to(ctx.saved_tensors[3].dtype) if to_grid else None
    return grad_grid, grads[1] if to_origins else None, grads[2] if to_directions else None, *[None] * 8


march.register_autograd(differentiate, setup_context=remember)


def empty_outputs(origins: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `march` fills: features, opacity, depth."""
    rays = origins.shape[:2]
    return origins.new_empty(*rays, channels - 1), origins.new_empty(rays), origins.new_empty(rays)


def empty_gradients(grid: Tensor, origins: Tensor, to_grid: bool, to_rays: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What `march_backward` fills: gradients to grid, origins, directions."""
    rays = origins.shape if to_rays else (0,)
    grad_grid = grid.new_empty(grid.shape if to_grid else (0,), dtype=torch.float32)
    return grad_grid, origins.new_empty(rays), origins.new_empty(rays)


def tile(stride: int) -> tuple[int, int]:
    """Rays and channels (powers of two) of one program: each of a warp's threads holds four channels of one ray."""
    channels = 1 << (stride - 1).bit_length()
    return max(1, WARP * THREAD_CHANNELS // channels), channels


def programs(grid: Tensor, opacity: Tensor) -> tuple[int]:
    """The launch: as many programs as cover every ray."""
    return (-(-opacity.numel() // tile(grid.shape[-1])[0]),)


def numbers(grid, origins, samples_per_ray, density_scale, density_noise, seed, early_stop) -> tuple[float, ...]:
    """The kernels' run-time numbers, in their order; the seed as a signed 32-bit number that they wrap back."""
    key = 0 if seed is None else seed * 0x9E3779B9 & reference.MASK32
    key -= (key >> 31) << 32
    rays = origins.shape[:2]
    return (rays.numel(), rays[1], samples_per_ray, *grid.shape[1:4], key, density_scale, density_noise, early_stop)


def variant(grid: Tensor, channels: int, activation: str, density_noise: float, seed: int | None) -> dict[str, int]:
    """The kernels' compile-time constants that forward and backward share."""
    rays, block = tile(grid.shape[-1])
    jitter = seed is not None
    return {
        "CHANNELS": channels,
        "STRIDE": grid.shape[-1],
        "CHANNEL_BLOCK": block,
        "RAYS": rays,
        "SOFTPLUS": activation == "softplus",
        "JITTER": jitter,
        "NOISE": jitter and density_noise != 0,
        "num_warps": 1,
    }
