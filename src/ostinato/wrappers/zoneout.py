"""Zoneout around a cell: some of its state stays as it was."""

from collections.abc import Mapping

from torch import Tensor

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.cells.masks import random_mask
from ostinato.wrappers.wrapped import Drawing, by_field, fields_of


class Zoneout(Drawing):
    """Keeps numbers of the state from the step before at random; in evaluation, by expectation.

        y, s' = cell(x, s)
        state = d ∘ s + (1 − d) ∘ s'       d is 1 with probability z, else 0; z itself in evaluation
        output = y, or the field of this state that y is

    `probability`: z, one for every field but counters, or one each by name: `{"h": 0.05, "c": 0.5}`.

    Source: Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations"
    (2017), where an LSTM has a z for h and one for c, and puts out the h that is handed on.
    State: the inner one's, and `draw [B]`, which masks are drawn by; see `Drawing`.
    Raises OptionError for what is no cell, no probability below 1, or no field of the state.

    Differs from TensorFlow and torch in: neither has it. A cell that puts out something else than a
    field of its state, such as SRU, puts out what it would without.
    """

    def __init__(self, cell: Cell, probability: float | Mapping[str, float]):
        super().__init__(cell)
        every = [field for field in fields_of(cell) if field not in cell.counters]
        self.probability = by_field(self, cell, "probability", probability, every)

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        draw, before = state[-1], self.inner(state)
        y, after = self.cell.step(x, before)
        output, kept = y, {}
        for stream, field in enumerate(after._fields):
            new = getattr(after, field)
            z = self.probability.get(field)
            if z is not None:
                d: float | Tensor = z
                if self.training:
                    d = random_mask(draw, new.shape[1:], 1 - z, 1.0, stream, new.dtype)
                kept[field] = d * getattr(before, field) + (1 - d) * new
                output = kept[field] if new is y else output
        return output, self.joined(after._replace(**kept), draw + 1 if self.training else draw)

    def extra_repr(self) -> str:
        return str(self.probability)
