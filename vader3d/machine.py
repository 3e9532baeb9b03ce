"""The device, the type it is fast and right in, its peak."""

import ctypes
import functools
import os
import sys
import time
from typing import Literal

import torch

CPU = torch.device("cpu")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
PEAK_SIDE = {"cpu": 768, "cuda": 8192}  # of the multiplied matrices

Precision = Literal["auto", "bfloat16", "float32"]


def working_dtype(precision: Precision, device: torch.device | str) -> torch.dtype:
    """auto: bfloat16 where the machine has matrix units for it, float32 elsewhere.

    On a CPU with them (AMX) a convolution takes a quarter of float32's time; with AVX512-BF16 alone 1.5 times as long,
    emulated 4 times (AVX-512) to 26 times (AVX2) (docs/performance.md).
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    has_units = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)  # torch >= 2.6
    return torch.bfloat16 if has_units() else torch.float32


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Convolutions and matrix products inside compute in `working_dtype`; weights stay float32."""
    dtype = working_dtype(precision, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def chosen_device(name: str) -> torch.device:
    """auto: a GPU where there is one. ValueError: cuda, and there is none; or another name."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: wanted auto, cpu or cuda; got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: wanted cuda; got a machine without a CUDA device; choose auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks for the next step, at most 1 GiB each.

    It otherwise takes every block above 32 MB from the system anew, page by page. False where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def memory_bytes(device: torch.device) -> int:
    """What the device has in all, free or not; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


@functools.cache
def peak_flops(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product here and now, the best of three: takes a tenth of a second."""
    side = PEAK_SIDE[device]
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    fastest = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        product = a @ b
        product[0, 0].item()  # waits for a GPU
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest
