"""Dropout on a cell's weights, one mask for all steps."""

from collections.abc import Sequence

from torch import Tensor
from torch.func import functional_call

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.cells.masks import fresh_draws
from ostinato.errors import OptionError, nearest
from ostinato.wrappers.dropout import dropped
from ostinato.wrappers.wrapped import Wrapped, check_probability


class WeightDrop(Wrapped):
    """Sets connections to zero at random, in training, the same ones at all steps of all rows.

        y, s' = cell(x, s) with W ∘ m for each named W
        m is 1/(1 − p) with probability 1 − p, else 0

    `weights`: names as `cell.named_parameters()` has them, such as `["W_h"]` of an LSTM; inside
    another wrapper `["cell.W_h"]`.
    The mask is drawn anew by `begin`, which drivers call when they are given no state: a chunk that is
    handed a state goes on with the same mask. Whoever calls `step` by hand calls `begin` too.

    Source: Wan et al., "Regularization of neural networks using DropConnect" (2013); on recurrent
    weights: Merity, Keskar & Socher, "Regularizing and optimizing LSTM language models" (2018).
    State: the inner cell's. The number that the mask is drawn by is the buffer `draw`, which is not
    saved: masks belong to the weights of a call, not to its rows.
    Raises OptionError for what is no cell, no probability below 1, or no weight.

    Differs from the authors' code in: the weights keep their names, and gradients are those of the
    weights themselves. Torch and TensorFlow have no such thing.
    """

    draw: Tensor

    def __init__(self, cell: Cell, probability: float, weights: Sequence[str]):
        super().__init__(cell)
        self.probability = check_probability(self, "probability", probability)
        known = dict(cell.named_parameters())
        if isinstance(weights, str) or not weights:
            raise OptionError(
                f"WeightDrop: expected a list of names of weights, got {weights!r}; "
                f"{nearest(str(weights), known)}"
            )
        for name in weights:
            if name not in known:
                raise OptionError(
                    f"WeightDrop: {type(cell).__name__} has no weight {name!r}; {nearest(name, known)}"
                )
        self.weights = list(weights)
        device = known[weights[0]].device
        self.register_buffer("draw", fresh_draws(1, device)[0], persistent=False)

    def begin(self) -> None:
        super().begin()
        if self.training:
            # A new tensor, for a backward pass may still want the old one.
            self.draw = fresh_draws(1, self.draw.device)[0]

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        if not self.training or not self.probability:
            return self.cell.step(x, state)
        known = dict(self.cell.named_parameters())
        masked = {
            name: dropped(known[name], self.draw, self.probability, stream)
            for stream, name in enumerate(self.weights)
        }
        output, state = functional_call(self.cell, masked, (x, state))
        return output, state

    def extra_repr(self) -> str:
        return f"{self.probability}, {self.weights}"
