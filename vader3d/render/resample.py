"""Volumes read at any places, in C++ with OpenMP on the CPU.

Results are those of torch's `grid_sample`, which also takes what the library cannot: other devices, float64.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import grid_sample

from vader3d.native.library import INT64, POINTER, compiled
from vader3d.render.cpu import CHANNELS_LAST, channels_first, channels_last, soon_written, why_not
from vader3d.render.volume import ALIGN_CORNERS

PLACES_PER_THREAD = 4096  # fewer are done sooner than a second thread wakes up


class Job(ctypes.Structure):
    """A call as march.cpp reads it: its struct Resampling."""

    _fields_ = [
        *((name, INT64) for name in ("objects", "places_each", "depth", "height", "width", "channels", "threads")),
        *((name, POINTER) for name in ("volume", "places", "d_values", "values", "d_volume", "d_places")),
    ]


def resampled(volume: Tensor, places: Tensor) -> Tensor:
    """Volumes [B, C, D, H, W] read at places [B, ..., 3], (x, y, z) in [-1, 1]: [B, C, ...], in float32 at least.

    Trilinear; beyond the cube a volume goes on as it is at its border, and gradients to places are 0 there. Each volume
    is read at as many places as there are, in any shape, without a copy of it. The compiled library lays channels out
    last, gives NaN for places that are NaN and the same gradients with any number of threads.
    ValueError for unlike B, empty volumes and places that are not of three numbers.
    """
    if volume.dim() != 5 or 0 in volume.shape[1:] or places.shape[:1] != volume.shape[:1] or places.shape[-1] != 3:
        raise ValueError(
            f"places: wanted [B, ..., 3] in volumes [B, C, D, H, W]; got {list(places.shape)} in {list(volume.shape)}"
        )
    working = torch.promote_types(torch.promote_types(volume.dtype, places.dtype), torch.float32)
    shape = places.shape[1:-1]
    volume, listed = volume.to(working), places.to(working).reshape(len(volume), shape.numel(), 3)
    if working == torch.float32 and places.device == volume.device and why_not(volume) is None:
        values = _Resample.apply(volume, listed)
    else:
        values = grid_sample(volume, listed[:, :, None, None], padding_mode="border", align_corners=ALIGN_CORNERS)
    return values.reshape(*volume.shape[:2], *shape)


class _Resample(torch.autograd.Function):
    """Volume [B, C, D, H, W], places [B, N, 3] -> values [B, C, N], whose channels lie last."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, places: Tensor) -> Tensor:
        objects, count = places.shape[:2]
        threads = max(1, min(torch.get_num_threads(), objects * count // PLACES_PER_THREAD))
        packed, places = channels_last(volume, threads), places.contiguous()
        values = soon_written(torch.empty(objects, count, packed.shape[-1]))
        ctx.save_for_backward(packed, places)
        ctx.shape, ctx.channels_last = volume.shape, volume.is_contiguous(memory_format=CHANNELS_LAST)
        ctx.job = Job(objects, count, *packed.shape[1:], threads, packed.data_ptr(), places.data_ptr())
        ctx.job.values = values.data_ptr()
        compiled().vader3d_resample(ctypes.byref(ctx.job))
        return values.narrow(-1, 0, volume.shape[1]).movedim(-1, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_values: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (packed, places), job = ctx.saved_tensors, ctx.job
        d_values = channels_last(d_values[:, :, None, None], job.threads)
        d_packed = soon_written(torch.empty_like(packed)) if ctx.needs_input_grad[0] else None
        d_places = torch.empty_like(places) if ctx.needs_input_grad[1] else None
        job.volume, job.places, job.d_values = packed.data_ptr(), places.data_ptr(), d_values.data_ptr()
        job.d_volume = None if d_packed is None else d_packed.data_ptr()
        job.d_places = None if d_places is None else d_places.data_ptr()
        compiled().vader3d_resample_backward(ctypes.byref(job))
        if d_packed is None:
            return None, d_places
        return channels_first(d_packed, ctx.shape, ctx.channels_last, job.threads), d_places
