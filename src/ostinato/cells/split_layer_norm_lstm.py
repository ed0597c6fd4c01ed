"""LSTM with layer normalisation, as the paper on layer normalisation has it."""

from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import layer_norm

from ostinato.cells.cell import Cell, glorot_, weight
from ostinato.cells.lstm import LSTMState


class SplitLayerNormLSTM(Cell):
    """LSTM that normalises what comes from the input and what comes from the state, each by itself.

        i, f, g, o = LN(x W_x; γ_x) + LN(h W_h; γ_h) + b
        c' = σ(f + forget_bias) ∘ c + σ(i) ∘ tanh(g)
        h' = σ(o) ∘ tanh(LN(c'; γ_c) + β_c)        output = h'
        LN(a; γ) = γ ∘ (a − mean a) / √(var a + ε), over all 4H of a product, and over the H of c'

    Source: Ba, Kiros & Hinton, "Layer normalization" (2016), equations 20 to 22.
    Weights: `W_x [I, 4H]`, `W_h [H, 4H]`, `gamma_x`, `gamma_h`, `b` `[4H]`, gate order i, f, g, o;
    `gamma_c`, `beta_c` `[H]`. State: `h [B, H]`, `c [B, H]`; the carried c is not normalised.
    Initialisation: W_x and W_h Glorot a gate, the gammas one, b and beta_c zero.
    Raises ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell. Differs from the paper in: one b stands for its b and
    the two shifts that are added to it, and there may be a forget bias. `LayerNormLSTM` is the other
    form: it normalises the sum, gate by gate, and carries the normalised c.
    """

    State = LSTMState

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float = 1.0, epsilon: float = 1e-5
    ):
        super().__init__(input_size, hidden_size)
        self.forget_bias = forget_bias
        self.epsilon = epsilon
        width = 4 * hidden_size
        self.W_x, self.gamma_x = weight(input_size, width), weight(width)
        self.W_h, self.gamma_h = weight(hidden_size, width), weight(width)
        self.b = weight(width)
        self.gamma_c, self.beta_c = weight(hidden_size), weight(hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_x, gates=4)
        glorot_(self.W_h, gates=4)
        for gain in (self.gamma_x, self.gamma_h, self.gamma_c):
            nn.init.ones_(gain)
        for shift in (self.b, self.beta_c):
            nn.init.zeros_(shift)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        read = layer_norm(x @ self.W_x, self.b.shape, self.gamma_x, None, self.epsilon)
        fed_back = layer_norm(state.h @ self.W_h, self.b.shape, self.gamma_h, None, self.epsilon)
        i, f, g, o = (read + fed_back + self.b).chunk(4, -1)
        c = sigmoid(f + self.forget_bias) * state.c + sigmoid(i) * tanh(g)
        seen = layer_norm(c, (self.hidden_size,), self.gamma_c, self.beta_c, self.epsilon)
        h = sigmoid(o) * tanh(seen)
        return h, LSTMState(h, c)
