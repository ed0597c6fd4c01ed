"""States in torch's form: of each field one tensor, in which layers and directions come first.

    h_n [L·D, B, H]        row k·D + d is layer k, direction d; without B for one sequence alone

A cell with one field has that tensor as its state, one with several a tuple of them. A field whose
width is not the same in all layers (the last input of a QRNN of window 2) is a tuple of L·D tensors
`[1, B, width]`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.errors import StateError


def stacked(states: Sequence[CellState], alone: bool) -> Any:
    """The states of all layers and directions, put together."""
    fields = [_together(field, alone) for field in zip(*states, strict=True)]
    return fields[0] if len(fields) == 1 else tuple(fields)


def _together(field: Sequence[Tensor], alone: bool) -> Any:
    if alone:
        field = [each.squeeze(0) for each in field]
    if all(each.shape == field[0].shape for each in field):
        return torch.stack(list(field))
    return tuple(each.unsqueeze(0) for each in field)


def unstacked(
    name: str, given: Any, cells: Sequence[Cell], batch: int, alone: bool
) -> list[CellState | None]:
    """The state of each cell; None each where none is given.

    Raises StateError, naming the field, for what does not fit.
    """
    if given is None:
        return [None] * len(cells)
    names: tuple[str, ...] = cells[0].State._fields  # type: ignore[attr-defined]
    parts = [given] if len(names) == 1 else given
    if not isinstance(parts, tuple | list) or len(parts) != len(names):
        said = ", ".join(f"{each}_0" for each in names)
        raise StateError(f"{name}: expected a state ({said}), got {_words(given)}.")
    fields = [
        _apart(name, field, part, [cell.state_shapes[number] for cell in cells], batch, alone)
        for number, (field, part) in enumerate(zip(names, parts, strict=True))
    ]
    return [cell.State(*own) for cell, own in zip(cells, zip(*fields, strict=True), strict=True)]


def _apart(
    name: str,
    field: str,
    part: Any,
    shapes: Sequence[tuple[int, ...]],
    batch: int,
    alone: bool,
) -> Sequence[Tensor]:
    rows = () if alone else (batch,)
    said = "" if alone else f", B={batch}"
    if len(set(shapes)) > 1:
        expected = [(1, *rows, *shape) for shape in shapes]
        if not isinstance(part, tuple | list) or [_shape(each) for each in part] != expected:
            raise StateError(
                f"{name}: expected {field}_0 as a tuple of {len(shapes)} tensors [1{said}, width], of "
                f"widths {', '.join(str(*shape) for shape in shapes)}, got {_words(part)}."
            )
        return [each.view(batch, *shape) for each, shape in zip(part, shapes, strict=True)]
    if _shape(part) != (len(shapes), *rows, *shapes[0]):
        widths = ", ".join(map(str, shapes[0]))
        raise StateError(
            f"{name}: expected {field}_0 of shape [{len(shapes)}{said}, {widths}], layers and "
            f"directions first, got {_words(part)}."
        )
    whole: Tensor = part.unsqueeze(1) if alone else part
    return whole.unbind(0)


def _shape(part: Any) -> Any:
    return tuple(part.shape) if isinstance(part, Tensor) else None


def _words(given: Any) -> str:
    if isinstance(given, Tensor):
        return str(list(given.shape))
    if isinstance(given, tuple | list):
        return f"({', '.join(map(_words, given))})"
    return type(given).__name__
