"""Elman's simple recurrent network."""

from torch import Tensor, nn, relu, tanh

from ostinato.cells.cell import Cell, HiddenState, glorot_, orthogonal_, weight
from ostinato.errors import OstinatoError, nearest

ACTIVATIONS = {"tanh": tanh, "relu": relu}


class Elman(Cell):
    """Elman's simple recurrent network: the state is the last output.

        h' = φ(x W_x + h W_h + b)          output = h'

    Source: J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990).
    Weights: `W_x [I, H]`, `W_h [H, H]`, `b [H]`. State: `h [B, H]`.
    Initialisation: W_x Glorot, W_h orthogonal, b zero.
    Activation φ: "tanh" (TensorFlow's BasicRNNCell) or "relu".
    Raises OstinatoError for an unknown activation, ShapeError for sizes below 1.

    Differs from torch in: one bias where torch.nn.RNN has two that are added; weights are stored
    `[in, out]`.
    """

    State = HiddenState

    def __init__(self, input_size: int, hidden_size: int, activation: str = "tanh"):
        super().__init__(input_size, hidden_size)
        if activation not in ACTIVATIONS:
            raise OstinatoError(
                f'Elman: unknown activation "{activation}"; {nearest(activation, ACTIVATIONS)}'
            )
        self.activation = activation
        self.W_x = weight(input_size, hidden_size)
        self.W_h = weight(hidden_size, hidden_size)
        self.b = weight(hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_x)
        orthogonal_(self.W_h)
        nn.init.zeros_(self.b)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = ACTIVATIONS[self.activation](x @ self.W_x + state.h @ self.W_h + self.b)
        return h, HiddenState(h)
