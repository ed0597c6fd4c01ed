"""The simple recurrent unit, as its paper has it in its second version."""

import math

from torch import Tensor, nn, sigmoid

from ostinato.cells.cell import Cell, glorot_, weight
from ostinato.cells.sru import SRUState


class SRU2(Cell):
    """Simple recurrent unit whose gates see the memory, through a weight a unit.

        z, f, r = x W                              z, f, r, p = x W    when I and H differ
        f = σ(f + v_f ∘ c + b_f),  r = σ(r + v_r ∘ c + b_r)
        c' = f ∘ c + (1 − f) ∘ z
        output = r ∘ c' + (1 − r) ∘ α x            + (1 − r) ∘ p       when I and H differ
        α = √(1 + 2 exp(highway_bias)), or 1 without `rescale`

    Source: Lei et al., "Simple recurrent units for highly parallelizable recurrence", EMNLP (2018,
    arXiv:1709.02755 v5); the numbers are those of its authors' package `sru` 2.6.
    Weights: `W [I, 3H]` in order z, f, r, or `[I, 4H]` in order z, f, r, p; `v_f`, `v_r`, `b_f`, `b_r`
    `[H]`. State: `c [B, H]`.
    Initialisation: W Glorot a block, with p's block times α; v_f and v_r uniform with variance 1/2;
    b_f zero, b_r `highway_bias`. α keeps the variance of the highway's output that of x at first; it
    is a constant, whatever b_r becomes.
    Raises ShapeError for sizes below 1.

    Differs from torch in: torch has no SRU. Differs from `cells.SRU` (the first version) in: the gates
    see c, there is no tanh, and x itself is carried past the cell where the widths allow it.
    """

    State = SRUState

    def __init__(
        self, input_size: int, hidden_size: int, highway_bias: float = 0.0, rescale: bool = True
    ):
        super().__init__(input_size, hidden_size)
        self.highway_bias, self.rescale = highway_bias, rescale
        self.alpha = math.sqrt(1 + 2 * math.exp(highway_bias)) if rescale else 1.0
        self.blocks = 3 if input_size == hidden_size else 4
        self.W = weight(input_size, self.blocks * hidden_size)
        self.v_f, self.v_r = weight(hidden_size), weight(hidden_size)
        self.b_f, self.b_r = weight(hidden_size), weight(hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W, self.blocks)
        if self.blocks == 4:
            self.W.detach()[:, 3 * self.hidden_size :].mul_(self.alpha)
        for vector in (self.v_f, self.v_r):
            nn.init.uniform_(vector, -math.sqrt(1.5), math.sqrt(1.5))
        nn.init.zeros_(self.b_f)
        nn.init.constant_(self.b_r, self.highway_bias)

    def step(self, x: Tensor, state: SRUState) -> tuple[Tensor, SRUState]:
        z, f, r, *p = (x @ self.W).chunk(self.blocks, -1)
        f = sigmoid(f + self.v_f * state.c + self.b_f)
        r = sigmoid(r + self.v_r * state.c + self.b_r)
        c = f * state.c + (1 - f) * z
        output = r * c + (1 - r) * (p[0] if p else self.alpha * x)
        return output, SRUState(c)
