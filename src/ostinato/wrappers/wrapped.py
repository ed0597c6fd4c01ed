"""A cell around a cell: what all such wrappers share."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.cells.masks import fresh_draws
from ostinato.errors import OptionError, nearest


class Wrapped(Cell):
    """A cell that holds a cell, `cell`, and adds to its step.

    Its state is the inner one's with fields of its own behind it; a wrapper without such fields has
    the inner cell's kind of state. Whatever takes a cell takes it: another wrapper, Recurrent,
    `ostinato.explain`.
    """

    def __init__(self, cell: Cell, own: Mapping[str, tuple[int, ...]] | None = None):
        check_cell(type(self).__name__, cell)
        super().__init__(cell.input_size, cell.hidden_size)
        self.cell = cell
        taken = set(fields_of(cell))
        self.own = {untaken(field, taken): shape for field, shape in (own or {}).items()}
        self.State = state_type(*fields_of(cell), *self.own) if self.own else cell.State

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.cell.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.cell.output_shape

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return (*self.cell.state_shapes, *self.own.values())

    @property
    def counters(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.cell.counters

    def reset_parameters(self) -> None:
        self.cell.reset_parameters()

    def learn_initial_state(self) -> Self:
        """Makes the inner cell's initial state a weight; the wrapper's own fields start as before."""
        self.cell.learn_initial_state()
        return self

    def initial_state(self, batch: int) -> CellState:
        return self.joined(self.cell.initial_state(batch), *self.own_start(batch))

    def own_start(self, batch: int) -> Sequence[Tensor]:
        """Its own fields before the first step: zeros."""
        weight = next(iter([*self.parameters(), torch.empty(0)]))
        return [weight.new_zeros(batch, *shape) for shape in self.own.values()]

    def inner(self, state: CellState) -> CellState:
        """The part of a state that is the inner cell's."""
        return self.cell.State(*state[: len(state) - len(self.own)])

    def joined(self, inner: CellState, *own: Tensor) -> CellState:
        """The inner cell's state with the wrapper's own fields."""
        return self.State(*inner, *own)

    def extra_repr(self) -> str:
        return ""


class Drawing(Wrapped):
    """A wrapper with random masks, which keeps a number a row to draw them by.

    The field `draw [B]`, int64, is where the row stands in a sequence of masks: the same number, the
    same masks, on every row that runs the cell, alone or in a batch, in one piece or in chunks. In
    training `initial_state` begins at numbers from torch's generator; in evaluation nothing is drawn.
    """

    per: str = "row"

    def __init__(self, cell: Cell):
        super().__init__(cell, {"draw": ()})

    @property
    def counters(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self.cell.counters, *self.own)

    def own_start(self, batch: int) -> Sequence[Tensor]:
        device = next(iter([*self.parameters(), torch.empty(0)])).device
        if not self.training:
            return [torch.zeros(batch, dtype=torch.long, device=device)]
        if self.per == "row":
            return [fresh_draws(batch, device)]
        return [fresh_draws(1, device).expand(batch).clone()]


@cache
def state_type(*fields: str) -> type:
    """The named tuple of these fields: one class each, so that states compare."""
    # Its name is all that `__getattr__` has to make it of.
    kind = NamedTuple("__".join(["State", *fields]), [(field, Tensor) for field in fields])  # type: ignore[misc]
    kind.__module__ = __name__
    return kind


def __getattr__(name: str) -> type:
    """Where pickle, copies and saved states look for a state's class."""
    first, *fields = name.split("__")
    if first == "State" and fields and all(field.isidentifier() for field in fields):
        return state_type(*fields)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def fields_of(cell: Cell) -> tuple[str, ...]:
    """The names of its state's fields."""
    return cell.State._fields  # type: ignore[attr-defined,no-any-return]


def check_cell(wrapper: str, cell: object) -> None:
    """Raises OptionError for what is no cell."""
    if isinstance(cell, Cell):
        return
    hint = "Make a cell of it: Adapted(module)."
    if isinstance(getattr(cell, "cell", None), Cell):
        hint = f"Wrap what it runs: Recurrent({wrapper}(cell, …))."
    elif hasattr(cell, "output_size"):
        hint = "Wrap the cells within its layers."
    raise OptionError(f"{wrapper}: expected a cell, got {type(cell).__name__}. {hint}")


def check_probability(wrapper: nn.Module, name: str, value: Any) -> float:
    """Raises OptionError unless it is a probability to drop: at least 0 and below 1."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise OptionError(
            f"{type(wrapper).__name__}: {name} is a probability, at least 0 and below 1; got {value!r}."
        )
    return float(value)


def by_field(
    wrapper: nn.Module, cell: Cell, name: str, value: Any, default: Sequence[str]
) -> dict[str, float]:
    """A probability for each field of a state: one for the fields of `default`, or one each by name.

    Raises OptionError for a field that is not there, or counts, or for what is no probability.
    """
    if not isinstance(value, Mapping):
        value = dict.fromkeys(default, value) if value != 0 else {}
    fields = [field for field in fields_of(cell) if field not in cell.counters]
    for field in value:
        if field not in fields:
            raise OptionError(
                f"{type(wrapper).__name__}: {name}={{{field!r}: …}} names no field of the state of "
                f"{type(cell).__name__}; {nearest(str(field), fields)}"
            )
    checked = {field: check_probability(wrapper, f"{name}[{field!r}]", p) for field, p in value.items()}
    return {field: p for field, p in checked.items() if p}


def untaken(field: str, taken: set[str]) -> str:
    """The name, with a number in front if there is one like it.

    Not behind: torch.export takes a name for another that begins with it.
    """
    numbered, count = field, 1
    while numbered in taken:
        count += 1
        numbered = f"n{count}_{field}"
    taken.add(numbered)
    return numbered
