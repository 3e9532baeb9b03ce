"""One learned vector per training object, in a table or hashed.

Section 3.1 and Eq. 9-11 of arXiv:2307.05445. Gradients are sparse, so that a step touches only the rows of
its batch, whatever N is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vader3d.config import Checked, ranged
from vader3d.randomness import MASK32, hash32

OBJECTS_AT_ONCE = 4096


@dataclass(frozen=True)
class CodeConfig(Checked):
    """How codes are kept and learned. Defaults: PhotoShape chairs and MVImgNet in the paper."""

    kind: Literal["table", "hashed"] = "table"  # one learned vector an object, or put together from shared pieces
    # pieces of a hashed code, each of code_length / num_codebooks numbers (A1)
    num_codebooks: int = ranged(256, at_least=1)
    codebook_size: int = ranged(256, at_least=2)  # variants of each piece, a power of two
    # object numbers are mixed first, then multiplied by odd numbers; false: Eq. 10-11 to the letter, codes clash (A2)
    key_mix: bool = True
    allow_clashes: bool = False  # objects may share a whole code
    whiten: bool = False  # table only: codes are whitened over all objects at every step (A20); costs O(N)
    # dense: Adam on every row at every step; costs O(N), as whitening does anyway. faded: the same steps at the cost of
    # the touched rows (A33). rows: each touched row by its own clock, as if alone. sparse: by one clock for all, with
    # moments that wait for a row's next visit, so that rows first seen late leap.
    update: Literal["faded", "rows", "sparse", "dense"] = "faded"
    average: bool = False  # keep a moving average of the codes too; costs O(N) at every step


class Codes(nn.Module):
    """What both kinds share. `table` is the embedding whose rows learn."""

    table: nn.Embedding
    objects: int
    code_length: int

    def forward(self, objects: Tensor) -> Tensor:
        """Object numbers [B] -> codes [B, code_length]."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.objects

    @torch.no_grad()
    def batches(self, size: int = OBJECTS_AT_ONCE) -> Iterator[Tensor]:
        """All codes in order, [at most `size`, code_length] at a time."""
        for numbers in torch.arange(self.objects, device=self.table.weight.device).split(size):
            yield self(numbers)

    @torch.no_grad()
    def fitted_gaussian(self) -> tuple[Tensor, Tensor]:
        """Mean [L] and a factor F [N, L] with covariance F^T F: draw N(0, I_N) @ F + mean (docs/paper.md, A20)."""
        codes = torch.cat(list(self.batches()))
        mean = codes.mean(0)
        return mean, (codes - mean) / max(1, len(codes) - 1) ** 0.5


class CodeTable(Codes):
    """A plain table of N codes, initialised N(0, initial_std^2)."""

    def __init__(self, objects: int, code_length: int, *, initial_std: float = 1.0, sparse: bool = True):
        super().__init__()
        self.objects, self.code_length = objects, code_length
        self.table = nn.Embedding(objects, code_length, sparse=sparse)
        nn.init.normal_(self.table.weight, std=initial_std)

    def forward(self, objects: Tensor) -> Tensor:
        return self.table(objects)


class WhitenedCodes(CodeTable):
    """A table whose codes have mean 0 and covariance I over all objects, always (A20): gradients are dense."""

    def __init__(self, objects: int, code_length: int, *, initial_std: float = 1.0, ridge: float = 1e-3):
        super().__init__(objects, code_length, initial_std=initial_std, sparse=False)
        if objects < 2:
            raise ValueError(f"codes.whiten: wanted at least 2 objects; got {objects}")
        self.ridge = ridge

    def whitened(self) -> Tensor:
        """(E - m) L^-T with L L^T = (1 - ridge) cov(E) + ridge I: [N, L]."""
        codes = self.table.weight
        centred = codes - codes.mean(0)
        covariance = (1 - self.ridge) * centred.mT @ centred / (len(codes) - 1)
        factor = torch.linalg.cholesky(covariance + self.ridge * torch.eye(self.code_length, device=codes.device))
        return torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT

    def forward(self, objects: Tensor) -> Tensor:
        with torch.autocast(objects.device.type, enabled=False):
            return self.whitened()[objects]

    @torch.no_grad()
    def batches(self, size: int = OBJECTS_AT_ONCE) -> Iterator[Tensor]:
        yield from self.whitened().split(size)


class HashedCodes(Codes):
    """A code is `num_codebooks` pieces side by side, piece i the m_i(k)-th of codebook i (Eq. 9-11).

    Entries start N(0, initial_std^2), so that codes do. The multipliers are part of the state; states without have
    those of Eq. 11. ValueError: sizes that do not fit, or objects that would share a code.
    """

    multipliers: Tensor

    def __init__(self, objects: int, code_length: int, config: CodeConfig, *, initial_std: float = 1.0):
        super().__init__()
        pieces, size = config.num_codebooks, config.codebook_size
        if code_length % pieces:
            raise ValueError(f"codes.num_codebooks: wanted a divisor of code_length {code_length}; got {pieces}")
        if size < 2 or size & (size - 1):
            raise ValueError(f"codes.codebook_size: wanted a power of two; got {size}")
        self.objects, self.code_length, self.config = objects, code_length, config
        self.table = nn.Embedding(pieces * size, code_length // pieces, sparse=config.update != "dense")
        nn.init.normal_(self.table.weight, std=initial_std)
        self.register_buffer("multipliers", multipliers_for(config))
        different = count_different(self.entries, objects)
        if different < objects and not config.allow_clashes:
            raise ValueError(
                f"codes: wanted {objects} different ones; got {different}; set codes.key_mix=true or a larger "
                "codes.codebook_size (or codes.allow_clashes=true to train so)"
            )

    def entries(self, objects: Tensor) -> Tensor:
        """m_i(k) of each object: [B] -> [B, num_codebooks], below codebook_size."""
        return hashed_entries(
            objects, self.multipliers, codebook_size=self.config.codebook_size, key_mix=self.config.key_mix
        )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any) -> None:
        keep_old_multipliers(state_dict, self.config, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, objects: Tensor) -> Tensor:
        first = torch.arange(self.config.num_codebooks, device=objects.device) * self.config.codebook_size
        return self.table(first + self.entries(objects)).flatten(1)


