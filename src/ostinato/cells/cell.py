"""What a cell is: weights, an initial state, and one step. No loop, direction, device or kernel."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from ostinato.cells.checks import check_input, check_size, check_state

CellState = Any
"""A named tuple of tensors `[B, …]`; each cell declares its own as `Cell.State`."""


class HiddenState(NamedTuple):
    """The state of a cell whose output is all it remembers: `h [B, H]`."""

    h: Tensor


class Cell(nn.Module):
    """Weights and one step of a recurrent network.

    A subclass sets `State`, makes its weights in `__init__`, fills them in `reset_parameters`, and
    writes `step` as its paper does. Drivers, wrappers and models need nothing else.

    Shapes: `x_t [B, I]`, `output_t [B, H]`, each tensor of the state `[B, H]`; a cell for which that
    is not so overrides `input_shape`, `output_shape` or `state_shapes`.
    """

    State: type
    """The named tuple of its state; a cell whose options decide which sets it on itself."""

    counters: tuple[str, ...] = ()
    """Fields of the state that hold one whole number a row, `[B]` int64: a step hands such a number on
    as it is or adds a constant to it, and draws `random_mask`s by it. It has no gradient."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            check_size(self, name, size)
        self.input_size = input_size
        self.hidden_size = hidden_size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one row of `x_t`, without the batch; `(I,)`."""
        return (self.input_size,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one row of `output_t`, without the batch; `(H,)`."""
        return (self.hidden_size,)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of one row of each field of the state, without the batch; `(H,)` each."""
        fields: tuple[str, ...] = self.State._fields  # type: ignore[attr-defined]
        return ((self.hidden_size,),) * len(fields)

    @property
    def output_size(self) -> int:
        """Width of what one step puts out: what a layer above reads as its I."""
        return self.output_shape[0]

    def reset_parameters(self) -> None:
        """Draws the weights anew from torch's generator."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> CellState:
        """The state before the first step: learned, or zeros, where and as the weights are.

        A cell without weights starts on the CPU in torch's default dtype.
        """
        weight = next(iter([*self.parameters(), torch.empty(0)]))
        state = []
        for field, shape in zip(self._fields, self.state_shapes, strict=True):
            start = self._parameters.get(f"{field}_0")
            kind = torch.long if field in self.counters else weight.dtype
            zeros = weight.new_zeros(batch, *shape, dtype=kind)
            state.append(zeros if start is None else start.expand(batch, *shape).contiguous())
        return self.State(*state)

    def learn_initial_state(self) -> Self:
        """Makes the initial state a weight: `h_0` for the field `h`, one row for all; zeros at first.

        Resets put a row back to it. Returns the cell.
        """
        weight = next(iter([*self.parameters(), torch.empty(0)]))
        for field, shape in zip(self._fields, self.state_shapes, strict=True):
            if field not in self.counters:
                self.register_parameter(f"{field}_0", nn.Parameter(weight.new_zeros(shape)))
        return self

    @property
    def _fields(self) -> tuple[str, ...]:
        return self.State._fields  # type: ignore[attr-defined,no-any-return]

    def begin(self) -> None:
        """Draws anew what holds for a whole batch, such as the mask of a `WeightDrop`.

        Drivers call it where a sequence begins: where they are given no state. So does whoever walks
        `step` by hand, beside `initial_state`.
        """
        for part in self.children():
            if isinstance(part, Cell):
                part.begin()

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """One time step: `(x_t [B, I], state) → (output_t [B, H], state)`."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """One checked step, from the initial state unless one is given."""
        check_input(self, x, "B")
        if state is None:
            self.begin()
            state = self.initial_state(x.shape[0])
        else:
            check_state(self, state, x.shape[0])
        return self.step(x, state)

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, hidden_size={self.hidden_size}"


def weight(*shape: int) -> nn.Parameter:
    """An unfilled parameter; `reset_parameters` fills it."""
    return nn.Parameter(torch.empty(*shape))


def glorot_(parameter: Tensor, gates: int = 1) -> None:
    """Fills `[I, gates·H]` block by block with Glorot's uniform draw (Glorot & Bengio 2010), so that
    a gate's scale does not depend on how many gates share the matrix."""
    for block in parameter.detach().chunk(gates, dim=1):
        nn.init.xavier_uniform_(block)


def orthogonal_(parameter: Tensor, gates: int = 1) -> None:
    """Fills `[H, gates·H]` with one orthogonal matrix a gate (Saxe et al. 2014): what is fed back
    keeps its length, whatever T is."""
    for block in parameter.detach().chunk(gates, dim=1):
        block.copy_(nn.init.orthogonal_(torch.empty(block.shape)))
