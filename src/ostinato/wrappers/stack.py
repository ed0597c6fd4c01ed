"""Layers one upon another."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells.cell import CellState
from ostinato.cells.masks import fresh_draws
from ostinato.errors import OptionError, StateError
from ostinato.packed import packed_like, with_data
from ostinato.wrappers.dropout import dropped
from ostinato.wrappers.shortcut import check_layer
from ostinato.wrappers.wrapped import check_probability


class Stack(nn.Module):
    """Feeds each layer's outputs to the next, with dropout between; any mix of cells and widths.

    `dropout` is the probability to drop, applied in training to the outputs of every layer but the
    last, a new mask each step (as torch.nn.LSTM has it). Masks are a function of one number a row,
    from torch's generator at each call: the same seed gives the same on every row and device.
    Returns the last layer's outputs and one state a layer.
    """

    def __init__(self, layers: Sequence[nn.Module], dropout: float = 0.0):
        super().__init__()
        if not layers:
            raise OptionError("Stack: expected at least one layer, got none.")
        for layer in layers:
            check_layer(self, layer)
        self.dropout = check_probability(self, "dropout", dropout)
        self.layers = nn.ModuleList(layers)

    @property
    def output_size(self) -> int:
        return self.layers[-1].output_size  # type: ignore[return-value]

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Sequence[CellState] | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, tuple[CellState, ...]]:
        states = [None] * len(self.layers) if state is None else list(state)
        if len(states) != len(self.layers):
            raise StateError(
                f"Stack: expected one state a layer ({len(self.layers)}), got {len(states)}."
            )
        for index, layer in enumerate(self.layers):
            if index:
                x = self.thinned(x, self.draws(x))
            x, states[index] = layer(x, states[index], lengths=lengths, resets=resets)
        return x, tuple(states)

    def draws(self, x: Tensor | PackedSequence) -> Tensor | None:
        """New numbers `[B, T]` to draw one mask between two layers by; None where there is none."""
        if not self.training or not self.dropout:
            return None
        if isinstance(x, PackedSequence):
            batch, time, device = int(x.batch_sizes[0]), len(x.batch_sizes), x.data.device
        else:
            (batch, time), device = x.shape[:2], x.device
        return fresh_draws(batch, device)[:, None] + torch.arange(time, device=device)

    def thinned(self, x: Any, draws: Tensor | None) -> Any:
        """What goes from one layer to the next."""
        if draws is None:
            return x
        if isinstance(x, PackedSequence):
            return with_data(x, dropped(x.data, packed_like(x, draws).data, self.dropout, 0))
        return dropped(x, draws, self.dropout, 0)

    def extra_repr(self) -> str:
        return f"dropout={self.dropout}" if self.dropout else ""
