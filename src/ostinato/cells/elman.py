"""Elman's simple recurrent network."""

from torch import Tensor, nn

from ostinato.cells.activations import Activation, activate, check_activation
from ostinato.cells.cell import Cell, HiddenState, glorot_, orthogonal_, weight


class Elman(Cell):
    """Elman's simple recurrent network: the state is the last output.

        h' = φ(x W_x + h W_h + b)          output = h'

    Source: J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990).
    Weights: `W_x [I, H]`, `W_h [H, H]`, `b [H]`. State: `h [B, H]`.
    Initialisation: W_x Glorot, W_h orthogonal, b zero.
    Activation φ: "tanh" (TensorFlow's BasicRNNCell), any name of `ACTIVATIONS`, or a function.
    Raises OptionError for an unknown activation, ShapeError for sizes below 1.

    Differs from torch in: any activation, where torch.nn.RNN has tanh and relu; one bias where it has
    two that are added; weights are stored `[in, out]`.
    """

    State = HiddenState

    def __init__(self, input_size: int, hidden_size: int, activation: Activation = "tanh"):
        super().__init__(input_size, hidden_size)
        self.activation = check_activation(self, activation)
        self.W_x = weight(input_size, hidden_size)
        self.W_h = weight(hidden_size, hidden_size)
        self.b = weight(hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_x)
        orthogonal_(self.W_h)
        nn.init.zeros_(self.b)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = activate(self.activation, x @ self.W_x + state.h @ self.W_h + self.b)
        return h, HiddenState(h)
