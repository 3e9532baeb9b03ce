"""The floating-point type that networks compute in: what a machine is both fast and right in."""

from typing import Literal

import torch

Precision = Literal["auto", "bfloat16", "float32"]


def working_dtype(precision: Precision, device: torch.device | str) -> torch.dtype:
    """auto: bfloat16 where the machine has instructions for it, float32 elsewhere.

    A CPU without them emulates it: convolutions in bfloat16 then take 4 times (AVX-512) to 30 times (AVX2) as long as
    in float32, with them a third (docs/performance.md).
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # torch >= 2.6; AMX implies it
    return torch.bfloat16 if has_instructions() else torch.float32


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Convolutions and matrix products inside compute in `working_dtype`; weights stay float32."""
    dtype = working_dtype(precision, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
