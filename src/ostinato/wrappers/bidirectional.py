"""Two layers over the same sequence, one from each end."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ostinato.cells.cell import CellState
from ostinato.errors import OptionError, StateError


class BothStates(NamedTuple):
    """The state of each direction."""

    forward: CellState
    backward: CellState


def concatenate(forward: Tensor, backward: Tensor) -> Tensor:
    """Both directions side by side: `[B, T, 2H]`."""
    return torch.cat([forward, backward], dim=-1)


class Bidirectional(nn.Module):
    """Reads a sequence with one layer from the start and one from the end, and merges their outputs.

    `outputs[:, t]` holds what the first knows of steps 0…t and what the second knows of t…T−1. So
    `outputs[:, -1]` is *not* a summary of the sequence for the backward half: its summary is at t = 0,
    and in the returned state.

    `merge(forward, backward)` defaults to concatenation; pass any function of two `[B, T, H]`, with
    the width of its result as `output_size`.
    """

    def __init__(
        self,
        forward: nn.Module,
        backward: nn.Module,
        merge: Callable[[Tensor, Tensor], Tensor] = concatenate,
        output_size: int | None = None,
    ):
        super().__init__()
        if forward is backward:
            raise OptionError(
                "Bidirectional: expected two layers, got the same object twice, so both directions "
                "would share their weights. Make a second one."
            )
        if getattr(forward, "reverse", False) or not getattr(backward, "reverse", True):
            raise OptionError(
                "Bidirectional: expected the first layer to run forwards and the second with "
                "reverse=True."
            )
        self.forward_layer = forward
        self.backward_layer = backward
        self.merge = merge
        self.output_size = output_size or forward.output_size + backward.output_size  # type: ignore[operator]

    def forward(
        self,
        x: Tensor,
        state: BothStates | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, BothStates]:
        if state is not None and not isinstance(state, BothStates):
            raise StateError(
                f"Bidirectional: expected a state of type BothStates(forward, backward), got "
                f"{type(state).__name__}. Hand on the state of an earlier call."
            )
        first, second = state or (None, None)
        ahead, first = self.forward_layer(x, first, lengths=lengths, resets=resets)
        behind, second = self.backward_layer(x, second, lengths=lengths, resets=resets)
        return self.merge(ahead, behind), BothStates(first, second)
