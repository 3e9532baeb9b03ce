"""Volume rendering in C++ with OpenMP, for grids on the CPU."""

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vader3d.geometry.rays import cube_crossing
from vader3d.native.library import DOUBLE, INT64, POINTER, compiled, library
from vader3d.render.packing import DTYPES, highest_empty, padded_channels
from vader3d.render.reference import BYTES_STD
from vader3d.render.settings import March
from vader3d.render.volume import Volume

CHANNELS_LAST = torch.channels_last_3d
MOST_CHANNELS, MOST_THREADS, BRICK = 256, 256, 2  # as in march.cpp
# How many voxels are laid out (pack) while plain torch starts, and while it renders one point.
VOXELS_LAID_OUT_IN_A_CALL, VOXELS_LAID_OUT_IN_A_POINT = 150_000, 45
POINTS_PER_THREAD, VECTORS_PER_THREAD = 8192, 16384  # fewer are done sooner than a second thread wakes up
MAPPED_ANEW = 32 << 20  # bytes from which glibc's malloc takes fresh pages from the system each time


class Job(ctypes.Structure):
    """A call as march.cpp reads it: its struct March."""

    _fields_ = [
        *((name, INT64) for name in ("objects", "rays", "samples", "depth", "height", "width")),
        *((name, INT64) for name in ("channels", "features_per_ray", "threads", "seeded", "seed", "softplus")),
        *((name, DOUBLE) for name in ("density_scale", "noise_scale", "early_stop")),
        *((name, POINTER) for name in ("grid", "origins", "directions")),
        *((name, POINTER) for name in ("features", "opacity", "depth_sum", "marched", "empty", "bounds")),
        *((name, POINTER) for name in ("d_features", "d_opacity", "d_depth", "d_grid", "spare", "d_rays")),
    ]


def why_not(grid: Tensor) -> str | None:
    """Why this back-end cannot render `grid` [B, C, D, H, W], or None where it can."""
    if grid.device.type != "cpu":
        return f"the cpu back-end reads memory of the CPU, and the grid is on {grid.device}"
    if grid.dtype not in DTYPES:
        return f"the cpu back-end takes float32, float16 or bfloat16 grids, not {str(grid.dtype)[6:]}"
    if grid.shape[1] > MOST_CHANNELS:
        return f"the cpu back-end takes up to {MOST_CHANNELS} channels, and the grid has {grid.shape[1]}"
    if grid.shape[2:].numel() * padded_channels(grid.shape[1]) >= 1 << 32:
        return f"the cpu back-end counts an object's numbers in 32 bits, and {tuple(grid.shape[1:])} passes them"
    return library()[1]


