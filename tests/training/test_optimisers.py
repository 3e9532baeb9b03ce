"""Who moves what, and Muon on weights that are no matrices."""

import pytest
import torch
from torch import nn
from toy import ToyModel

from vader3d.training.optimisers import Muon, OptimiserConfig, optimisers_for, orthogonalised

STEPS = 5


def gradients(shape) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for _ in range(STEPS)]


@pytest.mark.parametrize("shape", [(8, 5), (6, 4, 3, 3, 3), (2, 1, 1, 1, 1)])
def test_muon_is_torch_s_on_the_flattened_weights(shape):
    """The same up to the rounding of bfloat16, which torch's always computes in."""
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for _ in range(3)]
    theirs = [nn.Parameter(weight.detach().flatten(1).clone()) for weight in ours]
    start = [weight.detach().clone() for weight in ours]
    optimiser = Muon(ours, lr=0.02, momentum=0.9)
    judge = torch.optim.Muon(theirs, lr=0.02, momentum=0.9, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for gradient in gradients((3, *shape)):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            mine.grad, other.grad = gradient[number].clone(), gradient[number].flatten(1).clone()
        optimiser.step()
        judge.step()
    for mine, other, before in zip(ours, theirs, start, strict=True):
        moved, wanted = ((end.detach().flatten(1) - before.flatten(1)) for end in (mine, other))
        assert float((moved - wanted).norm() / wanted.norm()) < 0.03


@pytest.mark.parametrize("shape", [(5, 20), (20, 5)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    values = torch.linalg.svdvals(orthogonalised(torch.randn(3, *shape)))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.3


@pytest.mark.parametrize("rank", [1, 3])
def test_gradients_of_low_rank_do_not_blow_up(rank):
    """As those of a batch of few objects are: rounding must not make what is nothing grow."""
    torch.manual_seed(0)
    matrices = torch.randn(4, 64, rank) @ torch.randn(4, rank, 1728)
    values = torch.linalg.svdvals(orthogonalised(matrices))
    assert float(values.max()) < 1.3
    assert float(values[:, :rank].min()) > 0.5
    assert float(values[:, rank:].max()) < 0.1


def test_muon_goes_on_from_its_state():
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(4, 3, 3, 3, 3)) for _ in range(2)]
    weights[1].data.copy_(weights[0].data)
    steady, stopped = (Muon([weight], lr=0.02, momentum=0.9) for weight in weights)
    for step, gradient in enumerate(gradients((4, 3, 3, 3, 3))):
        for weight, optimiser in zip(weights, (steady, stopped), strict=True):
            weight.grad = gradient.clone()
            optimiser.step()
        if step == 2:
            state = stopped.state_dict()
            stopped = Muon([weights[1]], lr=0.5, momentum=0.1)
            stopped.load_state_dict(state)
    assert torch.equal(weights[0], weights[1])


def test_weights_without_a_gradient_stay():
    weight = nn.Parameter(torch.randn(4, 3, 3, 3, 3))
    before = weight.detach().clone()
    Muon([weight], lr=0.02, momentum=0.9).step()
    assert torch.equal(weight, before)


def test_loading_weights_keeps_them_under_muon():
    """load_state_dict copies in place; the optimiser must go on moving the weights the model uses."""
    model = ToyModel()
    optimisers = optimisers_for(model, OptimiserConfig("muon"), without=(model.codes.weight,))
    model.load_state_dict(ToyModel().state_dict())
    before = model.first.weight.detach().clone()
    model(torch.tensor([0, 1])).sum().backward()
    optimisers[1].step()
    assert not torch.equal(model.first.weight, before)


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_every_parameter_has_one_optimiser(name):
    model = ToyModel()
    optimisers = optimisers_for(model, OptimiserConfig(name), without=(model.codes.weight,))
    moved = [p for o in optimisers for p in o.param_groups[0]["params"]]
    assert len(moved) == len({id(p) for p in moved})
    assert {id(p) for p in moved} == {id(p) for p in model.parameters()} - {id(model.codes.weight)}
    kinds = {"adam": [], "muon": [model.first.weight, model.second.weight]}[name]
    muon = [w for o in optimisers if isinstance(o, Muon) for w in o.param_groups[0]["params"]]
    assert [id(w) for w in muon] == [id(w) for w in kinds]


def test_muon_takes_further_weights_that_are_named():
    model = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Conv3d(3, 4, 1))
    adam, muon = optimisers_for(model, OptimiserConfig("muon"), matrices=[model[1].weight])
    assert [id(w) for w in muon.param_groups[0]["params"]] == [id(model[0].weight), id(model[1].weight)]
    assert [id(w) for w in adam.param_groups[0]["params"]] == [id(model[0].bias), id(model[1].bias)]