def hashed_entries(objects: Tensor, multipliers: Tensor, *, codebook_size: int, key_mix: bool) -> Tensor:
    """Eq. 10: m_i(k) = [(a_i k) mod 2^32] >> (32 - r), with multipliers a [P] and 2^r = codebook_size: [B] -> [B, P].

    key_mix: k is the object's number through a bijection of the 32-bit numbers; else the number itself.
    """
    keys = mixed_key(objects) if key_mix else objects.long()
    products = keys[:, None] * multipliers  # int64 may wrap; its low 32 bits stay right
    return (products & MASK32) >> (32 - (codebook_size.bit_length() - 1))


def multipliers_of_eq_11(pieces: int) -> Tensor:
    """a_i = 2^31 + 2 i^2 + 1, i from 0: near ones, with which two of ABO's tables share 41 % of their pieces."""
    i = torch.arange(pieces, device="cpu")
    return (1 << 31) + 2 * i * i + 1


def keep_old_multipliers(state: dict[str, Any], config: CodeConfig, prefix: str) -> None:
    """Give hashed codes' states from before multipliers were part of them those of Eq. 11."""
    state.setdefault(prefix + "multipliers", multipliers_of_eq_11(config.num_codebooks))


def multipliers_for(config: CodeConfig) -> Tensor:
    """a_i of new codes: with key_mix odd numbers as good as random, always the same; two of ABO's then share 3.5 %."""
    if config.key_mix:
        return hash32(torch.arange(config.num_codebooks, device="cpu") + 1) | 1
    return multipliers_of_eq_11(config.num_codebooks)


def mixed_key(objects: Tensor) -> Tensor:
    """The 32-bit hash of k + 1 of object numbers k: a bijection that spreads consecutive ones, and maps 0 to 0."""
    return hash32(objects.long() + 1)


def count_different(entries: Callable[[Tensor], Tensor], objects: int) -> int:
    """How many of `objects` have different rows `entries(numbers)` [B, P]: by 64-bit sums, exactly where those meet."""
    generator = torch.Generator().manual_seed(0)
    numbers, sums, factors = torch.arange(objects, device="cpu"), [], None
    for part in numbers.split(OBJECTS_AT_ONCE):
        rows = entries(part)
        if factors is None:
            factors = torch.randint(-(1 << 62), 1 << 62, (rows.shape[1],), generator=generator, device="cpu")
        sums.append((rows * factors).sum(1))
    if not sums:
        return 0
    _, group, members = torch.cat(sums).unique(return_inverse=True, return_counts=True)
    suspects = numbers[members[group] > 1]
    if not len(suspects):
        return objects
    rows = torch.cat([entries(part).to(torch.int32) for part in suspects.split(OBJECTS_AT_ONCE)])
    return int((members == 1).sum()) + len(rows.unique(dim=0))


def codes_for(config: CodeConfig, objects: int, code_length: int, *, initial_std: float) -> Codes:
    """The codes of a configuration. ValueError names the field that does not fit."""
    if config.whiten and config.kind == "hashed":
        raise ValueError("codes.whiten: wanted codes.kind=table; got hashed, which cannot be whitened")
    if config.whiten and config.update != "dense":
        raise ValueError(
            f"codes.whiten: wanted codes.update=dense, for it moves every row at every step; got {config.update}"
        )
    if config.kind == "hashed":
        return HashedCodes(objects, code_length, config, initial_std=initial_std)
    if config.whiten:
        return WhitenedCodes(objects, code_length, initial_std=initial_std)
    return CodeTable(objects, code_length, initial_std=initial_std, sparse=config.update != "dense")


def stored_numbers(config: CodeConfig, objects: int, code_length: int) -> int:
    """How many numbers the codes are kept as."""
    return code_length * (config.codebook_size if config.kind == "hashed" else objects)


def storage_note(config: CodeConfig, objects: int, code_length: int, *, decoder: int) -> str:
    """What hashing saves, in one line; `decoder` is its number of parameters."""
    plain, stored = objects * code_length, stored_numbers(config, objects, code_length)
    if plain == stored:
        return f"{objects} codes of {code_length}: {4e-6 * plain:.1f} MB"
    share = (plain - stored) / (plain + decoder)
    return (
        f"{objects} hashed codes of {code_length}: {4e-6 * stored:.1f} MB for {4e-6 * plain:.1f} MB as a plain table, "
        f"{100 * share:.1f} % of all of stage 1's weights saved"
    )
