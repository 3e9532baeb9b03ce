"""Hashed and whitened codes: the paper's equations and counts, and codes that do not clash."""

import math

import pytest
import torch

from vader3d.autodecoder.codes import (
    CodeConfig,
    HashedCodes,
    WhitenedCodes,
    codes_for,
    count_different,
    hashed_entries,
    mixed_key,
    multipliers_for,
    multipliers_of_eq_11,
    storage_note,
)
from vader3d.autodecoder.decoder import DecoderConfig
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig, load_autodecoder, save_autodecoder
from vader3d.snapshots import load_snapshot, save_snapshot

PAPER = {"abo": (1676, 8), "celebv": (44_400, 13), "objaverse": (300_000, 15)}  # objects, bits of an entry


def entries_of(bits: int, *, key_mix: bool, pieces: int = 256):
    multipliers = multipliers_for(CodeConfig("hashed", pieces, key_mix=key_mix))
    return lambda numbers: hashed_entries(numbers, multipliers, codebook_size=1 << bits, key_mix=key_mix)


def murmur3_finaliser(key: int) -> int:
    """In Python's own integers."""
    key ^= key >> 16
    key = key * 0x85EBCA6B % 2**32
    key ^= key >> 13
    key = key * 0xC2B2AE35 % 2**32
    return key ^ key >> 16


@pytest.mark.parametrize("key_mix", [False, True])
@pytest.mark.parametrize("bits", [8, 15])
def test_entries_are_equations_10_and_11_in_whole_numbers(key_mix, bits):
    numbers = [0, 1, 2, 77, 299_999, 2**31 - 1]
    found = entries_of(bits, key_mix=key_mix)(torch.tensor(numbers))
    for row, number in zip(found.tolist(), numbers, strict=True):
        key = murmur3_finaliser((number + 1) % 2**32) if key_mix else number
        factors = [murmur3_finaliser(i + 1) | 1 if key_mix else 2**31 + 2 * i * i + 1 for i in range(256)]
        assert row == [(factor * key % 2**32) >> (32 - bits) for factor in factors]


def test_key_mixing_is_a_bijection_as_far_as_looked():
    """Every step of it is invertible mod 2^32; here 2^20 keys stay apart."""
    assert len(mixed_key(torch.arange(1 << 20)).unique()) == 1 << 20


@pytest.mark.parametrize(("name", "literal"), [("abo", 1176), ("celebv", 44_397)])
def test_the_literal_equations_make_objects_share_codes(name, literal):
    """Counts reckoned by hand, i from 0."""
    objects, bits = PAPER[name]
    assert count_different(entries_of(bits, key_mix=False), objects) == literal
    assert count_different(entries_of(bits, key_mix=True), objects) == objects


@pytest.mark.parametrize("key_mix", [False, True])
def test_three_hundred_thousand_objects_have_codes_of_their_own(key_mix):
    objects, bits = PAPER["objaverse"]
    assert count_different(entries_of(bits, key_mix=key_mix), objects) == objects


@pytest.mark.parametrize("bits", [6, 8])
def test_a_toy_run_to_the_letter_has_two_codes(bits):
    assert count_different(entries_of(bits, key_mix=False), 64) == 2
    assert count_different(entries_of(bits, key_mix=True), 64) == 64


def test_mixed_pairs_share_as_few_pieces_as_chance_allows():
    objects, bits = PAPER["abo"]
    pairs = torch.randint(objects, (20_000, 2), generator=torch.Generator().manual_seed(0))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    shares = {
        key_mix: float(
            (entries_of(bits, key_mix=key_mix)(pairs[:, 0]) == entries_of(bits, key_mix=key_mix)(pairs[:, 1]))
            .float()
            .mean()
        )
        for key_mix in (False, True)
    }
    assert shares[True] == pytest.approx(1 / 256, rel=0.1)
    assert shares[False] == pytest.approx(0.229, abs=0.01)


def worst_share(entries: torch.Tensor) -> float:
    """The largest share of pieces that two rows of [N, P] have in common."""
    entries, worst = entries.to(torch.uint8), 0
    for start, part in zip(range(0, len(entries), 64), entries.split(64), strict=True):
        common = (part[:, None] == entries).sum(2)
        common[torch.arange(len(part)), start + torch.arange(len(part))] = 0
        worst = max(worst, int(common.max()))
    return worst / entries.shape[1]


def test_no_two_of_abo_s_tables_share_more_than_a_few_pieces():
    objects, bits = PAPER["abo"]
    numbers = torch.arange(objects)
    assert worst_share(entries_of(bits, key_mix=True)(numbers)) < 0.05
    of_eq_11 = hashed_entries(numbers, multipliers_of_eq_11(256), codebook_size=1 << bits, key_mix=True)
    assert worst_share(of_eq_11) == pytest.approx(0.41, abs=0.01)


