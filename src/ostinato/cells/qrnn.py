"""The quasi-recurrent network: convolutions over time, then a pooling that remembers."""

from typing import Literal, NamedTuple

from torch import Tensor, nn, sigmoid, tanh

from ostinato.cells.cell import Cell, CellState, glorot_, weight
from ostinato.errors import OptionError, nearest

Pooling = Literal["f", "fo", "ifo"]


class QRNNState(NamedTuple):
    """What a QRNN of window 1 remembers: `c [B, H]`."""

    c: Tensor


class QRNNWindowState(NamedTuple):
    """What a QRNN of window 2 remembers: `c [B, H]`, and the last input `x_prev [B, I]`."""

    c: Tensor
    x_prev: Tensor


class QRNN(Cell):
    """Quasi-recurrent network: gates from a window of inputs, and an element-wise walk.

        z, f, o, i = x W + b                       + x_prev W_prev   with window 2
        z = tanh(z),  f, o, i = σ(f), σ(o), σ(i)
        c' = f ∘ c + (1 − f) ∘ z,  output = c'               pooling "f"
        c' = f ∘ c + (1 − f) ∘ z,  output = o ∘ c'           pooling "fo"
        c' = f ∘ c + i ∘ z,        output = o ∘ c'           pooling "ifo"

    Source: Bradbury et al., "Quasi-recurrent neural networks", ICLR (2017, arXiv:1611.01576).
    Weights: `W [I, nH]`, `b [nH]`, and `W_prev [I, nH]` with window 2; order z, f, o, i, of which "f"
    has the first two and "fo" the first three. State: `c [B, H]`; with window 2 `x_prev [B, I]` too,
    zero before the first step.
    Initialisation: W and W_prev Glorot a block, b zero.
    Raises OptionError for another pooling or window, ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell. Differs from the paper in: there is a bias, and a
    window is at most two inputs wide.
    """

    def __init__(self, input_size: int, hidden_size: int, pooling: Pooling = "fo", window: int = 1):
        super().__init__(input_size, hidden_size)
        if pooling not in (known := ("f", "fo", "ifo")):
            raise OptionError(f'QRNN: unknown pooling "{pooling}"; {nearest(str(pooling), known)}')
        if window not in (1, 2) or isinstance(window, bool):
            raise OptionError(f"QRNN: a window is 1 or 2 inputs wide; got {window!r}.")
        self.pooling, self.window = pooling, window
        self.State = QRNNState if window == 1 else QRNNWindowState
        self.gates = 1 + len(pooling)
        self.W = weight(input_size, self.gates * hidden_size)
        self.W_prev = weight(input_size, self.gates * hidden_size) if window == 2 else None
        self.b = weight(self.gates * hidden_size)
        self.reset_parameters()

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.hidden_size,), (self.input_size,))[: self.window]

    def reset_parameters(self) -> None:
        for matrix in (self.W, self.W_prev):
            if matrix is not None:
                glorot_(matrix, self.gates)
        nn.init.zeros_(self.b)

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        a = x @ self.W + self.b
        if self.W_prev is not None:
            a = a + state.x_prev @ self.W_prev
        z, f, *others = a.chunk(self.gates, -1)
        z, f = tanh(z), sigmoid(f)
        i = sigmoid(others[1]) if self.pooling == "ifo" else 1 - f
        c = f * state.c + i * z
        output = c if self.pooling == "f" else sigmoid(others[0]) * c
        return output, QRNNState(c) if self.window == 1 else QRNNWindowState(c, x)
