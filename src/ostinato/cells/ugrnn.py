"""The update-gate recurrent network."""

from torch import Tensor, nn, sigmoid

from ostinato.cells.activations import Activation, activate, check_activation
from ostinato.cells.cell import Cell, HiddenState, glorot_, orthogonal_, weight


class UGRNN(Cell):
    """Update-gate network: one gate weighs the old state against the new.

        g, n = x W_x + h W_h + b
        g = σ(g + forget_bias)
        h' = g ∘ h + (1 − g) ∘ φ(n)        output = h'

    Source: Collins, Sohl-Dickstein & Sussillo, "Capacity and trainability in recurrent neural
    networks", ICLR (2017), in the form of TensorFlow 1's UGRNNCell.
    Weights: `W_x [I, 2H]`, `W_h [H, 2H]`, `b [2H]`; order g, n. State: `h [B, H]`.
    Activation φ: "tanh", any name of `ACTIVATIONS`, or a function.
    Initialisation: W_x Glorot a block, W_h orthogonal a block, b zero; `forget_bias` is added at run
    time.
    Raises OptionError for an unknown activation, ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell; it is torch's GRU without the reset gate, and with a
    forget bias.
    """

    State = HiddenState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 1.0,
        *,
        activation: Activation = "tanh",
    ):
        super().__init__(input_size, hidden_size)
        self.forget_bias = forget_bias
        self.activation = check_activation(self, activation)
        self.W_x = weight(input_size, 2 * hidden_size)
        self.W_h = weight(hidden_size, 2 * hidden_size)
        self.b = weight(2 * hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_x, gates=2)
        orthogonal_(self.W_h, gates=2)
        nn.init.zeros_(self.b)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        g, n = (x @ self.W_x + state.h @ self.W_h + self.b).chunk(2, -1)
        g = sigmoid(g + self.forget_bias)
        h = g * state.h + (1 - g) * activate(self.activation, n)
        return h, HiddenState(h)
