"""The one mixer of seeds."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

MASK32 = 0xFFFFFFFF


def mixed(*numbers: int) -> int:
    """63 bits that change with any of the numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def step_generator(seed: int, objects_seen: int) -> torch.Generator:
    """The randomness of the step that begins at `objects_seen` objects, so that a resumed run is the same run.

    All processes draw from it alike, for the whole batch, and take their share of what was drawn.
    """
    return torch.Generator().manual_seed((seed * 0x9E3779B97F4A7C15 + objects_seen * 2 + 1) % (1 << 63))


def noise_of(
    positions: Iterable[int], shape: tuple[int, ...], *, seed: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Unit normal noise [len(positions), *shape]: a row depends on the seed and its position in the run alone.

    So a process draws its own rows only, however large the whole batch is.
    """
    generator = torch.Generator(device)
    rows = [
        torch.randn(shape, generator=generator.manual_seed(mixed(seed, position)), device=device)
        for position in positions
    ]
    return torch.stack(rows)


def seeded(*numbers: int) -> torch.Generator:
    """A generator that any change of any of the numbers makes another."""
    return torch.Generator().manual_seed(mixed(*numbers))


def sample_seed(seed: int, index: int) -> int:
    """The seed of object `index`: below 2^32, since torch's generator on the CPU reads 32 bits of a seed.

    Distinct for all indices of a seed, and across seeds as long as seeds times indices stay below 1.9e9: multiples of
    the golden ratio keep apart.
    """
    return (seed * 0x9E3779B1 + index) % (1 << 32)


def hash32(key: Tensor) -> Tensor:
    """MurmurHash3's finaliser, a bijection of 32-bit numbers that spreads near ones; of and as int64."""
    key = key & MASK32
    key = ((key ^ (key >> 16)) * 0x85EBCA6B) & MASK32
    key = ((key ^ (key >> 13)) * 0xC2B2AE35) & MASK32
    return key ^ (key >> 16)
