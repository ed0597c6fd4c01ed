"""The independently recurrent network."""

from torch import Tensor, nn

from ostinato.cells.activations import Activation, activate, check_activation
from ostinato.cells.cell import Cell, HiddenState, glorot_, weight


class IndRNN(Cell):
    """Independently recurrent network: each unit is fed back to itself alone.

        h' = φ(x W + u ∘ h + b)            output = h'

    Source: Li et al., "Independently recurrent neural network (IndRNN): building a longer and deeper
    RNN", CVPR (2018).
    Weights: `W [I, H]`, `u [H]`, `b [H]`. State: `h [B, H]`.
    Activation φ: "relu" as in the paper, any name of `ACTIVATIONS`, or a function.
    Initialisation: W Glorot, u uniform in 0…1 (with relu, nothing then grows by being fed back), b
    zero. The paper keeps |u| below a bound while it trains; that is the training's business.
    Raises OptionError for an unknown activation, ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell; its RNN has a full matrix where u stands here.
    """

    State = HiddenState

    def __init__(self, input_size: int, hidden_size: int, activation: Activation = "relu"):
        super().__init__(input_size, hidden_size)
        self.activation = check_activation(self, activation)
        self.W = weight(input_size, hidden_size)
        self.u = weight(hidden_size)
        self.b = weight(hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W)
        nn.init.uniform_(self.u, 0, 1)
        nn.init.zeros_(self.b)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = activate(self.activation, x @ self.W + self.u * state.h + self.b)
        return h, HiddenState(h)