def squared_lengths(vectors: Tensor) -> tuple[float, float]:
    """The least and the largest squared length of vectors [..., 3] on the CPU; NaN where one holds NaN or infinity."""
    if library()[0] is None or vectors.dtype != torch.float32 or not vectors.is_contiguous():
        lengths = vectors.detach().square().sum(-1)
        return float(lengths.amin()), float(lengths.amax())
    found = (ctypes.c_float * 2)()
    count = vectors.numel() // 3
    threads = max(1, min(torch.get_num_threads(), count // VECTORS_PER_THREAD))
    compiled().vader3d_lengths(vectors.data_ptr(), count, found, threads)
    return found[0], found[1]


def why_slower(grid: Tensor, points: int) -> str | None:
    """Why plain torch is faster for so few `points` of this grid, or None: the whole grid is laid out anew first."""
    voxels = grid.shape[0] * grid.shape[2:].numel()
    few = voxels > VOXELS_LAID_OUT_IN_A_CALL + VOXELS_LAID_OUT_IN_A_POINT * points
    return f"the cpu back-end lays out {voxels} voxels first, which {points} points do not repay" if few else None


def render_rays(volume: Volume, origins: Tensor, directions: Tensor, march: March) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.render_rays` in float32 arithmetic, with the same results and gradients; outputs are float32.

    `skip_empty` passes over empty bricks of the grid where no gradient is asked for, and does nothing elsewhere.
    """
    volume, origins, directions = as_marched(volume), origins.float(), directions.float()
    inputs, job = (volume.grid, origins, directions), job_of(volume, origins, march)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return _Render.apply(*inputs, job)
    empty = empty_bricks(volume, march, job.threads) if march.skip_empty else None
    return march_forward(job, *inputs, empty=empty).outputs


def as_marched(volume: Volume) -> Volume:
    """In float32, two voxels or more along x, so that every cell has a right half."""
    grid = volume.grid
    if grid.dtype == torch.float32 and grid.shape[4] > 1:
        return volume
    wide = grid if grid.shape[4] > 1 else grid.expand(-1, -1, -1, -1, 2)
    return volume.with_grid(wide.float())


def job_of(volume: Volume, origins: Tensor, march: March) -> Job:
    """The job's numbers; `march_forward` and the backward pass set its pointers."""
    objects, channels, depth, height, width = volume.grid.shape
    rays = origins.shape[1]
    points = objects * rays * march.samples_per_ray
    return Job(
        objects=objects,
        rays=rays,
        samples=march.samples_per_ray,
        depth=depth,
        height=height,
        width=width,
        channels=padded_channels(channels),
        features_per_ray=channels - 1,
        threads=max(1, min(torch.get_num_threads(), MOST_THREADS, points // POINTS_PER_THREAD)),
        seeded=march.seed is not None,
        seed=march.seed or 0,
        softplus=volume.activation == "softplus",
        density_scale=volume.density_scale,
        noise_scale=march.density_noise / BYTES_STD,
        early_stop=march.early_stop,
    )


class Marched(NamedTuple):
    """A finished march: the job, what its pointers point to, and the three outputs."""

    job: Job
    tensors: tuple[Tensor, ...]  # grid [B, D, H, W, padded C], origins, directions, samples marched [B, R] (int32)
    outputs: tuple[Tensor, Tensor, Tensor]


def march_forward(
    job: Job, grid: Tensor, origins: Tensor, directions: Tensor, *, empty: tuple[Tensor, Tensor] | None = None
) -> Marched:
    """The march of float32 tensors; `empty`: what `empty_bricks` says, to pass over them."""
    packed = channels_last(grid, job.threads)
    origins, directions = origins.contiguous(), directions.contiguous()
    features = torch.empty(job.objects, job.rays, job.features_per_ray)
    opacity, depth_sum = torch.empty(job.objects, job.rays), torch.empty(job.objects, job.rays)
    marched = torch.empty(job.objects, job.rays, dtype=torch.int32)
    job.grid, job.origins, job.directions = packed.data_ptr(), origins.data_ptr(), directions.data_ptr()
    job.features, job.opacity, job.depth_sum = features.data_ptr(), opacity.data_ptr(), depth_sum.data_ptr()
    job.marched = marched.data_ptr()
    if empty is not None:
        job.empty, job.bounds = (tensor.data_ptr() for tensor in empty)
    compiled().vader3d_forward(ctypes.byref(job))
    return Marched(job, (packed, origins, directions, marched), (features, opacity, depth_sum))


def soon_written(memory: Tensor) -> Tensor:
    """An uninitialised tensor, all of which is going to be written."""
    if memory.nbytes >= MAPPED_ANEW:
        compiled().vader3d_expect_touching(memory.data_ptr(), memory.nbytes)
    return memory


def channels_last(grid: Tensor, threads: int) -> Tensor:
    """Grid [B, C, D, H, W] -> [B, D, H, W, C padded with zeros to a multiple of 4], dense; no copy if it is already."""
    objects, channels, *voxels = sizes = grid.shape
    if channels % 4 == 0 and grid.is_contiguous(memory_format=CHANNELS_LAST):
        return grid.movedim(1, -1)
    packed = soon_written(torch.empty(objects, *voxels, padded_channels(channels)))
    shape, strides = (INT64 * 5)(*sizes), (INT64 * 5)(*grid.stride())
    compiled().vader3d_pack(grid.data_ptr(), shape, strides, packed.data_ptr(), packed.shape[-1], threads)
    return packed


def empty_bricks(volume: Volume, march: March, threads: int) -> tuple[Tensor, Tensor]:
    """How many bricks away the nearest one is that holds anything, uint8 [B, z, y, x]; and all those' bounds [B, 8]."""
    grid = volume.grid
    bricks = [max(0, size - 2) // BRICK + 1 for size in grid.shape[2:]]
    empty, *spare = torch.empty(3, grid.shape[0], *bricks, dtype=torch.uint8)
    bounds = torch.empty(grid.shape[0], 8)
    shape, strides = (INT64 * 5)(*grid.shape), (INT64 * 5)(*grid.stride())
    compiled().vader3d_empty_bricks(
        grid.data_ptr(),
        shape,
        strides,
        highest_empty(volume, march),
        empty.data_ptr(),
        bounds.data_ptr(),
        spare[0].data_ptr(),
        threads,
    )
    return empty, bounds


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grid: Tensor, origins: Tensor, directions: Tensor, job: Job) -> tuple[Tensor, Tensor, Tensor]:
        ctx.job, ctx.shape, ctx.channels_last = job, grid.shape, grid.is_contiguous(memory_format=CHANNELS_LAST)
        done = march_forward(job, grid, origins, directions)
        ctx.save_for_backward(*done.tensors, *done.outputs)
        return done.outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        job, tensors = ctx.job, ctx.saved_tensors
        packed, origins, directions = tensors[:3]
        gradients = [gradient.contiguous() for gradient in d_outputs]
        job.grid, job.origins, job.directions, job.marched = (tensor.data_ptr() for tensor in tensors[:4])
        job.features, job.opacity, job.depth_sum = (tensor.data_ptr() for tensor in tensors[4:])
        job.d_features, job.d_opacity, job.d_depth = (gradient.data_ptr() for gradient in gradients)
        d_packed = d_rays = None
        job.d_grid = job.spare = job.d_rays = None
        if ctx.needs_input_grad[0]:
            d_packed = torch.zeros_like(packed) if job.rays == 0 else soon_written(torch.empty_like(packed))
            spare = soon_written(torch.empty(job.threads - 1, *packed.shape[1:]))
            job.d_grid, job.spare = d_packed.data_ptr(), spare.data_ptr()
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            d_rays = torch.empty(*origins.shape[:2], 8)
            job.d_rays = d_rays.data_ptr()
        compiled().vader3d_backward(ctypes.byref(job))
        d_grid = None if d_packed is None else channels_first(d_packed, ctx.shape, ctx.channels_last, job.threads)
        d_origins, d_directions = (None, None) if d_rays is None else through_crossing(origins, directions, d_rays)
        return d_grid, d_origins, d_directions, None


def channels_first(packed: Tensor, sizes: torch.Size, stays_last: bool, threads: int) -> Tensor:
    """What `channels_last` made of a grid of `sizes`, in the memory format that the grid had, if that was dense."""
    if stays_last and packed.shape[-1] == sizes[1]:
        return packed.movedim(-1, 1)
    grid = torch.empty(sizes, memory_format=CHANNELS_LAST if stays_last else torch.contiguous_format)
    shape, strides = (INT64 * 5)(*sizes), (INT64 * 5)(*soon_written(grid).stride())
    compiled().vader3d_unpack(grid.data_ptr(), shape, strides, packed.data_ptr(), packed.shape[-1], threads)
    return grid


def through_crossing(origins: Tensor, directions: Tensor, d_rays: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients to rays from march.cpp's [B, R, 8] (origin, direction, near, far): near and far depend on rays too."""
    with torch.enable_grad():
        rays = origins.detach().requires_grad_(), directions.detach().requires_grad_()
        crossing = cube_crossing(*rays)
    d_origins, d_directions = torch.autograd.grad(crossing, rays, (d_rays[..., 6], d_rays[..., 7]))
    return d_origins + d_rays[..., :3], d_directions + d_rays[..., 3:6]
