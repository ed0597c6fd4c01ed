"""The step's program, walked in blocks of time, with its derived backward: in torch, or natively."""

import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.drivers.sequence import walked_resets
from ostinato.programs import operator
from ostinato.programs import run as programs
from ostinato.programs.layout import Layout


def run(
    cell: Cell,
    x: Tensor,
    state: CellState | None = None,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
    chunks: int = 1,
    row: str = "program",
) -> tuple[Tensor, CellState]:
    """Walks a checked batch, as `reference.run` does; no padding is computed.

    With `chunks` above 1 the past is kept as the state between so many chunks of time, and each is
    walked once more in the backward pass. Second derivatives are made by autograd from the plain loop
    over the program, at that loop's price.
    """
    batch, time = x.shape[:2]
    if lengths is not None:
        lengths = lengths.to(x.device)
    if resets is not None:
        resets = walked_resets(resets.to(x.device), lengths, reverse)
    # In this order on every row: what they draw at random is then the same.
    state = cell.initial_state(batch) if state is None else state
    fresh = None if resets is None else cell.initial_state(batch)
    if torch.compiler.is_compiling():
        return operator.run(cell, x, state, fresh, lengths, resets, reverse, chunks, row)
    layout = Layout.of(batch, time, lengths, resets, reverse, x.device)
    return programs.run(cell, x, state, fresh, layout, chunks, operator.MAKERS[row](cell))
