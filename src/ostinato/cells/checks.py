"""What fits a cell, and what is said where something does not."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ostinato.errors import DeviceError, DtypeError, ShapeError, StateError

if TYPE_CHECKING:
    from ostinato.cells.cell import Cell


def check_input(cell: "Cell", x: Tensor, *axes: str) -> None:
    """Raises unless x has these axes and then the cell's input, in the weights' dtype, on their device.

    ShapeError, DtypeError or DeviceError.
    """
    name = type(cell).__name__
    if x.dim() != len(axes) + len(cell.input_shape) or tuple(x.shape[len(axes) :]) != cell.input_shape:
        if len(axes) == 1:
            raise ShapeError(
                f"{name}: one step takes x_t of shape {named(cell, 'B')}, got {list(x.shape)}. For a "
                f"whole sequence {named(cell, 'B', 'T')} wrap the cell in Recurrent."
            )
        raise ShapeError(
            f"{name}: expected x of shape {named(cell, *axes)}, got {list(x.shape)}. "
            "Sequences are batch-first: batch, time, features."
        )
    _check_kind(name, "x", x, next(cell.parameters(), None))


def check_state(cell: "Cell", state: Any, batch: int) -> None:
    """Raises StateError for a state of another shape or cell; DtypeError, DeviceError as for x."""
    name, kind = type(cell).__name__, cell.State
    if not isinstance(state, kind):
        raise StateError(
            f"{name}: expected a state of type {kind.__name__}, got {type(state).__name__}. "
            f"Begin with layer.cell.initial_state({batch}), or hand on the state of an earlier call."
        )
    weight = next(cell.parameters(), None)
    for field, shape in zip(kind._fields, cell.state_shapes, strict=True):  # type: ignore[attr-defined]
        tensor = getattr(state, field)
        if tuple(tensor.shape) != (batch, *shape):
            raise StateError(
                f"{name}: expected {kind.__name__}.{field} of shape {[batch, *shape]}, got "
                f"{list(tensor.shape)}. A state goes with one batch size and one cell."
            )
        if field in cell.counters and tensor.dtype != torch.long:
            raise DtypeError(
                f"{name}: expected {kind.__name__}.{field} in torch.int64, since it counts; got "
                f"{tensor.dtype}. Of a state, convert what is_floating_point() alone."
            )
        _check_kind(name, f"state.{field}", tensor, weight)


def _check_kind(name: str, what: str, tensor: Tensor, weight: Tensor | None) -> None:
    if weight is None:
        return
    real = tensor.is_floating_point() or what == "x"
    if real and tensor.dtype != weight.dtype and not autocast_chooses(tensor.device):
        raise DtypeError(
            f"{name}: expected {what} in {weight.dtype}, as the weights are; got {tensor.dtype}. "
            f"Convert one of them: {what}.to({weight.dtype}), or the layer's .to({tensor.dtype})."
        )
    if tensor.device != weight.device:
        raise DeviceError(
            f"{name}: expected {what} on {weight.device}, where the weights are; got {tensor.device}. "
            f'Move one of them: {what}.to("{weight.device}"), or the layer\'s .to("{tensor.device}").'
        )


def autocast_chooses(device: torch.device) -> bool:
    """Whether each operation on this device takes the kind of number that autocast has for it."""
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def check_size(cell: "Cell", name: str, size: object) -> None:
    """Raises ShapeError unless a width is a whole number of at least 1."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ShapeError(
            f"{type(cell).__name__}: {name} must be a whole number of at least 1, got {size!r}."
        )


def named(cell: "Cell", *axes: str) -> str:
    """The shape of a cell's input in words: `[B, T, I=3]`."""
    widths = cell.input_shape
    own = [f"I={widths[0]}"] if len(widths) == 1 else [str(width) for width in widths]
    return f"[{', '.join([*axes, *own])}]"
