"""The reference: the plain loop over a cell's step, with autograd; the truth that faster rows meet."""

import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.drivers.again import Loop, in_chunks
from ostinato.drivers.sequence import (
    beside,
    check_sequence,
    flip_within,
    valid_steps,
    walked_resets,
)
from ostinato.kernels.dispatch import exporting


def run(
    cell: Cell,
    x: Tensor,
    state: CellState | None = None,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
    chunks: int = 1,
) -> tuple[Tensor, CellState]:
    """Walks a cell over `x [B, T, I]` and returns `(outputs [B, T, H], state)`.

    `state` starts the walk; the cell's initial state if none is given.
    `lengths [B]`: outputs past a row's length are zero, its state stays at its last valid step, and
    what stands in the padding, NaN included, changes nothing.
    `resets [B, T]`: where True, a row's state is put back to the cell's initial state before that step;
    in the padding they change nothing.
    `reverse`: each row is walked from its last valid step to its first; outputs stay at their places.
    `chunks`: above 1, each of so many chunks is walked once more in the backward pass, and the state
    between them alone is kept until then.
    Raises what `check_sequence` does for tensors that do not fit.

    Costs one Python call of `step` a time step; memory grows with T, and so does the backward pass,
    linearly: x is taken apart once, never sliced in the loop.
    """
    check_sequence(cell, x, state, lengths, resets)
    state = cell.initial_state(x.shape[0]) if state is None else state
    fresh = None if resets is None else cell.initial_state(x.shape[0])
    return walk(cell, x, state, fresh, lengths, resets, reverse, chunks)


def walk(
    cell: Cell,
    x: Tensor,
    state: CellState,
    fresh: CellState | None,
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    chunks: int = 1,
    loop: Loop | None = None,
) -> tuple[Tensor, CellState]:
    """`run` without its checks: nothing in it asks what a tensor holds, so it can be unrolled.

    `fresh` is what resets put back; None where there are none.
    `loop` walks the steps once padding, direction and resets are seen to; the plain loop by default.
    """
    batch, time = x.shape[:2]
    if loop is None:
        loop = _scan if _unknown(time) else _walk
    valid = None
    if lengths is not None:
        lengths = lengths.to(x.device)
        valid = valid_steps(lengths, time)
        x = torch.where(beside(valid, x), x, 0)
    if reverse:
        x = flip_within(x, lengths)
    if resets is not None:
        resets = walked_resets(resets.to(x.device), lengths, reverse)
    if chunks > 1 and torch.is_grad_enabled():
        loop = in_chunks(loop, -(-time // chunks))
    if time:
        outputs, state = loop(cell, x, state, fresh, valid, resets)
    else:
        outputs = x.new_zeros(batch, 0, *cell.output_shape)
    return (flip_within(outputs, lengths) if reverse else outputs), state


def _walk(
    cell: Cell,
    x: Tensor,
    state: CellState,
    fresh: CellState | None,
    valid: Tensor | None,
    resets: Tensor | None,
) -> tuple[Tensor, CellState]:
    outputs = []
    for t, x_t in enumerate(x.unbind(1)):
        masks = (None if each is None else each[:, t] for each in (valid, resets))
        output, state = _step(cell, x_t, state, fresh, *masks)
        outputs.append(output)
    return torch.stack(outputs, dim=1), state


def _scan(
    cell: Cell,
    x: Tensor,
    state: CellState,
    fresh: CellState | None,
    valid: Tensor | None,
    resets: Tensor | None,
) -> tuple[Tensor, CellState]:
    """The same as torch's own `scan`, which a graph can hold whose T is not known yet."""
    from torch._higher_order_ops.scan import scan

    def one(carried: list[Tensor], at_t: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        x_t, *masks = at_t
        valid_t = None if valid is None else masks[0]
        resets_t = None if resets is None else masks[-1]
        output, after = _step(cell, x_t, type(state)(*carried), fresh, valid_t, resets_t)
        # Copies, for a scan wants no two results in one place.
        return [each.clone() for each in after], output.clone()

    masks = [each.t() for each in (valid, resets) if each is not None]
    last, outputs = scan(one, list(state), [x.transpose(0, 1), *masks])
    return outputs.transpose(0, 1), type(state)(*last)


def _unknown(time: int) -> bool:
    """Whether a graph is being exported for any T; one that torch.compile reads is for one T."""
    if not exporting():
        return False
    return torch.compiler.is_dynamo_compiling() or not isinstance(time, int)


def _step(
    cell: Cell,
    x: Tensor,
    state: CellState,
    fresh: CellState | None,
    valid: Tensor | None,
    resets: Tensor | None,
) -> tuple[Tensor, CellState]:
    """One step of a walk: the cell's, for rows that are reset before it or have ended."""
    if resets is not None:
        state = _choose(resets, fresh, state)
    output, stepped = cell.step(x, state)
    if valid is not None:
        output = torch.where(beside(valid, output), output, 0)
        stepped = _choose(valid, stepped, state)
    return output, stepped


def _choose(rows: Tensor, yes: CellState, no: CellState) -> CellState:
    """Row by row, the one state or the other."""
    return type(yes)(*(torch.where(beside(rows, a), a, b) for a, b in zip(yes, no, strict=True)))
