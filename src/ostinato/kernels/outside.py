"""What the core does outside the walk, for all steps of a block at once."""

import torch
from torch import Tensor

from ostinato.kernels.core import core


def outer(a: Tensor, g: Tensor, before: Tensor | None = None) -> Tensor:
    """The sum over all rows of `aᵀ g`; added to that of the rows before, in its place."""
    return _outer(a, g, before, None)


def outer_and_sum(a: Tensor, g: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same, and the sum over all rows of g."""
    sums = torch.zeros(g.shape[-1])
    return _outer(a, g, before, sums), sums


def _outer(a: Tensor, g: Tensor, before: Tensor | None, sums: Tensor | None) -> Tensor:
    a, g = _rows(a), _rows(g)
    made = torch.zeros(a.shape[1], g.shape[1]) if before is None else before
    module = core()
    assert module is not None
    module.outer(
        *made.shape,
        a.shape[0],
        a.data_ptr(),
        a.stride(0),
        g.data_ptr(),
        g.stride(0),
        made.data_ptr(),
        made.stride(0),
        0 if sums is None else sums.data_ptr(),
        torch.get_num_threads(),
    )
    return made


def _rows(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(-1, tensor.shape[-1])
    return flat if flat.stride(1) == 1 else flat.contiguous()


OUTSIDE = {"outer": outer, "outer_and_sum": outer_and_sum}
"""What takes the place of torch's, or is not torch's."""
