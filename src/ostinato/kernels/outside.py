"""What the core does outside the walk, for all steps of a block at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ostinato.kernels.core import core
from ostinato.kernels.gathered import Plan
from ostinato.kernels.walker import NUMBERS, plain
from ostinato.programs.block import Block


def outers(
    block: Block,
    a: Sequence[Tensor],
    g: Sequence[Tensor],
    plan: Plan,
    shapes: Sequence[Sequence[int]],
    before: Sequence[Tensor | None],
) -> list[Tensor]:
    """Sums over all rows of `aᵀ g`, and of g alone, as a plan puts them together, one pass for each g.

    Each is added to what there was `before`, in its place. What lies a step late is read there.
    """
    rows = [_rows(each) for each in a]
    places = [block.late_rows.data_ptr() if block.lies_late(each) else 0 for each in a]
    made = [
        torch.zeros(tuple(shape), **NUMBERS) if known is None else known
        for shape, known in zip(shapes, before, strict=True)
    ]
    module = core()
    assert module is not None
    for part, (meets, own) in zip(map(_rows, g), plan, strict=True):
        total = None if len(own) < 2 else torch.zeros(part.shape[1], **NUMBERS)
        there = [made[j][column : column + part.shape[1]] for j, column in own]
        place = total if total is not None else there[0] if there else None
        module.outer(
            [
                (
                    *(rows[i].shape[1], rows[i].data_ptr(), rows[i].stride(0), places[i]),
                    *_columns(made[j], column),
                )
                for i, j, column in meets
            ],
            part.shape[1],
            part.shape[0],
            part.data_ptr(),
            part.stride(0),
            0 if place is None else place.data_ptr(),
            torch.get_num_threads(),
        )
        if total is not None:
            for each in there:
                each.add_(total)
    return made


def _columns(result: Tensor, column: int) -> tuple[int, int]:
    """Where some columns begin, and how far the rows lie apart."""
    return result.data_ptr() + 4 * column, result.stride(0)


def _rows(tensor: Tensor) -> Tensor:
    flat = plain(tensor).reshape(-1, tensor.shape[-1])
    return flat if flat.stride(1) == 1 else flat.contiguous()
