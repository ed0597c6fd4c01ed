"""A cell as a layer: its step, walked over whole sequences."""

from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.drivers import reference


class Recurrent(nn.Module):
    """Runs one cell over a sequence, forwards or (`reverse=True`) from each row's end.

    `layer(x [B, T, I], state=None, lengths=None, resets=None) → (outputs [B, T, H], state)`, as
    `drivers.reference.run` has them. A chunk continues where the last one ended if its state is
    handed on.
    """

    def __init__(self, cell: Cell, reverse: bool = False):
        super().__init__()
        self.cell = cell
        self.reverse = reverse

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    def forward(
        self,
        x: Tensor,
        state: CellState | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, CellState]:
        return reference.run(self.cell, x, state, lengths=lengths, resets=resets, reverse=self.reverse)

    def extra_repr(self) -> str:
        return "reverse=True" if self.reverse else ""
