"""The back-ends by name, and which of them takes a call."""

import functools
import logging
import os
from types import ModuleType

from torch import Tensor

from vader3d.render import cpu, reference, triton

log = logging.getLogger("vader3d.render")
BACKENDS: dict[str, ModuleType] = {"triton": triton, "cpu": cpu, "reference": reference}  # fastest first


def pick_backend(name: str, grid: Tensor, *, points: int) -> ModuleType:
    """The named back-end, or the fastest that can take the call. ValueError: unknown, or it cannot, and why."""
    if name == "auto":
        name = os.environ.get("VADER3D_RENDER_BACKEND", "auto")
    if name not in ("auto", *BACKENDS):
        raise ValueError(f"backend: wanted auto, {', '.join(BACKENDS)}; got {name!r}")
    if name != "auto":
        reason = why_not(name, grid)
        if reason is not None:
            raise ValueError(f"backend: wanted one for this call; got {name}, but {reason}; name another, or auto")
        return BACKENDS[name]
    reasons: list[str] = []
    for candidate, module in BACKENDS.items():
        reason = why_not(candidate, grid) or (cpu.why_slower(grid, points) if candidate == "cpu" else None)
        if reason is None:
            log_once(candidate, tuple(reasons))
            return module
        reasons.append(f"{candidate}: {reason}")
    raise AssertionError("the reference takes every call")


def why_not(name: str, grid: Tensor) -> str | None:
    """Why this back-end cannot take the call, or None."""
    if name == "reference":
        return None
    return BACKENDS[name].why_not(grid)


@functools.cache
def log_once(name: str, reasons: tuple[str, ...]) -> None:
    log.info("volume rendering by %s%s", name, f" ({'; '.join(reasons)})" if reasons else "")
