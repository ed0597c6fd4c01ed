"""Ways around a cell or a layer: what it reads reaches what it puts out directly too."""

from typing import Any

import torch
from torch import Tensor, nn, sigmoid
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import Cell
from ostinato.cells.cell import CellState, glorot_, weight
from ostinato.errors import OptionError, ShapeError
from ostinato.packed import step_by_step
from ostinato.wrappers.wrapped import Wrapped


class Sum(nn.Module):
    """`y + x`; or `y + x W_p`, from I to H, where widths are given.

    Source: He et al., "Deep residual learning" (2016). Initialisation: W_p Glorot.
    """

    def __init__(self, input_size: int | None = None, output_size: int | None = None):
        super().__init__()
        project = input_size is not None and output_size is not None
        self.W_p = weight(input_size, output_size) if project else None  # type: ignore[arg-type]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.W_p is not None:
            glorot_(self.W_p)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return y + (x if self.W_p is None else x @ self.W_p)


class Gates(nn.Module):
    """Chooses between x and y number by number.

        carry = σ(x W_c + b_c)
        transform = 1 − carry              σ(x W_t + b_t) with `coupled=False`
        result = carry ∘ x + transform ∘ y

    Source: Srivastava, Greff & Schmidhuber, "Highway networks" (2015).
    Weights: `W_c`, `W_t` `[I, I]`, `b_c`, `b_t` `[I]`. Initialisation: W Glorot, b_c is `carry_bias`,
    b_t its negative.
    """

    def __init__(self, width: int, coupled: bool = True, carry_bias: float = 1.0):
        super().__init__()
        self.carry_bias = carry_bias
        self.W_c, self.b_c = weight(width, width), weight(width)
        self.W_t = None if coupled else weight(width, width)
        self.b_t = None if coupled else weight(width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot_(self.W_c)
        nn.init.constant_(self.b_c, self.carry_bias)
        if self.W_t is not None and self.b_t is not None:
            glorot_(self.W_t)
            nn.init.constant_(self.b_t, -self.carry_bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        carry = sigmoid(x @ self.W_c + self.b_c)
        transform = 1 - carry
        if self.W_t is not None and self.b_t is not None:
            transform = sigmoid(x @ self.W_t + self.b_t)
        return carry * x + transform * y


class _Joined(Wrapped):
    """A cell whose output is joined with what it reads."""

    join: Sum | Gates

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.join.reset_parameters()

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        y, state = self.cell.step(x, state)
        return self.join(x, y), state

    def _check_same(self, remedy: str) -> None:
        if self.input_shape != self.output_shape:
            raise ShapeError(
                f"{type(self).__name__}: expected a cell that puts out as much as it reads, got "
                f"{type(self.cell).__name__} from {_words(self.input_shape)} to "
                f"{_words(self.output_shape)}. {remedy}"
            )


class Residual(_Joined):
    """Adds what a cell reads to what it puts out: `output = y + x`, see `Sum`.

    With `project=True` x goes through a weight first, `join.W_p [I, H]`.

    Source: TensorFlow 1's ResidualWrapper. State: the inner cell's.
    Raises OptionError for what is no cell, ShapeError where x and y differ in width and nothing
    projects.

    Differs from TensorFlow 1 in: widths that differ are told when it is made, and can be projected; a
    residual function of one's own is a cell of one's own.
    """

    def __init__(self, cell: Cell, project: bool = False):
        super().__init__(cell)
        if not project:
            self._check_same("Make them equal, or project x: Residual(cell, project=True).")
        self.join = Sum(cell.input_size, cell.output_size) if project else Sum()


class Highway(_Joined):
    """Gates choose between what a cell reads and what it puts out, see `Gates`.

    Source: TensorFlow 1's HighwayWrapper. Weights: `join.W_c`, … State: the inner cell's.
    Raises OptionError for what is no cell, ShapeError where x and y differ in width.

    Differs from TensorFlow 1 in: `coupled` is its couple_carry_transform_gates, `carry_bias` its
    carry_bias_init.
    """

    def __init__(self, cell: Cell, coupled: bool = True, carry_bias: float = 1.0):
        super().__init__(cell)
        self._check_same("Make hidden_size what input_size is; gates choose number by number.")
        self.join = Gates(cell.input_shape[-1], coupled, carry_bias)


class Around(nn.Module):
    """A layer of any kind whose outputs are joined with what it reads, such as a Bidirectional.

    `join` is `Sum()`, `Gates(width)`, or any module of `(x [B, T, I], y [B, T, H])`; give `output_size`
    if what it makes is not as wide as y. Takes and returns what the layer does; in the padding x is
    zero, whatever stood there. Of a PackedSequence `join` is given all rows' steps as one sequence.

    Raises OptionError for what is no layer, ShapeError where a sum meets different widths, and what the
    layer raises.
    """

    def __init__(self, layer: nn.Module, join: nn.Module, output_size: int | None = None):
        super().__init__()
        check_layer(self, layer)
        self.layer = layer
        self.join = join
        self.output_size: int = output_size or layer.output_size  # type: ignore[assignment]

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Any = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, Any]:
        y, state = self.layer(x, state, lengths=lengths, resets=resets)
        reads, puts_out = x.data.shape[-1], y.data.shape[-1]
        if reads != puts_out and isinstance(self.join, Sum) and self.join.W_p is None:
            raise ShapeError(
                f"Around: expected a layer that puts out as much as it reads, got {reads} and "
                f"{puts_out}. Project x: Sum({reads}, {puts_out})."
            )
        if lengths is not None and isinstance(x, Tensor):
            valid = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
            x = torch.where(valid[..., None], x, 0)
        return step_by_step(self.join, x, y), state


def check_layer(wrapper: nn.Module, layer: object) -> None:
    """Raises OptionError for what is no layer."""
    name = type(wrapper).__name__
    if isinstance(layer, Cell):
        raise OptionError(
            f"{name}: expected a layer, got the cell {type(layer).__name__}. Make it one by "
            "Recurrent(cell)."
        )
    if not isinstance(layer, nn.Module) or not hasattr(layer, "output_size"):
        raise OptionError(
            f"{name}: expected a layer, (x, state, lengths=, resets=) → (outputs, state), with "
            f"output_size; got {type(layer).__name__}. Layers are Recurrent, Stack, Bidirectional and "
            "what wraps them."
        )


def _words(shape: tuple[int, ...]) -> str:
    return str(shape[0]) if len(shape) == 1 else str(list(shape))
