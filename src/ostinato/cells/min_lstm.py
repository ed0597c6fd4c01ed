"""The LSTM whose gates see the input alone."""

from torch import Tensor, nn, sigmoid

from ostinato.cells.cell import Cell, HiddenState, glorot_, weight


class MinLSTM(Cell):
    """Minimal long short-term memory: two gates that share out one whole, and one state.

        f, i, n = x W + b
        f, i = σ(f), σ(i)
        h' = f / (f + i) ∘ h + i / (f + i) ∘ n     output = h'

    Source: Feng et al., "Were RNNs all we needed?" (2024, arXiv:2410.01201), in its plain form: n is
    not squashed, and nothing is computed in logarithms.
    Weights: `W [I, 3H]`, `b [3H]`; order f, i, n. State: `h [B, H]`.
    Initialisation: W Glorot a block, b zero.
    Raises ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell; against torch's LSTM there is no output gate, no
    second state and no tanh.
    """

    State = HiddenState

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.W = weight(input_size, 3 * hidden_size)
        self.b = weight(3 * hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W, gates=3)
        nn.init.zeros_(self.b)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        f, i, n = (x @ self.W + self.b).chunk(3, -1)
        f, i = sigmoid(f), sigmoid(i)
        h = f / (f + i) * state.h + i / (f + i) * n
        return h, HiddenState(h)
