"""The forms in which torch.nn's layers take sequences, and the one in which layers here walk them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.errors import KindError, LengthsError, ShapeError

Lengths = Tensor | Sequence[int]


class Sequences(NamedTuple):
    """A batch as layers walk it, and the way back."""

    x: Tensor | PackedSequence
    """`[B, T, I]`"""
    batch: int
    lengths: Tensor | None
    resets: Tensor | None
    """`[B, T]`"""
    alone: bool
    """It came without a batch axis, and so does its state."""
    restored: Callable[[Any], Tensor | PackedSequence]
    """outputs `[B, T, H]`, or packed → the form of the input"""


def sequences(
    name: str,
    x: Tensor | PackedSequence,
    width: int,
    batch_first: bool,
    lengths: Lengths | None,
    resets: Tensor | None,
) -> Sequences:
    """Reads `[T, B, I]` (`[B, T, I]` if batch_first), one sequence `[T, I]`, or a PackedSequence.

    `lengths [B]`, or one number beside one sequence; `resets` has the axes of x but for the last, or of
    the padded tensor that was packed.

    Raises ShapeError, LengthsError, KindError; what fits a PackedSequence, a driver says.
    """
    if lengths is not None and not isinstance(lengths, Tensor):
        lengths = torch.as_tensor(lengths)
    if isinstance(x, PackedSequence):
        return _packed(name, x, batch_first, lengths, resets)
    if not isinstance(x, Tensor):
        raise KindError(f"{name}: expected a tensor or a PackedSequence, got {type(x).__name__}.")
    axes = "B, T" if batch_first else "T, B"
    if x.dim() not in (2, 3) or x.shape[-1] != width:
        raise ShapeError(
            f"{name}: expected x of shape [{axes}, I={width}], or [T, I={width}] for one sequence "
            f"alone, got {list(x.shape)}."
        )
    _check_resets(name, resets, x.shape[:-1], "T" if x.dim() == 2 else axes)
    if x.dim() == 2:
        if lengths is not None and lengths.dim() != 0:
            raise LengthsError(
                f"{name}: expected one number as the length of one sequence alone, got lengths of "
                f"shape {list(lengths.shape)}."
            )
        return Sequences(
            x.unsqueeze(0),
            1,
            None if lengths is None else lengths.view(1),
            None if resets is None else resets.unsqueeze(0),
            True,
            lambda outputs: outputs.squeeze(0),
        )
    if batch_first:
        return Sequences(x, x.shape[0], lengths, resets, False, lambda outputs: outputs)
    turned = None if resets is None else resets.transpose(0, 1)
    return Sequences(
        x.transpose(0, 1), x.shape[1], lengths, turned, False, lambda outputs: outputs.transpose(0, 1)
    )


def _packed(
    name: str,
    packed: PackedSequence,
    batch_first: bool,
    lengths: Tensor | None,
    resets: Tensor | None,
) -> Sequences:
    batch, time = int(packed.batch_sizes[0]), len(packed.batch_sizes)
    if resets is not None:
        axes = "B, T" if batch_first else "T, B"
        _check_resets(name, resets, (batch, time) if batch_first else (time, batch), axes)
        resets = resets if batch_first else resets.transpose(0, 1)
    return Sequences(packed, batch, lengths, resets, False, lambda outputs: outputs)


def _check_resets(name: str, resets: Tensor | None, shape: Sequence[int], axes: str) -> None:
    if resets is not None and (tuple(resets.shape) != tuple(shape) or resets.dtype != torch.bool):
        raise LengthsError(
            f"{name}: expected resets as bool of shape [{axes}] = {list(shape)}, got {resets.dtype} of "
            f"shape {list(resets.shape)}."
        )
