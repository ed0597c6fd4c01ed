"""The gated recurrent unit, in both of its forms."""

import torch
from torch import Tensor, nn

from ostinato.cells.activations import Activation, activate, check_activation
from ostinato.cells.cell import Cell, HiddenState, glorot_, orthogonal_, weight


class GRU(Cell):
    """Gated recurrent unit; the reset gate acts before the recurrent product, or after it.

        r, z, n = x W_x + b
        r = σ(r + h W_h[:, :H]),  z = σ(z + h W_h[:, H:])
        n = tanh(n + (r ∘ h) W_n)                  reset before the product (the paper; TensorFlow 1)
        n = tanh(n + r ∘ (h W_n + b_n))            reset after it (`reset_after=True`; torch, cuDNN)
        h' = (1 − z) ∘ n + z ∘ h                   output = h'

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014), v3 for the
    form before and v1 for the form after.
    Weights: `W_x [I, 3H]` and `b [3H]` in gate order r, z, n; `W_h [H, 2H]` in order r, z;
    `W_n [H, H]`; `b_n [H]` with `reset_after` only. State: `h [B, H]`.
    `gate_activation` takes the place of σ, `activation` that of tanh: a name of `ACTIVATIONS` or a
    function.
    Initialisation: W_x Glorot a gate, W_h and W_n orthogonal a gate, biases zero.
    Raises OptionError for an unknown activation, ShapeError for sizes below 1.

    Differs from torch in: torch has the second form only, with recurrent biases for r and z that are
    added to b; weights are `[in, out]`, the candidate's recurrent weights apart from the gates'.
    """

    State = HiddenState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset_after: bool = False,
        *,
        activation: Activation = "tanh",
        gate_activation: Activation = "sigmoid",
    ):
        super().__init__(input_size, hidden_size)
        self.reset_after = reset_after
        self.activation = check_activation(self, activation)
        self.gate_activation = check_activation(self, gate_activation, "gate_activation")
        self.W_x = weight(input_size, 3 * hidden_size)
        self.W_h = weight(hidden_size, 2 * hidden_size)
        self.W_n = weight(hidden_size, hidden_size)
        self.b = weight(3 * hidden_size)
        self.b_n = weight(hidden_size) if reset_after else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_x, gates=3)
        orthogonal_(self.W_h, gates=2)
        orthogonal_(self.W_n)
        for bias in (self.b, self.b_n):
            if bias is not None:
                nn.init.zeros_(bias)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h, H = state.h, self.hidden_size
        gates, n = torch.split(x @ self.W_x + self.b, [2 * H, H], -1)
        r, z = activate(self.gate_activation, gates + h @ self.W_h).chunk(2, -1)
        fed_back = (r * h) @ self.W_n if self.b_n is None else r * (h @ self.W_n + self.b_n)
        n = activate(self.activation, n + fed_back)
        h = (1 - z) * n + z * h
        return h, HiddenState(h)
