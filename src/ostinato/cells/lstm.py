"""The long short-term memory cell, with a forget bias."""

from typing import NamedTuple

from torch import Tensor, nn, sigmoid, tanh

from ostinato.cells.cell import Cell, glorot_, weight


class LSTMState(NamedTuple):
    """What an LSTM remembers: output `h [B, H]` and memory `c [B, H]`."""

    h: Tensor
    c: Tensor


class LSTM(Cell):
    """Long short-term memory with forget gate.

        i, f, g, o = x W_x + h W_h + b
        c' = σ(f + forget_bias) ∘ c + σ(i) ∘ tanh(g)
        h' = σ(o) ∘ tanh(c')               output = h'

    Source: Hochreiter & Schmidhuber (1997); forget gate of Gers, Schmidhuber & Cummins (2000);
    forget bias of Jozefowicz, Zaremba & Sutskever (2015).
    Weights: `W_x [I, 4H]`, `W_h [H, 4H]`, `b [4H]`; gate order i, f, g, o (torch's).
    State: `h [B, H]`, `c [B, H]`.
    Initialisation: W_x and W_h Glorot a gate, b zero.
    Raises ShapeError for sizes below 1.

    Differs from torch in: `forget_bias` is added at run time (1 by default, as in TensorFlow 1's
    LSTMCell; 0 is torch); one bias where torch has two that are added; weights are `[in, out]`.
    """

    State = LSTMState

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0):
        super().__init__(input_size, hidden_size)
        self.forget_bias = forget_bias
        self.W_x = weight(input_size, 4 * hidden_size)
        self.W_h = weight(hidden_size, 4 * hidden_size)
        self.b = weight(4 * hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_x, gates=4)
        glorot_(self.W_h, gates=4)
        nn.init.zeros_(self.b)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        i, f, g, o = (x @ self.W_x + state.h @ self.W_h + self.b).chunk(4, -1)
        c = sigmoid(f + self.forget_bias) * state.c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h, LSTMState(h, c)
