"""Layers one upon another."""

from collections.abc import Sequence

from torch import Tensor, nn

from ostinato.cells.cell import CellState
from ostinato.errors import OptionError, StateError


class Stack(nn.Module):
    """Feeds each layer's outputs to the next, with dropout between; any mix of cells and widths.

    `dropout` is the probability to drop, applied to the outputs of every layer but the last, a new
    mask each step (as torch.nn.LSTM has it). Returns the last layer's outputs and one state a layer.
    """

    def __init__(self, layers: Sequence[nn.Module], dropout: float = 0.0):
        super().__init__()
        if not layers:
            raise OptionError("Stack: expected at least one layer, got none.")
        if not 0 <= dropout < 1:
            raise OptionError(
                f"Stack: dropout is the probability to drop, at least 0 and below 1; got {dropout}."
            )
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)

    @property
    def output_size(self) -> int:
        return self.layers[-1].output_size  # type: ignore[return-value]

    def forward(
        self,
        x: Tensor,
        state: Sequence[CellState] | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, tuple[CellState, ...]]:
        states = [None] * len(self.layers) if state is None else list(state)
        if len(states) != len(self.layers):
            raise StateError(
                f"Stack: expected one state a layer ({len(self.layers)}), got {len(states)}."
            )
        for index, layer in enumerate(self.layers):
            x, states[index] = layer(
                x if index == 0 else self.dropout(x), states[index], lengths=lengths, resets=resets
            )
        return x, tuple(states)
