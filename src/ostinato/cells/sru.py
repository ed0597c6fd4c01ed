"""The simple recurrent unit, as the TensorFlow tutorial on it writes it."""

from typing import NamedTuple

from torch import Tensor, nn, sigmoid, tanh

from ostinato.cells.cell import Cell, glorot_, weight


class SRUState(NamedTuple):
    """What an SRU remembers: `c [B, H]`. The output is fed back nowhere."""

    c: Tensor


class SRU(Cell):
    """Simple recurrent unit: every product is of the input, so the walk is element-wise.

        z, f, r = x W                              z, f, r, p = x W   with the highway
        f = σ(f + b_f),  r = σ(r + b_r)
        c' = f ∘ c + (1 − f) ∘ z
        output = r ∘ tanh(c')                      + (1 − r) ∘ p      with the highway

    Source: Lei & Zhang, "Training RNNs as fast as CNNs" (2017, arXiv:1709.02755 v1), in the form of
    the TensorFlow 1 tutorial "SRU against LSTM". The highway carries the input past the cell; here
    it is learned (p), since widths differ.
    Weights: `W [I, 3H]` in order z, f, r, or `[I, 4H]` in order z, f, r, p; `b_f [H]`, `b_r [H]`.
    State: `c [B, H]`. Initialisation: W Glorot a block, b_f one (it remembers at first), b_r zero.
    Raises ShapeError for sizes below 1.

    Differs from torch in: torch has no SRU. Differs from the paper's second version, `cells.SRU2`, in:
    the gates do not see c, and the highway is projected rather than the scaled input itself.
    """

    State = SRUState

    def __init__(self, input_size: int, hidden_size: int, highway: bool = False):
        super().__init__(input_size, hidden_size)
        self.highway = highway
        self.W = weight(input_size, (4 if highway else 3) * hidden_size)
        self.b_f = weight(hidden_size)
        self.b_r = weight(hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W, gates=4 if self.highway else 3)
        nn.init.ones_(self.b_f)
        nn.init.zeros_(self.b_r)

    def step(self, x: Tensor, state: SRUState) -> tuple[Tensor, SRUState]:
        z, f, r, *p = (x @ self.W).chunk(4 if self.highway else 3, -1)
        f, r = sigmoid(f + self.b_f), sigmoid(r + self.b_r)
        c = f * state.c + (1 - f) * z
        output = r * tanh(c)
        if self.highway:
            output = output + (1 - r) * p[0]
        return output, SRUState(c)
