"""Dropout around a cell: on what it reads, what it puts out, and what it hands on."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.cells.masks import random_mask
from ostinato.errors import OptionError
from ostinato.wrappers.wrapped import Drawing, by_field, check_probability, fields_of


class Dropout(Drawing):
    """Sets numbers to zero at random, in training, and scales those that stay by 1/(1 − p).

        y, s' = cell(x ∘ m_x, s)
        output = y ∘ m_y
        state  = s' ∘ m_s          each m is 1/(1 − p) with probability 1 − p, else 0

    `input`, `output`, `state`: the probability to drop. `state` is one for every field but `c`, a
    memory that nothing should be lost of (and but counters), or one each by name:
    `state={"h": 0.2, "c": 0.1}`.
    `variational`: the masks of a row's first step are kept for all its steps (Gal & Ghahramani 2016);
    else each step has new ones. `per="batch"`: all rows have the masks of one.

    Source: TensorFlow 1's DropoutWrapper; Zaremba, Sutskever & Vinyals (2014) for inputs and outputs.
    State: the inner one's, and `draw [B]`, which masks are drawn by; see `Drawing`.
    Raises OptionError for what is no cell, no probability below 1, no field of the state, or a `state`
    of which only `c` is left.

    Differs from TensorFlow 1 in: probabilities are those to drop, not those to keep; with `variational`
    each row has masks of its own unless `per="batch"`; a reset begins new masks. From Keras' LSTM: its
    `dropout` is `input`, variational; its `recurrent_dropout` drops h as the products read it, which
    here is `state={"h": …}`, dropped for all that the next step does with it. Torch has no such thing.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        input: float = 0.0,  # noqa: A002
        output: float = 0.0,
        state: float | Mapping[str, float] = 0.0,
        variational: bool = False,
        per: Literal["row", "batch"] = "row",
    ):
        super().__init__(cell)
        if per not in ("row", "batch"):
            raise OptionError(f'Dropout: per is "row" or "batch"; got {per!r}.')
        kept = [field for field in fields_of(cell) if field not in ("c", *cell.counters)]
        if not kept and not isinstance(state, Mapping) and state:
            raise OptionError(
                f"Dropout: the state of {type(cell).__name__} is all memory, of which nothing is "
                f'dropped unless it is named: state={{"c": {state}}}.'
            )
        self.input = check_probability(self, "input", input)
        self.output = check_probability(self, "output", output)
        self.state = by_field(self, cell, "state", state, kept)
        self.variational = variational
        self.per = per

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        draw, inner = state[-1], self.inner(state)
        if not self.training:
            y, inner = self.cell.step(x, inner)
            return y, self.joined(inner, draw)
        y, inner = self.cell.step(dropped(x, draw, self.input, 0), inner)
        thinned = {
            field: dropped(getattr(inner, field), draw, p, 2 + inner._fields.index(field))
            for field, p in self.state.items()
        }
        y = dropped(y, draw, self.output, 1)
        return y, self.joined(inner._replace(**thinned), draw if self.variational else draw + 1)

    def extra_repr(self) -> str:
        said = [f"{name}={p}" for name in ("input", "output", "state") if (p := getattr(self, name))]
        said += ["variational=True"] if self.variational else []
        return ", ".join([*said, *(['per="batch"'] if self.per == "batch" else [])])


def dropped(a: Tensor, draw: Tensor, p: float, stream: int) -> Tensor:
    """Some of `a` set to zero, by the mask that the numbers `draw` of its leading axes stand for."""
    if not p:
        return a
    return a * random_mask(draw, a.shape[draw.dim() :], p, 1 / (1 - p), stream, a.dtype)
