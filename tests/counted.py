"""Counts what is made: memory that no other process can disturb."""

from contextlib import contextmanager

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class Largest(TorchFunctionMode):
    """`bytes`: of the largest tensor that any call into torch returned; views of what it was given are none."""

    bytes = 0

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **(keywords or {}))
        given = {place(each) for each in tree_leaves((arguments, keywords)) if isinstance(each, Tensor)}
        for each in tree_leaves(made):
            if isinstance(each, Tensor) and place(each) not in given:
                self.bytes = max(self.bytes, each.nbytes)
        return made


def place(tensor: Tensor) -> int:
    """Where a tensor's numbers lie."""
    return tensor.untyped_storage().data_ptr()


@contextmanager
def largest_made():
    """`with largest_made() as largest: ...; largest.bytes`."""
    with Largest() as largest:
        yield largest
