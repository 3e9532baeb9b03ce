"""Does a sample show what its prompt asks for.

Every score stands beside its control: the same samples judged by each other's prompts. The control is the exact mean
over all ways to deal the prompts out among the samples, so it has no noise of its own; a model that ignores its prompts
scores as much.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.measures.neighbours import blocks
from vader3d.measures.pictures import require_finite


class Agreement(NamedTuple):
    """Of N samples, float64 [N] both, in [0, 1].

    right: 1 where a sample shows what its prompt asks for. shuffled: the share of all N prompts that it would satisfy.
    """

    right: Tensor
    shuffled: Tensor


def agreement(named: Sequence[str], shown: Sequence[str | None]) -> Agreement:
    """What N prompts name against what their samples show (None: nothing that has a name, which is wrong).

    ValueError: none, or unlike counts.
    """
    if len(named) != len(shown) or not named:
        raise ValueError(f"shown: wanted one for each of the prompts, at least one; got {len(shown)} of {len(named)}")
    asked = Counter(named)
    right = [float(one == other) for one, other in zip(named, shown, strict=True)]
    shuffled = [asked[each] / len(named) if each is not None else 0.0 for each in shown]
    return Agreement(torch.tensor(right, dtype=torch.float64), torch.tensor(shuffled, dtype=torch.float64))


def retrieval(pictures: Tensor, texts: Tensor, asked: Tensor, *, at: int) -> Agreement:
    """Is a sample's prompt among the `at` texts most like it (R@`at`).

    pictures: features [N, V, d] of N samples' views; texts: [M, d] of the same encoder; asked: numbers [N] of the
    samples' prompts among the texts. Likeness is the mean cosine over views; texts that are as like as the prompt stand
    before it, so an encoder that tells nothing apart retrieves nothing. ValueError: unlike sizes, NaN.
    """
    if pictures.ndim != 3 or texts.ndim != 2 or pictures.shape[-1] != texts.shape[-1] or len(asked) != len(pictures):
        raise ValueError(
            "pictures, texts, asked: wanted [N, V, d], [M, d] and [N]; got "
            f"{list(pictures.shape)}, {list(texts.shape)}, {list(asked.shape)}"
        )
    require_finite(pictures=pictures, texts=texts)
    views = torch.nn.functional.normalize(pictures.float(), dim=-1).mean(1)
    likeness = views @ torch.nn.functional.normalize(texts.float(), dim=-1).mT
    rising = likeness.sort(1).values
    before = len(texts) - torch.searchsorted(rising, likeness) - 1  # texts at least as like, but itself
    found = (before < at).double()
    return Agreement(found.gather(1, asked[:, None])[:, 0], found[:, asked].mean(1))


def nearest_pictures(
    features: Tensor,
    bank: Tensor,
    *,
    neighbours: int,
    objects: Tensor | None = None,
    bank_objects: Tensor | None = None,
) -> Tensor:
    """Numbers [P, neighbours] of the pictures of the bank [M, d] nearest to features [P, d] by cosine, nearest first.

    objects [P], bank_objects [M]: whose pictures they are, where none shall be its own object's neighbour.
    ValueError: fewer pictures in the bank (of other objects), unlike widths, NaN.
    """
    if features.ndim != 2 or bank.ndim != 2 or features.shape[1] != bank.shape[1] or len(bank) < neighbours:
        raise ValueError(
            f"features, bank: wanted [P, d] and [M, d], M at least {neighbours}; got {list(features.shape)}, "
            f"{list(bank.shape)}"
        )
    require_finite(features=features, bank=bank)
    features, bank = (torch.nn.functional.normalize(side.float(), dim=1) for side in (features, bank))
    found, start = [], 0
    for block in blocks(features, bank):
        likeness = block @ bank.mT
        if objects is not None and bank_objects is not None:
            likeness[objects[start : start + len(block), None] == bank_objects] = -torch.inf
        likest = likeness.topk(neighbours)
        if likest.values.isneginf().any():
            raise ValueError(f"bank: wanted at least {neighbours} pictures of other objects for each; got fewer")
        found.append(likest.indices)
        start += len(block)
    return torch.cat(found)


def voted(nearest: Tensor, labels: Sequence[str]) -> str:
    """The label most of one object's neighbours have: nearest [V, k], numbers into labels; of equals the nearer one."""
    return Counter(labels[number] for number in nearest.T.flatten().tolist()).most_common(1)[0][0]
