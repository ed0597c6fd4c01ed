"""The forms in which torch.nn's layers take sequences, and the one in which layers here walk them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ostinato.errors import KindError, LengthsError, OptionError, ShapeError

Lengths = Tensor | Sequence[int]


class Sequences(NamedTuple):
    """A batch as layers walk it, and the way back."""

    x: Tensor
    """`[B, T, I]`"""
    lengths: Tensor | None
    resets: Tensor | None
    """`[B, T]`"""
    alone: bool
    """It came without a batch axis, and so does its state."""
    restored: Callable[[Tensor], Tensor | PackedSequence]
    """outputs `[B, T, H]` → the form of the input"""


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

    Raises ShapeError, LengthsError, KindError, and OptionError for lengths beside a PackedSequence.
    """
    if isinstance(x, PackedSequence):
        return _packed(name, x, width, batch_first, lengths, resets)
    if not isinstance(x, Tensor):
        raise KindError(f"{name}: expected a tensor or a PackedSequence, got {type(x).__name__}.")
    axes = "B, T" if batch_first else "T, B"
    if x.dim() not in (2, 3) or x.shape[-1] != width:
        raise ShapeError(
            f"{name}: expected x of shape [{axes}, I={width}], or [T, I={width}] for one sequence "
            f"alone, got {list(x.shape)}."
        )
    _check_resets(name, resets, x.shape[:-1], "T" if x.dim() == 2 else axes)
    if lengths is not None and not isinstance(lengths, Tensor):
        lengths = torch.as_tensor(lengths)
    if x.dim() == 2:
        if lengths is not None and lengths.dim() != 0:
            raise LengthsError(
                f"{name}: expected one number as the length of one sequence alone, got lengths of "
                f"shape {list(lengths.shape)}."
            )
        return Sequences(
            x.unsqueeze(0),
            None if lengths is None else lengths.view(1),
            None if resets is None else resets.unsqueeze(0),
            True,
            lambda outputs: outputs.squeeze(0),
        )
    if batch_first:
        return Sequences(x, lengths, resets, False, lambda outputs: outputs)
    turned = None if resets is None else resets.transpose(0, 1)
    return Sequences(x.transpose(0, 1), lengths, turned, False, lambda outputs: outputs.transpose(0, 1))


def _packed(
    name: str,
    packed: PackedSequence,
    width: int,
    batch_first: bool,
    lengths: Lengths | None,
    resets: Tensor | None,
) -> Sequences:
    if lengths is not None:
        raise OptionError(
            f"{name}: a PackedSequence knows its lengths; give it without lengths=, or the padded "
            "tensor with them."
        )
    if packed.data.dim() != 2 or packed.data.shape[1] != width:
        raise ShapeError(
            f"{name}: expected a PackedSequence of steps [I={width}], got data of shape "
            f"{list(packed.data.shape)}."
        )
    x, own = pad_packed_sequence(packed, batch_first=True)
    if resets is not None:
        axes = x.shape[:2] if batch_first else x.shape[:2][::-1]
        _check_resets(name, resets, axes, "B, T" if batch_first else "T, B")
        resets = resets if batch_first else resets.transpose(0, 1)

    def restored(outputs: Tensor) -> PackedSequence:
        order, rows = packed.sorted_indices, own
        if order is not None:
            outputs, rows = outputs.index_select(0, order), own[order.cpu()]
        data = pack_padded_sequence(outputs, rows, batch_first=True).data
        return PackedSequence(data, packed.batch_sizes, order, packed.unsorted_indices)

    return Sequences(x, own, resets, False, restored)


def _check_resets(name: str, resets: Tensor | None, shape: Sequence[int], axes: str) -> None:
    if resets is not None and (tuple(resets.shape) != tuple(shape) or resets.dtype != torch.bool):
        raise LengthsError(
            f"{name}: expected resets as bool of shape [{axes}] = {list(shape)}, got {resets.dtype} of "
            f"shape {list(resets.shape)}."
        )
