"""The GRU whose gate sees the input alone."""

from torch import Tensor, nn, sigmoid

from ostinato.cells.cell import Cell, HiddenState, glorot_, weight


class MinGRU(Cell):
    """Minimal gated recurrent unit: no product of the state, so the walk is a linear recurrence.

        z, n = x W + b
        h' = (1 − σ(z)) ∘ h + σ(z) ∘ n     output = h'

    Source: Feng et al., "Were RNNs all we needed?" (2024, arXiv:2410.01201), in its plain form: n is
    not squashed, and nothing is computed in logarithms.
    Weights: `W [I, 2H]`, `b [2H]`; order z, n. State: `h [B, H]`.
    Initialisation: W Glorot a block, b zero.
    Raises ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell. z lets the new in, where in torch's GRU, and in
    `cells.GRU`, it keeps the old.
    """

    State = HiddenState

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.W = weight(input_size, 2 * hidden_size)
        self.b = weight(2 * hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W, gates=2)
        nn.init.zeros_(self.b)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        z, n = (x @ self.W + self.b).chunk(2, -1)
        z = sigmoid(z)
        h = (1 - z) * state.h + z * n
        return h, HiddenState(h)
