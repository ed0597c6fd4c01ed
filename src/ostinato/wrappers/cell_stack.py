"""Cells one upon another, within one step."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Self

from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.errors import OptionError, ShapeError
from ostinato.wrappers.wrapped import check_cell, fields_of, state_type, untaken


class CellStack(Cell):
    """Several cells as one: each reads, at every step, what the one below puts out.

        y_1, s_1' = cell_1(x, s_1),   y_2, s_2' = cell_2(y_1, s_2),   …   output = the last y

    For what has to go around all of them within a step, such as `Attention`; a `Stack` of layers gives
    the same numbers, and does more for all steps at once.

    Source: TensorFlow 1's MultiRNNCell. State: all fields of all cells, flat; names that come again
    get a number: `h`, `c`, `n2_h`, `n2_c`.
    Raises OptionError for no cells or what is none, ShapeError where one cell does not put out what the
    next one reads.
    """

    def __init__(self, cells: Sequence[Cell]):
        if not cells:
            raise OptionError("CellStack: expected at least one cell, got none.")
        for cell in cells:
            check_cell(type(self).__name__, cell)
        for below, above in pairwise(cells):
            if below.output_shape != above.input_shape:
                raise ShapeError(
                    f"CellStack: expected {type(above).__name__} to read what the "
                    f"{type(below).__name__} below it puts out, {list(below.output_shape)}; it reads "
                    f"{list(above.input_shape)}. Make its input_size the width below."
                )
        super().__init__(cells[0].input_size, cells[-1].hidden_size)
        self.cells: Sequence[Cell] = nn.ModuleList(cells)  # type: ignore[assignment]
        self.State = state_type(*(field for names in self._names for field in names))

    @property
    def _names(self) -> list[list[str]]:
        """Of each cell, its fields as the whole state has them."""
        taken: set[str] = set()
        return [[untaken(f, taken) for f in fields_of(cell)] for cell in self.cells]

    @property
    def counters(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(
            name
            for cell, names in zip(self.cells, self._names, strict=True)
            for name, field in zip(names, fields_of(cell), strict=True)
            if field in cell.counters
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.cells[0].input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.cells[-1].output_shape

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(shape for cell in self.cells for shape in cell.state_shapes)

    def reset_parameters(self) -> None:
        for cell in self.cells:
            cell.reset_parameters()

    def learn_initial_state(self) -> Self:
        """Makes the initial state of every cell a weight."""
        for cell in self.cells:
            cell.learn_initial_state()
        return self

    def begin(self) -> None:
        for cell in self.cells:
            cell.begin()

    def initial_state(self, batch: int) -> CellState:
        return self.State(*(each for cell in self.cells for each in cell.initial_state(batch)))

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        after: list[Tensor] = []
        for cell in self.cells:
            kind, start = cell.State, len(after)
            own = kind(*state[start : start + len(fields_of(cell))])
            x, own = cell.step(x, own)
            after += own
        return x, self.State(*after)

    def extra_repr(self) -> str:
        return ""
