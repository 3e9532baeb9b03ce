"""Scores of adherence on planted truths: perfect, random and blind samples, and what a control is."""

import itertools

import pytest
import torch

from vader3d.measures.adherence import agreement, nearest_pictures, retrieval, voted

NAMED = ["red", "red", "blue", "green", "green", "green"]


def test_perfect_samples_are_right_and_their_control_is_chance():
    found = agreement(NAMED, NAMED)
    assert found.right.tolist() == [1] * 6
    assert found.shuffled.mean() == pytest.approx((4 + 1 + 9) / 36)  # two prompts drawn at random are alike


def test_samples_without_regard_to_prompts_score_their_control():
    """On the mean over all ways to deal the prompts out, which is what the control is."""
    shown = ["red", "green", "blue", "red", None, "green"]
    means = [float(agreement(list(dealt), shown).right.mean()) for dealt in itertools.permutations(NAMED)]
    found = agreement(NAMED, shown)
    assert sum(means) / len(means) == pytest.approx(float(found.shuffled.mean()))
    assert found.shuffled[4] == found.right[4] == 0  # shows nothing


def test_one_thing_for_all_prompts_scores_its_control_exactly():
    found = agreement(NAMED, ["green"] * 6)
    assert found.right.mean() == found.shuffled.mean() == pytest.approx(0.5)


@pytest.mark.parametrize(("named", "shown"), [([], []), (["red"], [])])
def test_unlike_counts_are_refused(named, shown):
    with pytest.raises(ValueError, match="wanted one for each of the prompts"):
        agreement(named, shown)


def spread(count: int, width: int = 64) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count))


def test_pictures_of_their_captions_are_retrieved():
    texts = spread(40)
    asked = torch.arange(0, 40, 2)
    pictures = texts[asked][:, None] + 0.5 * spread(20 * 8).view(20, 8, 64)
    for at in (1, 5):
        found = retrieval(pictures, texts, asked, at=at)
        assert found.right.mean() == 1
        assert found.shuffled.mean() == pytest.approx(at / 40, abs=0.06)


def test_pictures_of_anything_are_retrieved_as_often_as_chance():
    found = retrieval(spread(400 * 2).view(400, 2, 64), spread(40), torch.arange(400) % 40, at=5)
    assert found.right.mean() == pytest.approx(5 / 40, abs=0.06)
    assert found.shuffled.mean() == pytest.approx(5 / 40)  # exactly: each text is asked for as often


def test_a_prompt_that_is_second_is_found_at_2_not_at_1():
    texts = torch.eye(3)
    pictures = torch.tensor([[[1.0, 0.8, 0.1]]])
    ranks = [retrieval(pictures, texts, torch.tensor([1]), at=at).right.tolist() for at in (1, 2)]
    assert ranks == [[0.0], [1.0]]


def test_an_encoder_that_tells_nothing_apart_retrieves_nothing():
    found = retrieval(torch.ones(4, 2, 8), torch.ones(6, 8), torch.arange(4), at=5)
    assert found.right.sum() == found.shuffled.sum() == 0


def test_retrieval_refuses_other_sizes_and_nan():
    with pytest.raises(ValueError, match=r"wanted \[N, V, d\]"):
        retrieval(torch.ones(4, 8), torch.ones(6, 8), torch.arange(4), at=1)
    with pytest.raises(ValueError, match="pictures"):
        retrieval(torch.full((1, 1, 8), torch.nan), torch.ones(6, 8), torch.arange(1), at=1)


def test_neighbours_are_nearest_by_angle_and_never_the_same_object_where_that_is_asked():
    bank = torch.tensor([[1.0, 0.0], [5.0, 1.0], [0.0, 1.0], [-1.0, 0.0]])
    query = torch.tensor([[2.0, 0.1]])
    assert nearest_pictures(query, bank, neighbours=3).tolist() == [[0, 1, 2]]
    apart = {"objects": torch.tensor([7]), "bank_objects": torch.tensor([7, 1, 7, 3])}
    assert nearest_pictures(query, bank, neighbours=2, **apart).tolist() == [[1, 3]]
    with pytest.raises(ValueError, match="3 pictures of other objects"):
        nearest_pictures(query, bank, neighbours=3, **apart)
    with pytest.raises(ValueError, match="at least 5"):
        nearest_pictures(query, bank, neighbours=5)


def test_neighbours_vote_and_of_equals_the_nearer_wins():
    labels = ["chair", "table", "table", "stool"]
    assert voted(torch.tensor([[0, 1, 2]]), labels) == "table"
    assert voted(torch.tensor([[3, 0], [0, 3]]), labels) == "stool"
    assert voted(torch.tensor([[0, 3], [0, 3], [1, 3]]), labels) == "stool"
