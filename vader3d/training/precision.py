"""The floating-point type that networks compute in: what a machine is both fast and right in."""

from typing import Literal

import torch

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
