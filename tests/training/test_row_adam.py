"""Row-wise Adam against torch's Adam, one optimiser a row."""

import pytest
import torch
from torch import nn

from vader3d.training.optimisers import RowAdam

BETAS = (0.5, 0.999)


def visits(rows: int, steps: int) -> list[torch.Tensor]:
    """Which rows each step touches; the last row is first touched late."""
    generator = torch.Generator().manual_seed(0)
    early = [torch.randperm(rows - 1, generator=generator)[:3] for _ in range(steps)]
    return [
        torch.cat([those, torch.tensor([rows - 1])]) if step > steps // 2 else those for step, those in enumerate(early)
    ]


def sparse_gradient(rows: torch.Tensor, values: torch.Tensor, shape) -> torch.Tensor:
    """With every row split in two entries, as an embedding leaves rows that a batch holds twice."""
    twice = torch.cat([rows, rows])[None]
    values = torch.cat([0.25 * values, 0.75 * values])
    return torch.sparse_coo_tensor(twice, values, shape, check_invariants=True)


def test_each_row_learns_as_if_alone():
    table = nn.Parameter(torch.randn(6, 4))
    alone = [nn.Parameter(row.detach().clone()) for row in table]
    judges = [torch.optim.Adam([row], lr=0.1, betas=BETAS) for row in alone]
    optimiser = RowAdam([table], lr=0.1, betas=BETAS)
    for step, rows in enumerate(visits(6, 20)):
        rate = 0.1 * (1 - step / 20)
        for each in (optimiser, *judges):
            each.param_groups[0]["lr"] = rate
        values = torch.randn(len(rows), 4)
        table.grad = sparse_gradient(rows, values, table.shape)
        optimiser.step()
        for row, value in zip(rows.tolist(), values, strict=True):
            alone[row].grad = value
            judges[row].step()
    torch.testing.assert_close(table, torch.stack(list(alone)), rtol=1e-4, atol=1e-6)


def test_with_all_rows_at_every_step_it_is_adam():
    ours = nn.Parameter(torch.randn(5, 3))
    theirs = nn.Parameter(ours.detach().clone())
    optimiser, judge = RowAdam([ours], lr=0.1, betas=BETAS), torch.optim.Adam([theirs], lr=0.1, betas=BETAS)
    for _ in range(6):
        theirs.grad = torch.randn(5, 3)
        ours.grad = theirs.grad.clone()
        optimiser.step()
        judge.step()
    torch.testing.assert_close(ours, theirs)


def test_a_row_first_seen_late_moves_by_the_learning_rate_where_torch_s_leaps():
    moved = {}
    for kind in (RowAdam, torch.optim.SparseAdam):
        table = nn.Parameter(torch.zeros(2, 1))
        optimiser = kind([table], lr=0.01, betas=BETAS)
        for step in range(2001):
            row = torch.tensor([int(step == 2000)])
            table.grad = torch.sparse_coo_tensor(row[None], torch.ones(1, 1), table.shape)
            optimiser.step()
        moved[kind.__name__] = -float(table.detach()[1]) / 0.01
    assert moved["RowAdam"] == pytest.approx(1, rel=1e-4)
    assert moved["SparseAdam"] > 10


def test_untouched_rows_stay_bit_for_bit():
    table = nn.Parameter(torch.randn(9, 2))
    before = table.detach().clone()
    optimiser = RowAdam([table], lr=1.0)
    for _ in range(3):
        table.grad = torch.sparse_coo_tensor(torch.tensor([[4]]), torch.ones(1, 2), table.shape)
        optimiser.step()
    same = (table == before).all(1)
    assert same.tolist() == [row != 4 for row in range(9)]


def test_it_goes_on_from_its_state(tmp_path):
    tables = [nn.Parameter(torch.ones(4, 2)) for _ in range(2)]
    steady, stopped = (RowAdam([table], lr=0.1, betas=BETAS) for table in tables)
    for step in range(6):
        rows, values = torch.tensor([[step % 3]]), torch.randn(1, 2)
        for table, optimiser in zip(tables, (steady, stopped), strict=True):
            table.grad = torch.sparse_coo_tensor(rows, values, table.shape)
            optimiser.step()
        if step == 2:
            torch.save(stopped.state_dict(), tmp_path / "state.pt")
            stopped = RowAdam([tables[1]], lr=9.0)
            stopped.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(tables[0], tables[1])
