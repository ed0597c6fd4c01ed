"""The long short-term memory cell, with what has been added to it since."""

from typing import NamedTuple

from torch import Tensor, nn

from ostinato.cells.activations import Activation, activate, check_activation
from ostinato.cells.cell import Cell, glorot_, weight
from ostinato.cells.checks import check_size
from ostinato.errors import OptionError


class LSTMState(NamedTuple):
    """What an LSTM remembers: output `h [B, H]` (`[B, P]` if projected) and memory `c [B, H]`."""

    h: Tensor
    c: Tensor


class LSTM(Cell):
    """Long short-term memory with forget gate; every option goes with every other.

        i, f, g, o = x W_x + h W_h + b
        f = σ(f + forget_bias)             σ(f + forget_bias + p_f ∘ c)    with peepholes
        i = σ(i)                           σ(i + p_i ∘ c)                  with peepholes
                                           1 − f                           coupled
        c' = f ∘ c + i ∘ tanh(g)           held to ±cell_clip
        o = σ(o)                           σ(o + p_o ∘ c')                 with peepholes
        h' = o ∘ tanh(c')                  (o ∘ tanh(c')) W_p, held to ±projection_clip
        output = h'

    Source: Hochreiter & Schmidhuber (1997); forget gate: Gers, Schmidhuber & Cummins (2000); forget
    bias: Jozefowicz, Zaremba & Sutskever (2015); peepholes: Gers & Schmidhuber (2000); coupled gates:
    Greff et al. (2017); projection to P: Sak, Senior & Beaufays (2014); clips: TensorFlow's LSTMCell.
    Weights: `W_x [I, 4H]`, `W_h [P, 4H]`, `b [4H]`; gate order i, f, g, o (torch's), or f, g, o of
    width 3H when coupled; `p_i`, `p_f`, `p_o` `[H]`; `W_p [H, P]`. P is H without a projection.
    State: `h [B, P]`, `c [B, H]`.
    `gate_activation` takes the place of σ, `activation` of tanh(g), `output_activation` of tanh(c').
    Initialisation: W_x, W_h, W_p Glorot a gate, b and peepholes zero. With `forget_bias_stored`, b
    starts with forget_bias at f, and nothing is added at run time.
    Raises OptionError for an unknown activation, a clip that is not above 0, or a projection_clip
    without a projection; ShapeError for sizes below 1.

    Differs from torch in: `forget_bias` is added at run time (1 by default, as in TensorFlow 1's
    LSTMCell; 0 is torch); torch has the projection alone of these options; one bias where torch has
    two that are added; weights are `[in, out]`.
    """

    State = LSTMState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 1.0,
        *,
        forget_bias_stored: bool = False,
        peepholes: bool = False,
        coupled: bool = False,
        cell_clip: float | None = None,
        projection: int | None = None,
        projection_clip: float | None = None,
        activation: Activation = "tanh",
        gate_activation: Activation = "sigmoid",
        output_activation: Activation = "tanh",
    ):
        super().__init__(input_size, hidden_size)
        if projection is not None:
            check_size(self, "projection", projection)
        elif projection_clip is not None:
            raise OptionError(
                f"LSTM: projection_clip={projection_clip} holds what a projection puts out, and there "
                "is none; give projection too, or cell_clip to hold c."
            )
        for name, clip in (("cell_clip", cell_clip), ("projection_clip", projection_clip)):
            if clip is not None and not clip > 0:
                raise OptionError(f"LSTM: {name} must be above 0, or None for no clip; got {clip}.")
        self.forget_bias, self.forget_bias_stored = forget_bias, forget_bias_stored
        self.coupled, self.projection = coupled, projection
        self.cell_clip, self.projection_clip = cell_clip, projection_clip
        self.activation = check_activation(self, activation)
        self.gate_activation = check_activation(self, gate_activation, "gate_activation")
        self.output_activation = check_activation(self, output_activation, "output_activation")

        H, P, gates = hidden_size, projection or hidden_size, 3 if coupled else 4
        self.W_x = weight(input_size, gates * H)
        self.W_h = weight(P, gates * H)
        self.b = weight(gates * H)
        self.p_i = weight(H) if peepholes and not coupled else None
        self.p_f = weight(H) if peepholes else None
        self.p_o = weight(H) if peepholes else None
        self.W_p = weight(H, P) if projection else None
        self.reset_parameters()

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.projection or self.hidden_size,)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.output_shape, (self.hidden_size,))

    def reset_parameters(self) -> None:
        gates = 3 if self.coupled else 4
        glorot_(self.W_x, gates)
        glorot_(self.W_h, gates)
        for zeroed in (self.b, self.p_i, self.p_f, self.p_o):
            if zeroed is not None:
                nn.init.zeros_(zeroed)
        if self.forget_bias_stored:
            nn.init.constant_(self.b.detach().chunk(gates)[0 if self.coupled else 1], self.forget_bias)
        if self.W_p is not None:
            glorot_(self.W_p)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        gates = (x @ self.W_x + state.h @ self.W_h + self.b).chunk(3 if self.coupled else 4, -1)
        f, g, o = gates[-3:]
        f = self._gate(f if self.forget_bias_stored else f + self.forget_bias, self.p_f, state.c)
        i = 1 - f if self.coupled else self._gate(gates[0], self.p_i, state.c)
        c = held(f * state.c + i * activate(self.activation, g), self.cell_clip)
        h = self._gate(o, self.p_o, c) * activate(self.output_activation, c)
        if self.W_p is not None:
            h = held(h @ self.W_p, self.projection_clip)
        return h, LSTMState(h, c)

    def _gate(self, a: Tensor, peephole: Tensor | None, c: Tensor) -> Tensor:
        return activate(self.gate_activation, a if peephole is None else a + peephole * c)


def held(a: Tensor, clip: float | None) -> Tensor:
    """Within ±clip."""
    return a if clip is None else a.clamp(-clip, clip)
