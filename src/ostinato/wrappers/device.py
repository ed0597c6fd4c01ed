"""A layer on a device of its own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ostinato import states
from ostinato.wrappers.shortcut import check_layer


class Device(nn.Module):
    """Moves a layer to a device, and there what it is given.

        Stack([Device(Recurrent(LSTM(28, 512)), "cuda:0"), Device(Recurrent(LSTM(512, 512)), "cuda:1")])

    Outputs and state stay on that device; lengths and resets are moved by the layer itself. Gradients
    go back the way they came.

    Source: TensorFlow 1's DeviceWrapper, which wraps a cell; here a whole layer goes, since what is
    done for all steps at once should be done where the weights are.
    Raises OptionError for what is no layer, and what torch and the layer raise.
    """

    def __init__(self, layer: nn.Module, device: torch.device | str):
        super().__init__()
        check_layer(self, layer)
        self.device = torch.device(device)
        self.layer = layer.to(self.device)

    @property
    def output_size(self) -> int:
        return self.layer.output_size  # type: ignore[return-value]

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Any = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, Any]:
        state = None if state is None else states.to(state, self.device)
        x = x.to(self.device)  # type: ignore[arg-type]  # what torch says of PackedSequence is wrong
        outputs, state = self.layer(x, state, lengths=lengths, resets=resets)
        return outputs, state

    def extra_repr(self) -> str:
        return f"device={str(self.device)!r}"
