"""The linear recurrent unit: a diagonal of complex numbers, kept in real ones."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, cos, exp, nn, sin

from ostinato.cells.cell import Cell, glorot_, weight
from ostinato.cells.checks import check_size
from ostinato.errors import OptionError


class LRUState(NamedTuple):
    """What an LRU remembers: N complex numbers, `re [B, N]` and `im [B, N]`."""

    re: Tensor
    im: Tensor


class LRU(Cell):
    """Linear recurrent unit: each complex state turns and shrinks at its own rate.

        λ = exp(−exp(ν) + i exp(θ))
        s' = λ ∘ s + exp(γ) ∘ (x B)        s, λ and B complex
        output = Re(s' C) + x D            C complex, D real

    Source: Orvieto et al., "Resurrecting recurrent neural networks for long sequences", ICML (2023).
    Weights: `nu`, `theta`, `gamma` `[N]`; `B_re`, `B_im` `[I, N]`; `C_re`, `C_im` `[N, H]`;
    `D [I, H]`. State: `re [B, N]`, `im [B, N]`; no complex dtype anywhere. N is `state_size`, H
    unless given.
    Initialisation: λ uniform on the ring r_min ≤ |λ| ≤ r_max with its angle in 0…max_phase;
    exp(γ) = √(1 − |λ|²), learned from there on; B normal with variance 1/2I a part, C with 1/N a part,
    D Glorot.
    Raises OptionError unless 0 ≤ r_min < r_max ≤ 1 and 0 < max_phase ≤ 2π; ShapeError for sizes
    below 1.

    Differs from torch in: torch has no such cell. Differs from the paper in: D is a matrix, since I
    and H may differ, where the paper's is a diagonal.
    """

    State = LRUState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        state_size: int | None = None,
        *,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
    ):
        super().__init__(input_size, hidden_size)
        self.state_size = hidden_size if state_size is None else state_size
        check_size(self, "state_size", self.state_size)
        if not 0 <= r_min < r_max <= 1:
            raise OptionError(f"LRU: expected 0 ≤ r_min < r_max ≤ 1, got r_min={r_min}, r_max={r_max}.")
        if not 0 < max_phase <= 2 * math.pi:
            raise OptionError(f"LRU: max_phase is an angle above 0 and at most 2π; got {max_phase}.")
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase
        N = self.state_size
        self.nu, self.theta, self.gamma = weight(N), weight(N), weight(N)
        self.B_re, self.B_im = weight(input_size, N), weight(input_size, N)
        self.C_re, self.C_im = weight(N, hidden_size), weight(N, hidden_size)
        self.D = weight(input_size, hidden_size)
        self.reset_parameters()

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.state_size,), (self.state_size,))

    def reset_parameters(self) -> None:
        square = torch.empty_like(self.nu).uniform_(self.r_min**2, self.r_max**2)
        square = square.clamp(1e-6, 1 - 1e-6)  # ν and γ are logarithms of what is 0 at the two ends
        angle = torch.empty_like(self.theta).uniform_(0, self.max_phase).clamp(min=1e-6)
        with torch.no_grad():
            self.nu.copy_(torch.log(-torch.log(square) / 2))
            self.theta.copy_(torch.log(angle))
            self.gamma.copy_(torch.log(1 - square) / 2)
        for part in (self.B_re, self.B_im):
            nn.init.normal_(part, std=(2 * self.input_size) ** -0.5)
        for part in (self.C_re, self.C_im):
            nn.init.normal_(part, std=self.state_size**-0.5)
        glorot_(self.D)

    def step(self, x: Tensor, state: LRUState) -> tuple[Tensor, LRUState]:
        size, angle, scale = exp(-exp(self.nu)), exp(self.theta), exp(self.gamma)
        a, b = size * cos(angle), size * sin(angle)
        re = a * state.re - b * state.im + scale * (x @ self.B_re)
        im = a * state.im + b * state.re + scale * (x @ self.B_im)
        output = re @ self.C_re - im @ self.C_im + x @ self.D
        return output, LRUState(re, im)
