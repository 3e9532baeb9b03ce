"""Volume rendering in C++ with OpenMP: the back-end for grids on the CPU."""

import ctypes
import functools
import logging
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

log = logging.getLogger("vader3d.render")
INT64, DOUBLE, POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
MOST_THREADS = 256  # as in march.cpp


class March(ctypes.Structure):
    """The call as march.cpp reads it."""

    _fields_ = [
        *((name, INT64) for name in ("objects", "rays", "samples", "depth", "height", "width", "channels", "threads")),
        *((name, INT64) for name in ("seeded", "seed", "softplus")),
        *((name, DOUBLE) for name in ("density_scale", "density_noise", "early_stop")),
        *((name, POINTER) for name in ("grid", "origins", "directions")),
        *((name, POINTER) for name in ("features", "opacity", "depth_sum", "marched", "empty")),
        *((name, POINTER) for name in ("d_features", "d_opacity", "d_depth", "d_grid", "spare", "d_rays")),
    ]


@functools.cache
def library() -> tuple[ctypes.CDLL | None, str | None]:
    """march.cpp, compiled: from the wheel, else from the user's cache, else built now; or None and why not."""
    from vader3d.render.csrc import build

    try:
        path = build.LIBRARY
        if not path.exists():
            compiler = build.find_compiler()
            if compiler is None:
                raise RuntimeError("no C++ compiler found (set CXX, or install g++)")
            path = build.cached_library(compiler)
            if not path.exists():
                build.compile_march(path, compiler)
        _share_openmp()
        found = ctypes.CDLL(str(path))
    except (OSError, RuntimeError) as error:
        log.warning("volume rendering falls back to plain torch, which is many times slower: %s", error)
        return None, str(error)
    for function in (found.vader3d_pack, found.vader3d_unpack):
        function.argtypes = [POINTER, POINTER, POINTER, POINTER, INT64]
    return found, None


def _share_openmp() -> None:
    """Make the OpenMP runtime that torch uses visible to march.so, so that both share one pool of threads."""
    try:
        loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    except OSError:
        loaded = set()
    runtimes = [path for path in loaded if Path(path).name.startswith(("libgomp", "libiomp5", "libomp"))]
    ctypes.CDLL(sorted(runtimes)[0] if runtimes else "libgomp.so.1", mode=ctypes.RTLD_GLOBAL)


def why_not(grid: Tensor) -> str | None:
    """Why this back-end cannot render `grid`, or None where it can."""
    if grid.device.type != "cpu":
        return f"the grid is on {grid.device}"
    if grid.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"it computes in float32, the grid is {grid.dtype}"
    if grid.shape[1] != 4:
        return f"it takes 4 channels, the grid has {grid.shape[1]}"
    return library()[1]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _relayout(function, source: Tensor, target: Tensor, planar: Tensor, threads: int) -> None:
    sizes, strides = (INT64 * 5)(*planar.shape), (INT64 * 5)(*planar.stride())
    function(source.data_ptr(), sizes, strides, target.data_ptr(), threads)


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(ctx, grid: Tensor, origins: Tensor, directions: Tensor, settings: dict):
        compiled = library()[0]
        objects, channels, depth, height, width = grid.shape
        rays = origins.shape[1]
        job = March(
            objects=objects, rays=rays, depth=depth, height=height, width=max(2, width), channels=channels,
            threads=min(torch.get_num_threads(), MOST_THREADS), **settings,
        )  # fmt: skip
        planar = grid.float()
        packed = planar.movedim(1, -1)
        if not packed.is_contiguous() or width == 1:
            if width == 1:
                planar = planar.expand(-1, -1, -1, -1, 2)
            packed = planar.new_empty(objects, depth, height, max(2, width), channels)
            _relayout(compiled.vader3d_pack, planar, packed, planar, job.threads)
        features = packed.new_empty(objects, rays, channels - 1)
        opacity, depth_sum = packed.new_empty(2, objects, rays)
        marched = torch.empty(objects, rays, dtype=torch.int32)
        origins, directions = origins.contiguous(), directions.contiguous()
        job.grid, job.origins, job.directions = packed.data_ptr(), origins.data_ptr(), directions.data_ptr()
        job.features, job.opacity, job.depth_sum = features.data_ptr(), opacity.data_ptr(), depth_sum.data_ptr()
        job.marched = marched.data_ptr()
        compiled.vader3d_forward(ctypes.byref(job))
        ctx.save_for_backward(grid, packed, origins, directions, features, opacity, depth_sum, marched)
        ctx.job = job
        return features, opacity, depth_sum

    @staticmethod
    @once_differentiable
    def backward(ctx, d_features, d_opacity, d_depth):
        compiled, job = library()[0], ctx.job
        grid, packed, _, _, features, opacity, depth_sum, _ = ctx.saved_tensors
        gradients = [gradient.contiguous().float() for gradient in (d_features, d_opacity, d_depth)]
        d_packed = torch.empty_like(packed)
        spare = packed.new_empty(job.threads - 1, *packed.shape[1:])
        job.features, job.opacity, job.depth_sum = features.data_ptr(), opacity.data_ptr(), depth_sum.data_ptr()
        job.d_features, job.d_opacity, job.d_depth = (gradient.data_ptr() for gradient in gradients)
        job.d_grid, job.spare = d_packed.data_ptr(), spare.data_ptr()
        compiled.vader3d_backward(ctypes.byref(job))
        d_grid = torch.empty_like(grid, dtype=torch.float32)
        if d_grid.movedim(1, -1).is_contiguous():
            d_grid = d_packed.movedim(-1, 1)
        else:
            d_packed = d_packed[:, :, :, : grid.shape[4]].contiguous()
            _relayout(compiled.vader3d_unpack, d_packed, d_grid, d_grid, job.threads)
        return d_grid.to(grid.dtype), None, None, None


def render_rays(
    grid: Tensor, origins: Tensor, directions: Tensor, *, samples_per_ray: int, activation: str,
    density_scale: float, density_noise: float, seed: int | None, early_stop: float, skip_empty: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """What `reference.render_rays` returns, for float32, float16 and bfloat16 grids on the CPU."""
    settings = dict(
        samples=samples_per_ray, softplus=activation == "softplus", density_scale=density_scale,
        density_noise=density_noise, seeded=seed is not None, seed=seed or 0, early_stop=early_stop,
    )  # fmt: skip
    return _Render.apply(grid, origins.float(), directions.float(), settings)
