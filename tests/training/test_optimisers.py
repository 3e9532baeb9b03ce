"""Who moves what, and Muon on weights that are no matrices."""

import pytest
import torch
from torch import nn
from toy import ToyModel

from vader3d.training.optimisers import MatrixMuon, OptimiserConfig, optimisers_for

STEPS = 5


def gradients(shape) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for _ in range(STEPS)]


@pytest.mark.parametrize("shape", [(8, 5), (6, 4, 3, 3, 3), (2, 1, 1, 1, 1)])
def test_matrix_muon_is_torch_s_muon_on_the_flattened_weight(shape):
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(shape))
    theirs = nn.Parameter(ours.detach().flatten(1).clone())
    optimiser = MatrixMuon([ours], lr=0.02, momentum=0.9, weight_decay=0.1)
    judge = torch.optim.Muon([theirs], lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    start = ours.detach().clone()
    for gradient in gradients(shape):
        ours.grad, theirs.grad = gradient.clone(), gradient.flatten(1).clone()
        optimiser.step()
        judge.step()
    assert torch.equal(ours.flatten(1), theirs)
    assert not torch.equal(ours, start)


def test_matrix_muon_goes_on_from_its_state():
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(4, 3, 3, 3, 3)) for _ in range(2)]
    weights[1].data.copy_(weights[0].data)
    steady, stopped = (MatrixMuon([weight], lr=0.02, momentum=0.9) for weight in weights)
    for step, gradient in enumerate(gradients((4, 3, 3, 3, 3))):
        for weight, optimiser in zip(weights, (steady, stopped), strict=True):
            weight.grad = gradient.clone()
            optimiser.step()
        if step == 2:
            state = stopped.state_dict()
            stopped = MatrixMuon([weights[1]], lr=0.5, momentum=0.1)
            stopped.load_state_dict(state)
    assert torch.equal(weights[0], weights[1])


def test_weights_without_a_gradient_stay():
    weight = nn.Parameter(torch.randn(4, 3, 3, 3, 3))
    before = weight.detach().clone()
    MatrixMuon([weight], lr=0.02, momentum=0.9).step()
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
    moved = [p for o in optimisers for p in (o.weights if isinstance(o, MatrixMuon) else o.param_groups[0]["params"])]
    assert len(moved) == len({id(p) for p in moved})
    assert {id(p) for p in moved} == {id(p) for p in model.parameters()} - {id(model.codes.weight)}
    kinds = {"adam": [], "muon": [model.first.weight, model.second.weight]}[name]
    muon = [w for o in optimisers if isinstance(o, MatrixMuon) for w in o.weights]
    assert [id(w) for w in muon] == [id(w) for w in kinds]


def test_an_old_torch_without_muon_is_told(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ValueError, match=r"optimiser 'muon' needs torch >= 2\.9.*choose 'adam'"):
        MatrixMuon([], lr=0.1, momentum=0.9)