def test_states_without_multipliers_keep_the_codes_that_they_had(tmp_path):
    """Written before multipliers were odd: snapshots and run states hold the table alone."""
    config = CodeConfig("hashed", num_codebooks=4, codebook_size=256)
    small = DecoderConfig(code_length=8, channels=(4, 4), attention_resolutions=(), latent_resolution=4)
    whole = AutodecoderConfig(codes=config, decoder=small)
    old = Autodecoder(whole, 50)
    old.codes.multipliers.copy_(torch.tensor([(1 << 31) + 2 * i * i + 1 for i in range(4)]))
    save_autodecoder(tmp_path / "new.safetensors", old, whole, data="")
    tensors, header = load_snapshot(tmp_path / "new.safetensors")
    del tensors["codes.multipliers"]
    save_snapshot(tmp_path / "old.safetensors", tensors, header)
    objects = torch.arange(50)
    for name in ("old.safetensors", "new.safetensors"):
        found, _, _ = load_autodecoder(tmp_path / name)
        assert torch.equal(found.codes(objects), old.codes(objects))
    assert not torch.equal(Autodecoder(whole, 50).codes.entries(objects), old.codes.entries(objects))


def test_the_count_of_different_rows_is_exact():
    """Against sets of tuples, where many rows meet."""
    rows = torch.randint(3, (500, 4), generator=torch.Generator().manual_seed(0))
    assert count_different(lambda numbers: rows[numbers], 500) == len(set(map(tuple, rows.tolist())))
    assert count_different(lambda numbers: rows[numbers], 1) == 1


def test_clashing_codes_are_refused_unless_they_are_wanted():
    with pytest.raises(ValueError, match=r"wanted 64 different ones; got 2; set codes\.key_mix=true"):
        HashedCodes(64, 512, CodeConfig("hashed", key_mix=False))
    codes = HashedCodes(64, 512, CodeConfig("hashed", key_mix=False, allow_clashes=True))
    assert len(torch.cat(list(codes.batches())).unique(dim=0)) == 2


def test_a_hashed_code_is_its_pieces_side_by_side():
    config = CodeConfig("hashed", num_codebooks=3, codebook_size=1 << 14)
    codes = HashedCodes(20, 12, config, initial_std=0.5)
    assert codes.table.weight.shape == (3 << 14, 4)
    found, entries = codes(torch.tensor([7, 3])), codes.entries(torch.tensor([7, 3]))
    for row in range(2):
        expected = [codes.table.weight[(i << 14) + int(entries[row, i])] for i in range(3)]
        assert torch.equal(found[row], torch.cat(expected))
    assert torch.equal(torch.cat(list(codes.batches(6))), codes(torch.arange(20)))
    assert len(codes) == 20


def test_hashed_codes_start_as_normal_ones():
    torch.manual_seed(0)
    codes = torch.cat(list(HashedCodes(1000, 64, CodeConfig("hashed", 16), initial_std=0.3).batches()))
    assert float(codes.std()) == pytest.approx(0.3, rel=0.05)


def test_only_the_touched_pieces_get_a_gradient():
    codes = HashedCodes(50, 8, CodeConfig("hashed", num_codebooks=4, codebook_size=4096))
    codes(torch.tensor([5])).sum().backward()
    gradient = codes.table.weight.grad
    assert gradient.is_sparse
    assert gradient.coalesce().indices().shape[1] == 4


@pytest.mark.parametrize(
    ("config", "length", "words"),
    [
        (CodeConfig("hashed", num_codebooks=3), 8, r"codes\.num_codebooks: wanted a divisor of code_length 8; got 3"),
        (CodeConfig("hashed", 4, codebook_size=48), 8, r"codes\.codebook_size: wanted a power of two; got 48"),
        (CodeConfig("hashed", 4, whiten=True), 8, r"codes\.whiten: wanted codes\.kind=table"),
        (CodeConfig(whiten=True), 8, r"codes\.whiten: .*codes\.update=dense"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config, length, words):
    with pytest.raises(ValueError, match=words):
        codes_for(config, 10, length, initial_std=1.0)


def test_whitened_codes_have_unit_covariance_and_every_row_learns():
    torch.manual_seed(0)
    codes = WhitenedCodes(400, 6)
    with torch.no_grad():
        codes.table.weight.mul_(torch.tensor([5.0, 1, 1, 0.5, 2, 3])).add_(4)
    white = torch.cat(list(codes.batches(64)))
    torch.testing.assert_close(white.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(6), atol=0.01, rtol=0)
    assert torch.equal(codes(torch.tensor([3, 399])), white[[3, 399]])
    codes(torch.tensor([0])).square().sum().backward()
    assert (codes.table.weight.grad.abs().sum(1) > 0).all()


def test_hashing_objaverse_saves_what_the_paper_says():
    """Three quarters of all of stage 1's weights (docs/paper.md, A1)."""
    note = storage_note(CodeConfig("hashed", codebook_size=1 << 15), 300_000, 1024, decoder=55_255_140)
    assert "134.2 MB for 1228.8 MB" in note
    saved = (300_000 - 32_768) * 1024 / (300_000 * 1024 + 55_255_140)
    assert math.isclose(saved, 0.755, abs_tol=5e-4)
    assert f"{100 * saved:.1f} % of all" in note
