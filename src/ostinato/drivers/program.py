"""The step's program, walked in blocks of time, with its derived backward: in torch, or natively."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.drivers.sequence import walked_resets
from ostinato.programs import operator
from ostinato.programs import run as programs
from ostinato.programs.layout import Layout
from ostinato.programs.packed_layout import PackedLayout


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


def run_packed(
    cell: Cell,
    packed: PackedSequence,
    state: CellState | None = None,
    *,
    reverse: bool = False,
    chunks: int = 1,
    row: str = "program",
) -> tuple[Tensor, CellState]:
    """Walks checked sequences as they lie; outputs are packed as they are, states as the batch is."""
    state = cell.initial_state(int(packed.batch_sizes[0])) if state is None else state
    layout = PackedLayout.of_packed(packed, reverse)
    return programs.run(cell, packed.data, state, None, layout, chunks, operator.MAKERS[row](cell))
