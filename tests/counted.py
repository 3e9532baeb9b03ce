"""Counts what is made: memory that no other process can disturb."""

from contextlib import contextmanager

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Largest(TorchDispatchMode):
    """`numbers`: of the largest tensor that was made inside; views make none."""

    numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **(keywords or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((arguments, keywords)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in given:
                self.numbers = max(self.numbers, tensor.numel())
        return made


@contextmanager
def largest_made():
    """`with largest_made() as largest: ...; largest.numbers`."""
    with Largest() as largest:
        yield largest
