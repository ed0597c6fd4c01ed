"""What every driver knows of a batch of sequences: what fits, and how a row is turned round."""

import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.errors import ShapeError


def check_sequence(
    cell: Cell, x: Tensor, lengths: Tensor | None = None, resets: Tensor | None = None
) -> None:
    """Raises ShapeError, in words, unless the tensors fit each other and the cell."""
    name = type(cell).__name__
    if x.dim() != 3 or x.shape[2] != cell.input_size:
        raise ShapeError(
            f"{name}: expected x of shape [B, T, I={cell.input_size}], got {list(x.shape)}. "
            "Sequences are batch-first: batch, time, features."
        )
    batch, time, _ = x.shape
    if lengths is not None:
        if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
            raise ShapeError(
                f"{name}: expected lengths as integers of shape [B={batch}], got {lengths.dtype} of "
                f"shape {list(lengths.shape)}."
            )
        if batch and (lengths.min() < 0 or lengths.max() > time):
            raise ShapeError(
                f"{name}: expected lengths between 0 and T={time}, got {int(lengths.min())} to "
                f"{int(lengths.max())}. Pad x or shorten the lengths."
            )
    if resets is not None and (resets.shape != (batch, time) or resets.dtype != torch.bool):
        raise ShapeError(
            f"{name}: expected resets as bool of shape [B={batch}, T={time}], got {resets.dtype} of "
            f"shape {list(resets.shape)}."
        )


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
    cut_after = torch.cat([resets[:, 1:], resets.new_zeros(resets.shape[0], 1)], dim=1)[
        :, : resets.shape[1]
    ]
    return flip_within(cut_after, lengths)
