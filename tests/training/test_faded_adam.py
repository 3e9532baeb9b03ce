"""Dense Adam's steps at the cost of rows, against torch's Adam."""

import copy

import pytest
import torch
from torch import nn
from toy import CONFIG, ToyTask

from vader3d.training.checkpoint import load_state
from vader3d.training.loop import train
from vader3d.training.optimisers import table_optimiser

ROWS, LENGTH = 60, 3


def batches(steps: int, batch: int) -> list[torch.Tensor]:
    """Rows that each step reads, some of them twice: gaps of one step to hundreds; the last comes late, and is left."""
    generator = torch.Generator().manual_seed(0)
    rarely = torch.linspace(1, 0.002, ROWS - 1)
    rows = [torch.multinomial(rarely, batch, replacement=True, generator=generator) for _ in range(steps)]
    rows[steps // 2] = torch.cat([rows[steps // 2], torch.tensor([ROWS - 1])])
    return rows


TARGET = torch.randn(ROWS, LENGTH, generator=torch.Generator().manual_seed(1))


def tables(lr: float = 0.01, betas: tuple[float, float] = (0.5, 0.999), dtype: torch.dtype = torch.float32):
    """Two equal tables and their optimisers: faded, and torch's dense one."""
    torch.manual_seed(0)
    faded = nn.Embedding(ROWS, LENGTH, sparse=True, dtype=dtype)
    dense = nn.Embedding.from_pretrained(faded.weight.detach().clone(), freeze=False)
    return [(table, table_optimiser(table, update, lr=lr, betas=betas))
            for table, update in ((faded, "faded"), (dense, "dense"))]  # fmt: skip


def step(table: nn.Embedding, optimiser: torch.optim.Optimizer, rows: torch.Tensor, *, lr: float) -> torch.Tensor:
    """One step towards noisy targets, whose gradient depends on what is read; returns that."""
    optimiser.param_groups[0]["lr"] = lr
    read = table(rows)
    noise = torch.randn(len(rows), LENGTH, generator=torch.Generator().manual_seed(int(rows.sum())))
    (read - TARGET[rows] - 0.1 * noise).square().sum().backward()
    optimiser.step()
    table.zero_grad(set_to_none=True)
    return read.detach()


SCHEDULES = {
    "constant": lambda progress: 1.0,
    "to zero": lambda progress: 1 - progress,
    "warm-up": lambda progress: min(1.0, 20 * progress) * (1 - progress),
    "jumps": lambda progress: 1.0 if int(40 * progress) % 2 else 0.1,
}


@pytest.mark.parametrize(
    ("betas", "schedule"),
    [((0.5, 0.999), "to zero"), ((0.9, 0.99), "warm-up"), ((0.9, 0.999), "jumps"), ((0.0, 0.9), "constant")],
)
def test_every_read_and_the_end_are_dense_adam_s(betas, schedule):
    (ours, faded), (theirs, dense) = tables(betas=betas, dtype=torch.float64)
    start, steps = theirs.weight.detach().clone(), 800
    visits, gaps = {}, []
    for number, rows in enumerate(batches(steps, 3)):
        lr = 0.01 * SCHEDULES[schedule](number / steps)
        torch.testing.assert_close(step(ours, faded, rows, lr=lr), step(theirs, dense, rows, lr=lr), rtol=0, atol=1e-5)
        for row in rows.tolist():
            gaps.append(number - visits.get(row, number))
            visits[row] = number
    assert max(gaps) > 300
    faded.settle()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-5)
    moved = (theirs.weight - start).norm(dim=1)
    assert float(moved.detach()[: ROWS // 2].min()) > 0.1


def test_a_row_goes_on_without_gradients_as_far_as_dense_adam_moves_it():
    """In float32; with betas of (0.5, 0.999) a first step is doubled by what follows it."""
    (ours, faded), (theirs, dense) = tables(lr=0.01)
    before = ours.weight.detach().clone()
    for rows in ([0], *[[1]] * 300):
        step(ours, faded, torch.tensor(rows), lr=0.01)
        step(theirs, dense, torch.tensor(rows), lr=0.01)
    first = (ours.weight.detach() - before)[0]
    faded.settle()
    settled = (ours.weight.detach() - before)[0]
    torch.testing.assert_close(settled, (theirs.weight.detach() - before)[0], rtol=1e-4, atol=1e-6)
    assert float((settled / first).min()) > 1.9


def test_gradients_near_eps_are_dense_adam_s_too():
    (ours, faded), (theirs, dense) = tables(lr=0.01)
    for number in range(400):
        rows = torch.tensor([0, 1 + number % 37])
        values = 3e-8 * torch.randn(2, LENGTH, generator=torch.Generator().manual_seed(number))
        ours.weight.grad = torch.sparse_coo_tensor(rows[None], values, ours.weight.shape, check_invariants=True)
        theirs.weight.grad = ours.weight.grad.to_dense()
        faded.step()
        dense.step()
    faded.settle()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-3)  # a tenth of a step


def test_reading_changes_nothing_and_settling_twice_is_settling_once():
    (ours, faded), _ = tables()
    for rows in batches(30, 3):
        step(ours, faded, rows, lr=0.01)
    before = copy.deepcopy((faded.state_dict(), ours.weight.detach()))
    ours(torch.arange(ROWS))
    assert torch.equal(ours.weight, before[1])
    faded.settle()
    once = copy.deepcopy(faded.state_dict()["state"][0]), ours.weight.detach().clone()
    assert not torch.equal(once[1], before[1])
    faded.settle()
    assert torch.equal(ours.weight, once[1])
    assert all(torch.equal(torch.as_tensor(faded.state_dict()["state"][0][k]), torch.as_tensor(once[0][k]))
               for k in once[0])  # fmt: skip
    assert torch.equal(ours(torch.arange(ROWS)), ours.weight)


def test_it_goes_on_from_its_state_bit_for_bit(tmp_path):
    (steady, one), _ = tables()
    (stopped, two), _ = tables()
    for number, rows in enumerate(batches(1100, 3)):  # beyond the first 1024 steps, where the notes grow
        assert torch.equal(step(steady, one, rows, lr=0.01), step(stopped, two, rows, lr=0.01))
        if number in (500, 1050):
            torch.save((stopped.state_dict(), two.state_dict()), tmp_path / "state.pt")
            (stopped, two), _ = tables(lr=9.0)
            table, state = torch.load(tmp_path / "state.pt", weights_only=True)
            stopped.load_state_dict(table)
            two.load_state_dict(state)
    assert torch.equal(steady.weight, stopped.weight)


def test_a_step_costs_the_rows_it_touches():
    """Counted: no tensor but a table's moments and one number a row is ever as long as the table."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, kinds, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            if isinstance(result, torch.Tensor) and not result.is_sparse and "_." not in function.__name__:
                self.numbers = max(self.numbers, result.numel())
            return result

    table = nn.Embedding(100_000, 8, sparse=True)
    optimiser = table_optimiser(table, "faded", lr=0.01, betas=(0.5, 0.999))
    for number in range(3):
        with Largest() as largest:
            step_rows = torch.tensor([5, 7 + number])
            table(step_rows).square().sum().backward()
            optimiser.step()
            table.zero_grad(set_to_none=True)
    assert 0 < largest.numbers <= 2048


def test_betas_whose_sum_has_no_end_are_refused():
    with pytest.raises(ValueError, match=r"optimiser\.betas: wanted the first under the root of the second"):
        tables(betas=(0.99, 0.9))


def test_trained_tables_are_dense_adam_s_at_the_end_and_after_a_stop(tmp_path):
    """Through the loop: what is read in a step, and the table that is handed on."""

    def trained(update: str, *, stop_at: int | None = None) -> torch.Tensor:
        run = tmp_path / update
        run.mkdir(exist_ok=True)
        task = ToyTask(stop_at=stop_at)
        for optimiser in task.optimisers:
            optimiser.param_groups[0]["lr"] = 0.0  # the table alone learns: no rounding is made larger
        task.model.codes.sparse = update == "faded"
        task.optimisers[-1] = table_optimiser(task.model.codes, update, lr=1e-2, betas=(0.5, 0.999))
        if stop_at is not None:
            with pytest.raises(KeyboardInterrupt):
                train(task, CONFIG, run, title="toy")
            return trained(update)
        train(task, CONFIG, run, title="toy")
        return load_state(run / "state.pt")["model"]["codes.weight"]

    torch.testing.assert_close(trained("faded", stop_at=76), trained("dense"), rtol=0, atol=1e-5)
