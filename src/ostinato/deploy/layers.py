"""Which layers can be stepped, as one cell each, and the form of their state."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.cells.checks import check_state
from ostinato.drivers import Recurrent
from ostinato.errors import OptionError, StateError
from ostinato.nn.layers import RecurrentLayers
from ostinato.nn.stacked import stacked, unstacked
from ostinato.wrappers import Around, Bidirectional, CellStack, Device, Gates, Stack, Sum, WeightDrop
from ostinato.wrappers.wrapped import Wrapped


class Steps(NamedTuple):
    """A layer as one cell, with the weights that it has now, and its state in the layer's own form."""

    cell: Cell
    joined: Callable[[CellState], Any]
    """the cell's state → the layer's"""
    parted: Callable[[Any, int], CellState]
    """the layer's state for so many rows → the cell's; StateError for what is none"""


class _Around(Wrapped):
    """What a cell reads joined with what it puts out, as `Around` does with a layer's sequences."""

    def __init__(self, cell: Cell, join: Sum | Gates):
        super().__init__(cell)
        self.join = join

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        y, state = self.cell.step(x, state)
        joined: Tensor = self.join(x, y)
        return joined, state


def as_one_cell(layer: nn.Module) -> Steps:
    """The layer as one cell that is stepped.

    Raises OptionError, saying why, for what cannot be stepped: what reads a sequence from its end, what
    draws at random, and what is no recurrent layer.
    """
    _check_calm(layer)
    return _as_one_cell(layer)


def _as_one_cell(layer: nn.Module) -> Steps:
    if isinstance(layer, Cell):
        return Steps(layer, lambda state: state, lambda state, rows: _checked(layer, state, rows))
    if isinstance(layer, Recurrent):
        if layer.reverse:
            raise _from_the_end("Recurrent(reverse=True)")
        return _as_one_cell(layer.cell)
    if isinstance(layer, RecurrentLayers):
        return _of_torch_form(layer)
    if isinstance(layer, Stack):
        return _stacked([_as_one_cell(each) for each in layer.layers])
    if isinstance(layer, Around) and isinstance(layer.join, Sum | Gates):
        inner = _as_one_cell(layer.layer)
        return inner._replace(cell=_Around(inner.cell, layer.join))
    if isinstance(layer, Device):
        return _as_one_cell(layer.layer)
    if isinstance(layer, Bidirectional):
        raise _from_the_end("Bidirectional")
    hint = "Layers are Recurrent, Stack, Around with a Sum or Gates, those of ostinato.nn, and cells."
    if isinstance(getattr(layer, "encoder", None), nn.Module):
        hint = f"Of a {type(layer).__name__}, give the recurrent part: Session(model.encoder)."
    elif isinstance(layer, nn.RNNBase):
        name = type(layer).__name__
        hint = f"ostinato.nn.{name} takes the same arguments and the same weights."
    raise OptionError(f"Session: expected a recurrent layer, got {type(layer).__name__}. {hint}")


def _of_torch_form(layer: RecurrentLayers) -> Steps:
    name = type(layer).__name__
    if layer.bidirectional:
        raise _from_the_end(f"{name}(bidirectional=True)")
    cells = [each.cell for each in layer.layers() if isinstance(each, Recurrent)]
    return _joined(
        cells,
        lambda states: stacked(states, alone=False),
        lambda state, rows: unstacked(name, state, cells, rows, alone=False),
    )


def _stacked(parts: Sequence[Steps]) -> Steps:
    def parted(state: Any, rows: int) -> Sequence[CellState]:
        if not isinstance(state, tuple | list) or len(state) != len(parts):
            got = len(state) if isinstance(state, tuple | list) else type(state).__name__
            raise StateError(f"Stack: expected one state a layer ({len(parts)}), got {got}.")
        return [part.parted(own, rows) for part, own in zip(parts, state, strict=True)]

    def joined(states: Sequence[CellState]) -> Any:
        return tuple(part.joined(own) for part, own in zip(parts, states, strict=True))

    return _joined([part.cell for part in parts], joined, parted)


def _joined(
    cells: Sequence[Cell],
    joined: Callable[[Sequence[CellState]], Any],
    parted: Callable[[Any, int], Sequence[CellState]],
) -> Steps:
    """Cells one upon another as one, whose state is that of each after another."""
    whole = CellStack(cells)

    def apart(state: CellState) -> Any:
        left = list(state)
        return joined([cell.State(*(left.pop(0) for _ in cell.State._fields)) for cell in cells])  # type: ignore[attr-defined]

    def together(state: Any, rows: int) -> CellState:
        own = map(_checked, cells, parted(state, rows), [rows] * len(cells))
        return whole.State(*(each for part in own for each in part))

    return Steps(whole, apart, together)


def _checked(cell: Cell, state: CellState, rows: int) -> CellState:
    check_state(cell, state, rows)
    return state


def _from_the_end(what: str) -> OptionError:
    return OptionError(
        f"Session: expected a layer that reads from the start, got {what}, which begins with the last "
        "step of a sequence. A stream has none: train a layer in one direction for it."
    )


def _check_calm(layer: nn.Module) -> None:
    for part in layer.modules():
        if part.training and _draws(part):
            raise OptionError(
                f"Session: expected a layer that draws nothing at random, got {type(part).__name__} in "
                "training. Call layer.eval() first."
            )


def _draws(part: nn.Module) -> bool:
    if isinstance(part, Stack | RecurrentLayers):
        return part.dropout > 0
    if isinstance(part, WeightDrop):
        return part.probability > 0
    if isinstance(part, nn.modules.dropout._DropoutNd):
        return part.p > 0
    return isinstance(part, Cell) and bool(part.counters)
