"""What every driver knows of a batch of sequences: what fits, and how a row is turned round."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.cells.checks import check_input, check_state, named
from ostinato.errors import LengthsError, OptionError, ShapeError


def check_sequence(
    cell: Cell,
    x: Tensor,
    state: CellState | None = None,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
) -> None:
    """Raises, in words, unless the tensors fit each other and the cell.

    ShapeError for x; StateError for a state of another shape or cell; DtypeError and DeviceError where
    x or the state differ from the weights; LengthsError for lengths and resets.
    """
    check_input(cell, x, "B", "T")
    if state is not None:
        check_state(cell, state, x.shape[0])
    check_marks(type(cell).__name__, x, lengths, resets)


def check_packed(
    cell: Cell,
    packed: PackedSequence,
    state: CellState | None = None,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
) -> None:
    """Raises as `check_sequence` does; OptionError for lengths beside a PackedSequence."""
    name = type(cell).__name__
    if lengths is not None:
        raise OptionError(
            f"{name}: a PackedSequence knows its lengths; give it without lengths=, or the padded "
            "tensor with them."
        )
    if tuple(packed.data.shape[1:]) != cell.input_shape:
        raise ShapeError(
            f"{name}: expected a PackedSequence of steps {named(cell)}, got data of shape "
            f"{list(packed.data.shape)}."
        )
    check_input(cell, packed.data, "rows")
    batch, time = int(packed.batch_sizes[0]), len(packed.batch_sizes)
    if state is not None:
        check_state(cell, state, batch)
    check_marks(name, packed.data.new_empty(batch, time), None, resets)


def check_marks(name: str, x: Tensor, lengths: Tensor | None, resets: Tensor | None) -> None:
    """Raises LengthsError unless lengths and resets fit `x [B, T, …]`; `name` is who complains."""
    if lengths is not None:
        _check_lengths(name, lengths, *x.shape[:2])
    if resets is not None and (resets.shape != x.shape[:2] or resets.dtype != torch.bool):
        raise LengthsError(
            f"{name}: expected resets as bool of shape [B={x.shape[0]}, T={x.shape[1]}], got "
            f"{resets.dtype} of shape {list(resets.shape)}."
        )


def _check_lengths(name: str, lengths: Tensor, batch: int, time: int) -> None:
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise LengthsError(
            f"{name}: expected lengths as integers of shape [B={batch}], got {lengths.dtype} of "
            f"shape {list(lengths.shape)}."
        )
    if torch.compiler.is_compiling():
        # Nothing is known of them yet: the graph asks, each time it runs.
        fit = ((lengths >= 0) & (lengths <= time)).all()
        torch._assert_async(fit, f"{name}: expected lengths between 0 and T. Pad x or shorten them.")
    elif lengths.numel() and not lengths.is_meta:
        known = _numbers(lengths)
        if known.min() < 0 or known.max() > time:
            raise LengthsError(
                f"{name}: expected lengths between 0 and T={time}, got {int(known.min())} to "
                f"{int(known.max())}. Pad x or shorten the lengths."
            )


def _numbers(tensor: Tensor) -> Tensor:
    """What a transform of torch.func has wrapped: the numbers of all that it maps over."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def beside(mask: Tensor, tensor: Tensor) -> Tensor:
    """The mask with as many axes as the tensor."""
    return mask.view(*mask.shape, *[1] * (tensor.dim() - mask.dim()))


def valid_steps(lengths: Tensor, time: int) -> Tensor:
    """`[B, T]`: which steps are a row's own, not its padding."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def walked_resets(resets: Tensor, lengths: Tensor | None, reverse: bool) -> Tensor:
    """The resets as the walk meets them; those in the padding are none."""
    if lengths is not None:
        resets = resets & valid_steps(lengths, resets.shape[1])
    return reversed_resets(resets, lengths) if reverse else resets


def flip_within(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Turns each row of `[B, T, …]` round within its length; the padding stays where it is.

    Lengths 3 and 2 of T = 4:  a b c ·  →  c b a ·
                               d e · ·  →  e d · ·
    """
    if lengths is None:
        return x.flip(1)
    t = torch.arange(x.shape[1], device=x.device)
    source = torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)
    return x.gather(1, source.view(*source.shape, *[1] * (x.dim() - 2)).expand_as(x))


def reversed_resets(resets: Tensor, lengths: Tensor | None) -> Tensor:
    """The resets as a walk from the end meets them.

    A reset at t cuts the row between t − 1 and t. Walked backwards, that cut lies before t − 1.
    """
    time = resets.shape[1]
    cut_after = resets.roll(-1, 1) & (torch.arange(time, device=resets.device) < time - 1)
    return flip_within(cut_after, lengths)
