"""Attention of a cell over its own last outputs."""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn, softmax, tanh

from ostinato.cells import Cell
from ostinato.cells.cell import CellState, glorot_, weight
from ostinato.cells.checks import check_size
from ostinato.errors import ShapeError
from ostinato.wrappers.wrapped import Wrapped, check_cell, fields_of

T = TypeVar("T")


class Attention(Wrapped):
    """Before each step a cell reads, beside x, a mean of its last k outputs, weighed by what it knows.

        y, s' = cell([x, a] W_i + b_i, s)
        score_j = v · tanh(m_j W_k + s' W_q + b_q)       for each m_j of the last k outputs
        a' = Σ_j softmax(score)_j m_j
        output = [y, a'] W_o + b_o                       joins the k, and the oldest leaves

    Source: TensorFlow 1's AttentionCellWrapper, after Cheng, Dong & Lapata, "Long short-term
    memory-networks for machine reading" (2016), with the scores of Bahdanau, Cho & Bengio (2015).
    `length` is k; `size` A, the width of outputs and of a (the cell's H by default); `vector_size` V,
    that of the scores (A by default); `input_size` I of x (the cell's own by default, J).
    Weights: `W_i [I+A, J]`, `b_i [J]`; `W_k [A, V]`, `W_q [S, V]`, `b_q [V]`, `v [V]`; `W_o [H+A, A]`,
    `b_o [A]`. S is the width of the inner state: its fields side by side, counters left out.
    State: the inner one's, and `attended [B, A]`, `memory [B, k, A]`, `keys [B, k, V]`. All start at
    zero, and zeros are attended to until k outputs are there, as in TensorFlow.
    Initialisation: W Glorot, v uniform in ±√(3/V), biases zero.
    Raises OptionError for what is no cell; ShapeError for sizes below 1, or a cell whose input, output
    or state has more than one axis.

    Differs from TensorFlow 1 in: `keys` are kept, so that each output meets W_k once and not k times;
    the state's fields stand in the order of the cell's state, h before c for an LSTM, where TensorFlow
    has c before h.
    """

    def __init__(
        self,
        cell: Cell,
        length: int,
        size: int | None = None,
        vector_size: int | None = None,
        input_size: int | None = None,
    ):
        check_cell("Attention", cell)
        A = cell.output_size if size is None else size
        V = A if vector_size is None else vector_size
        super().__init__(cell, {"attended": (A,), "memory": (length, A), "keys": (length, V)})
        for name, each in (("length", length), ("size", A), ("vector_size", V)):
            check_size(self, name, each)
        if input_size is not None:
            check_size(self, "input_size", input_size)
            self.input_size = input_size
        shapes = [cell.input_shape, cell.output_shape, *self._attending(cell.state_shapes)]
        if any(len(shape) != 1 for shape in shapes):
            raise ShapeError(
                f"Attention: expected a cell that reads, keeps and puts out vectors, got "
                f"{type(cell).__name__} with rows of shape {', '.join(str(list(s)) for s in shapes)}."
            )
        self.length, self.size = length, A
        width = sum(size for (size,) in shapes[2:])
        self.W_i, self.b_i = weight(self.input_size + A, cell.input_size), weight(cell.input_size)
        self.W_k, self.W_q, self.b_q, self.v = weight(A, V), weight(width, V), weight(V), weight(V)
        self.W_o, self.b_o = weight(cell.output_size + A, A), weight(A)
        self._fill()

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.input_size,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.size,)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self._fill()

    def _fill(self) -> None:
        for matrix in (self.W_i, self.W_k, self.W_q, self.W_o):
            glorot_(matrix)
        for bias in (self.b_i, self.b_q, self.b_o):
            nn.init.zeros_(bias)
        bound = (3 / self.v.shape[0]) ** 0.5
        nn.init.uniform_(self.v, -bound, bound)

    def _attending(self, parts: Iterable[T]) -> list[T]:
        """Of what there is for each field of the inner state, that of fields that are no counters."""
        pairs = zip(fields_of(self.cell), parts, strict=True)
        return [each for field, each in pairs if field not in self.cell.counters]

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        attended, memory, keys = state[-3:]
        read = torch.cat([x, attended], -1) @ self.W_i + self.b_i
        y, inner = self.cell.step(read, self.inner(state))
        query = torch.cat(self._attending(inner), -1) @ self.W_q + self.b_q
        score = (tanh(keys + query.unsqueeze(1)) * self.v).sum(-1)
        attended = (softmax(score, -1).unsqueeze(-1) * memory).sum(1)
        output = torch.cat([y, attended], -1) @ self.W_o + self.b_o
        memory = torch.cat([memory[:, 1:], output.unsqueeze(1)], 1)
        keys = torch.cat([keys[:, 1:], (output @ self.W_k).unsqueeze(1)], 1)
        return output, self.joined(inner, attended, memory, keys)

    def extra_repr(self) -> str:
        return f"length={self.length}"
