"""Two layers over the same sequence, one from each end."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells.cell import CellState
from ostinato.errors import OptionError, StateError
from ostinato.packed import step_by_step
from ostinato.wrappers.shortcut import check_layer


class BothStates(NamedTuple):
    """The state of each direction."""

    forward: CellState
    backward: CellState


def concatenate(forward: Tensor, backward: Tensor) -> Tensor:
    """Both directions side by side: `[B, T, 2H]`."""
    parts = forward, backward
    # As the walks made them, step by step, if they did: the next layer's then need no copy of them.
    if all(each.transpose(0, 1).is_contiguous() for each in parts):
        return torch.cat([each.transpose(0, 1) for each in parts], dim=-1).transpose(0, 1)
    return torch.cat(parts, dim=-1)


def _directions(layer: nn.Module) -> set[bool]:
    """Which ways a layer, or all that it is made of, reads."""
    found = (getattr(part, "reverse", None) for part in layer.modules())
    return {each for each in found if isinstance(each, bool)}


class Bidirectional(nn.Module):
    """Reads a sequence with one layer from the start and one from the end, and merges their outputs.

    `outputs[:, t]` holds what the first knows of steps 0…t and what the second knows of t…T−1. So
    `outputs[:, -1]` is *not* a summary of the sequence for the backward half: its summary is at t = 0,
    and in the returned state.

    A direction may be a whole stack: `Bidirectional(Stack(…), Stack(…))` runs all layers of each
    direction and merges at the end (TensorFlow's bidirectional_dynamic_rnn over MultiRNNCells);
    `Stack([Bidirectional(…), Bidirectional(…)])` merges after every layer, which the next one reads
    (its stack_bidirectional_dynamic_rnn, and torch.nn with `bidirectional=True`).

    `merge(forward, backward)` defaults to concatenation; pass any function of two `[B, T, H]`, with
    the width of its result as `output_size`. Of a PackedSequence it is given all rows' steps as one
    sequence `[1, N, H]`.

    Raises OptionError for what is no layer, one layer for both directions, a first one that does not
    run forwards, or a second one that does not run with `reverse=True`, all through.
    """

    def __init__(
        self,
        forward: nn.Module,
        backward: nn.Module,
        merge: Callable[[Tensor, Tensor], Tensor] = concatenate,
        output_size: int | None = None,
    ):
        super().__init__()
        check_layer(self, forward)
        check_layer(self, backward)
        if forward is backward:
            raise OptionError(
                "Bidirectional: expected two layers, got the same object twice, so both directions "
                "would share their weights. Make a second one."
            )
        if True in _directions(forward) or False in _directions(backward):
            raise OptionError(
                "Bidirectional: expected the first layer to run forwards and the second with "
                "reverse=True, and so every layer within them."
            )
        self.forward_layer = forward
        self.backward_layer = backward
        self.merge = merge
        self.output_size = output_size or forward.output_size + backward.output_size  # type: ignore[operator]

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: BothStates | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, BothStates]:
        if state is not None and not isinstance(state, BothStates):
            raise StateError(
                f"Bidirectional: expected a state of type BothStates(forward, backward), got "
                f"{type(state).__name__}. Hand on the state of an earlier call."
            )
        first, second = state or (None, None)
        ahead, first = self.forward_layer(x, first, lengths=lengths, resets=resets)
        behind, second = self.backward_layer(x, second, lengths=lengths, resets=resets)
        return step_by_step(self.merge, ahead, behind), BothStates(first, second)
