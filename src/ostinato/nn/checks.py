"""What a constructor in torch's form refuses, and what it warns of."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ostinato.cells import Cell
from ostinato.errors import KindError, OptionError, ShapeError, nearest


def check_arguments(layer: nn.Module) -> None:
    """Raises KindError, ShapeError or OptionError for what no layer can be made of."""
    name = type(layer).__name__
    for switch in ("bias", "batch_first", "bidirectional", "learn_initial_state"):
        value = getattr(layer, switch)
        if not isinstance(value, bool):
            raise KindError(f"{name}: {switch} is True or False, got {value!r}.")
    for what in ("input_size", "hidden_size", "num_layers"):
        size: Any = getattr(layer, what)
        if not isinstance(size, int) or isinstance(size, bool):
            raise KindError(f"{name}: {what} is a whole number, got {size!r}.")
        if size < 1:
            raise ShapeError(f"{name}: {what} must be at least 1, got {size}.")
    share: Any = layer.dropout
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
        raise OptionError(f"{name}: dropout is the share dropped, 0 to 1, got {share!r}.")
    if share > 0 and layer.num_layers == 1:
        warnings.warn(
            f"{name}: dropout={share} acts between layers, and there is one layer.", stacklevel=5
        )


def check_options(layer: nn.Module, options: Mapping[str, Any], cell_type: Callable[..., Cell]) -> None:
    """Raises OptionError for an option that the cell does not have, or that holds weights."""
    name = type(layer).__name__
    known = list(inspect.signature(cell_type).parameters)[2:]
    own = [each for each in inspect.signature(type(layer)).parameters if each != "options"]
    for option, value in options.items():
        if option not in known:
            raise OptionError(
                f'{name}: there is no option "{option}"; {nearest(option, [*known, *own])}'
            )
        if isinstance(value, nn.Module) and any(True for _ in value.parameters()):
            raise OptionError(
                f"{name}: {option} has weights of its own, which layers would share; write a cell "
                "that has them, and layers of it."
            )


def check_cell(layer: nn.Module, cell: Cell) -> None:
    """Raises OptionError for a cell that cannot do without what is not a weight."""
    buffers = [each for each, _ in cell.named_buffers()]
    if buffers:
        raise OptionError(
            f"{type(layer).__name__}: expected a cell with weights alone, got {type(cell).__name__} "
            f"with the buffers {', '.join(buffers)}. Make a Stack of Recurrent layers of it."
        )
