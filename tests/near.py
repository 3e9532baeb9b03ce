"""How near tensors must be: one table of tolerances for all back-ends, and buffers that start as NaN."""

import contextlib

import torch

# How near a back-end must be to the reference: (largest difference over largest value, relative L2, 1 - cosine).
TOLERANCES = {
    torch.float64: (1e-9, 1e-10, 1e-15),
    torch.float32: (2e-4, 2e-5, 1e-8),
    torch.float16: (2e-2, 2e-3, 1e-5),
    torch.bfloat16: (2e-2, 1e-2, 1e-4),
}
EARLY_STOP_TOLERANCE = 2e-4  # of values, where rays may end at 1e-4 of the light


def assert_near(
    found: torch.Tensor, wanted: torch.Tensor, *, dtype: torch.dtype = torch.float32, what: str = ""
) -> None:
    """Elementwise, as vectors, and in direction; all finite."""
    assert found.shape == wanted.shape, what
    assert found.isfinite().all(), f"{what}: not finite"
    found, wanted = found.detach().double(), wanted.detach().double()
    if not wanted.numel():
        return
    elementwise, relative, cosine = TOLERANCES[dtype]
    scale = wanted.abs().max().clamp_min(1e-12)
    assert (found - wanted).abs().max() / scale <= elementwise, f"{what}: elementwise"
    norm = wanted.norm()
    if norm > 1e-9:
        assert (found - wanted).norm() / norm <= relative, f"{what}: relative L2"
        similarity = torch.nn.functional.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
        assert 1 - similarity <= cosine, f"{what}: cosine"


@contextlib.contextmanager
def nan_filled():
    """torch.empty gives NaN inside: what is not written shows."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def assert_but_for_rounding(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal, but for how products of batches of other sizes round: on some processors otherwise."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
