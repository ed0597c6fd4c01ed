"""GRU with layer normalisation of each product."""

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import layer_norm

from ostinato.cells.cell import Cell, HiddenState, glorot_, orthogonal_, weight


class LayerNormGRU(Cell):
    """GRU whose products of the input and of the state are normalised, each by itself.

        r, z = σ(LN(x W_x[:, :2H]; γ_x) + LN(h W_h; γ_h) + b[:2H])
        n = tanh(LN(x W_x[:, 2H:]; γ_xn) + b[2H:] + r ∘ (LN(h W_n; γ_n) + b_n))
        h' = (1 − z) ∘ n + z ∘ h                   output = h'
        LN(a; γ) = γ ∘ (a − mean a) / √(var a + ε), over the 2H of the gates, and over the H of n

    Source: Ba, Kiros & Hinton, "Layer normalization" (2016), the GRU of its supplement: the form whose
    reset gate acts after the recurrent product.
    Weights: `W_x [I, 3H]`, `b [3H]` in gate order r, z, n; `W_h [H, 2H]`, `gamma_x`, `gamma_h` `[2H]`
    in order r, z; `W_n [H, H]`, `gamma_xn`, `gamma_n`, `b_n` `[H]`. State: `h [B, H]`.
    Initialisation: W_x Glorot a gate, W_h and W_n orthogonal a gate, the gammas one, biases zero.
    Raises ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell; without LN it is `GRU(reset_after=True)`, which is
    torch's. Differs from the paper in: z keeps the old state, as everywhere here, where the paper's
    lets the new one in; and one bias stands for shifts that are only added.
    """

    State = HiddenState

    def __init__(self, input_size: int, hidden_size: int, epsilon: float = 1e-5):
        super().__init__(input_size, hidden_size)
        self.epsilon = epsilon
        H = hidden_size
        self.W_x, self.b = weight(input_size, 3 * H), weight(3 * H)
        self.W_h, self.W_n, self.b_n = weight(H, 2 * H), weight(H, H), weight(H)
        self.gamma_x, self.gamma_h = weight(2 * H), weight(2 * H)
        self.gamma_xn, self.gamma_n = weight(H), weight(H)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_x, gates=3)
        orthogonal_(self.W_h, gates=2)
        orthogonal_(self.W_n)
        for gain in (self.gamma_x, self.gamma_h, self.gamma_xn, self.gamma_n):
            nn.init.ones_(gain)
        for bias in (self.b, self.b_n):
            nn.init.zeros_(bias)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h, widths = state.h, [2 * self.hidden_size, self.hidden_size]
        gates, n = torch.split(x @ self.W_x, widths, -1)
        b_gates, b = torch.split(self.b, widths, -1)
        gates = self._normalise(gates, self.gamma_x) + self._normalise(h @ self.W_h, self.gamma_h)
        r, z = sigmoid(gates + b_gates).chunk(2, -1)
        fed_back = self._normalise(h @ self.W_n, self.gamma_n) + self.b_n
        n = tanh(self._normalise(n, self.gamma_xn) + b + r * fed_back)
        h = (1 - z) * n + z * h
        return h, HiddenState(h)

    def _normalise(self, a: Tensor, gain: Tensor) -> Tensor:
        return layer_norm(a, gain.shape, gain, None, self.epsilon)
