"""What the core does outside the walk, for all steps of a block at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ostinato.kernels.core import core
from ostinato.kernels.walker import NUMBERS, plain


def outers(
    a: Sequence[Tensor], g: Tensor, before: Sequence[Tensor | None], summed: bool
) -> list[Tensor]:
    """The sums over all rows of `aᵀ g` for each a, and (`summed`) of g, in one pass over g.

    Each is added to what there was `before`, in its place.
    """
    g = _rows(g)
    rows = [_rows(each) for each in a]
    shapes = [(each.shape[1], g.shape[1]) for each in rows] + [(g.shape[1],)] * summed
    made = [
        torch.zeros(shape, **NUMBERS) if known is None else known
        for shape, known in zip(shapes, before, strict=True)
    ]
    module = core()
    assert module is not None
    module.outer(
        [
            (each.shape[1], each.data_ptr(), each.stride(0), c.data_ptr(), c.stride(0))
            for each, c in zip(rows, made, strict=False)
        ],
        g.shape[1],
        g.shape[0],
        g.data_ptr(),
        g.stride(0),
        made[-1].data_ptr() if summed else 0,
        torch.get_num_threads(),
    )
    return made


def _rows(tensor: Tensor) -> Tensor:
    flat = plain(tensor).reshape(-1, tensor.shape[-1])
    return flat if flat.stride(1) == 1 else flat.contiguous()
