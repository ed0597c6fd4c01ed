"""LSTM with layer normalisation of each gate and of the memory."""

from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import layer_norm

from ostinato.cells.cell import Cell, glorot_, weight
from ostinato.cells.lstm import LSTMState


class LayerNormLSTM(Cell):
    """LSTM whose gates and memory are normalised over H before their non-linearity.

        i, f, g, o = LN(each quarter of x W_x + h W_h)
        c' = LN(σ(f + forget_bias) ∘ c + σ(i) ∘ tanh(g))
        h' = σ(o) ∘ tanh(c')                       output = h'
        LN(a) = γ ∘ (a − mean a) / √(var a + ε) + β, each LN with its own γ and β

    Source: Ba, Kiros & Hinton, "Layer normalization" (2016), in the form of TensorFlow 1's
    LayerNormBasicLSTMCell: the carried c is the normalised one, and there is no bias beside β.
    Weights: `W_x [I, 4H]`, `W_h [H, 4H]`; `gamma`, `beta` `[5, H]`; order i, f, g, o, c.
    State: `h [B, H]`, `c [B, H]`.
    Initialisation: W_x and W_h Glorot a gate, gamma one, beta zero.
    Raises ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell. ε is 1e-12 by default as in TensorFlow 1, where
    torch's LayerNorm has 1e-5.
    """

    State = LSTMState

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float = 1.0, epsilon: float = 1e-12
    ):
        super().__init__(input_size, hidden_size)
        self.forget_bias = forget_bias
        self.epsilon = epsilon
        self.W_x = weight(input_size, 4 * hidden_size)
        self.W_h = weight(hidden_size, 4 * hidden_size)
        self.gamma = weight(5, hidden_size)
        self.beta = weight(5, hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_x, gates=4)
        glorot_(self.W_h, gates=4)
        nn.init.ones_(self.gamma)
        nn.init.zeros_(self.beta)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        quarters = (x @ self.W_x + state.h @ self.W_h).chunk(4, -1)
        i, f, g, o = (self._normalise(a, index) for index, a in enumerate(quarters))
        c = sigmoid(f + self.forget_bias) * state.c + sigmoid(i) * tanh(g)
        c = self._normalise(c, 4)
        h = sigmoid(o) * tanh(c)
        return h, LSTMState(h, c)

    def _normalise(self, a: Tensor, index: int) -> Tensor:
        return layer_norm(a, (self.hidden_size,), self.gamma[index], self.beta[index], self.epsilon)
