"""A cell stepped by torch: what a session does where the core cannot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.kernels.stepper import Watched


class Loop:
    """Steps a cell for some streams without autograd; takes and returns what `Stepper` does."""

    def __init__(self, cell: Cell, streams: int):
        self.streams = streams
        # Copies, for a learned initial state is a weight.
        self.state = [each.clone() for each in cell.initial_state(streams)]

    def load(self, cell: Cell, watched: Sequence[Watched]) -> None:
        """Steps this cell from now on."""
        self.cell = cell
        self.watched = [(held, name, tensor, tensor._version) for held, name, tensor in watched]

    def stale(self) -> bool:
        """Whether a watched tensor is another one by now, or has changed."""
        return any(
            held.get(name) is not tensor or tensor._version != version
            for held, name, tensor, version in self.watched
        )

    def step(self, x: Any, out: Any) -> Any:
        return _given(self._stepped(torch.as_tensor(x)), x, out)

    def run(self, x: Any, out: Any) -> Any:
        steps = [self._stepped(each) for each in torch.as_tensor(x).unbind(1)]
        none = torch.empty(self.streams, 0, *self.cell.output_shape, dtype=torch.float32)
        return _given(torch.stack(steps, 1) if steps else none, x, out)

    def _stepped(self, x: Tensor) -> Tensor:
        # Not within inference mode, whose tensors nobody could write into afterwards.
        with torch.inference_mode(False), torch.no_grad():
            y, after = self.cell.step(x, self.cell.State(*self.state))
            self.state = [each.clone() for each in after]
        return y


def _given(y: Tensor, x: Any, out: Any) -> Any:
    """The output in `out`, or as an array of x's kind."""
    if out is None:
        return y.clone() if isinstance(x, Tensor) else y.numpy().copy()
    if isinstance(out, np.ndarray):
        out[...] = y.numpy()
    else:
        with torch.no_grad():
            out.copy_(y)
    return out
