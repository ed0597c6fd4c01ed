"""Makes operations: shapes inferred, equal ones shared, trivial ones left out."""

import math
from collections.abc import Sequence
from typing import Any

from ostinato.programs.naming import Namer
from ostinato.programs.program import Input, Op, Value

VIEWS = frozenset({"slice", "cat", "reshape", "permute", "expand", "full"})
"""They move numbers and compute none."""

WALKABLE_SUMS = frozenset({"outer", "sum_rows", "conv_outer"})
"""They sum over the rows of all steps: what they make is no longer of one step."""


class Builder:
    """A list of operations under construction."""

    def __init__(self, namer: Namer | None = None) -> None:
        self.ops: list[Op] = []
        self.made_by: dict[Value, Op] = {}
        self.name = namer or Namer()
        self.line = ""
        self._shared: dict[Any, tuple[Value, ...]] = {}

    def emit(
        self, kind: str, *inputs: Input, shape: Sequence[int], rows: bool = True, **options: Any
    ) -> Value:
        """One operation with one output; the earlier one if it is there already."""
        return self.emit_all(kind, inputs, [tuple(shape)], rows, **options)[0]

    def emit_all(
        self, kind: str, inputs: Sequence[Input], shapes: Sequence[tuple[int, ...]], rows: bool = True,
        **options: Any,
    ) -> tuple[Value, ...]:  # fmt: skip
        """One operation with one output or more."""
        same = (kind, tuple(inputs), tuple(sorted(options.items())))
        if same not in self._shared:
            outputs = tuple(Value(self.name(), shape, rows) for shape in shapes)
            op = Op(kind, tuple(inputs), outputs, options, self.line)
            self.ops.append(op)
            self.made_by |= dict.fromkeys(outputs, op)
            self._shared[same] = outputs
        return self._shared[same]

    # Element by element. A number stands second, since that is where torch takes one.

    def map(self, kind: str, *inputs: Input, **options: Any) -> Value:
        """Any element-wise operation; its inputs broadcast, aligned at their last axis."""
        rows = any(isinstance(each, Value) and each.rows for each in inputs)
        return self.emit(kind, *inputs, shape=broadcast(*inputs), rows=rows, **options)

    def add(self, a: Input, b: Input) -> Value:
        a, b = _number_second(a, b)
        return a if b == 0 else self.map("add", a, b)

    def sub(self, a: Input, b: Input) -> Value:
        if not isinstance(a, Value):
            assert isinstance(b, Value)
            return self.map("rsub", b, a)
        return a if b == 0 else self.map("sub", a, b)

    def mul(self, a: Input, b: Input) -> Value:
        a, b = _number_second(a, b)
        return a if b == 1 else self.map("mul", a, b)

    def div(self, a: Input, b: Input) -> Value:
        if not isinstance(b, Value):
            return self.mul(a, 1 / b)
        return (
            self.mul(self.map("reciprocal", b), a)
            if not isinstance(a, Value)
            else self.map("div", a, b)
        )

    def neg(self, a: Value) -> Value:
        return self.map("neg", a)

    # Views. An axis is counted without the batch.

    def slice(self, a: Value, axis: int, start: int, stop: int) -> Value:
        if (start, stop) == (0, a.shape[axis]):
            return a
        shape = (*a.shape[:axis], stop - start, *a.shape[axis + 1 :])
        return self.emit("slice", a, shape=shape, axis=axis, start=start, stop=stop)

    def cat(self, parts: Sequence[Value], axis: int) -> Value:
        if len(parts) == 1:
            return parts[0]
        first = parts[0].shape
        shape = (*first[:axis], sum(each.shape[axis] for each in parts), *first[axis + 1 :])
        return self.emit("cat", *parts, shape=shape, axis=axis)

    def reshape(self, a: Value, shape: Sequence[int]) -> Value:
        return a if a.shape == tuple(shape) else self.emit("reshape", a, shape=shape, to=tuple(shape))

    def permute(self, a: Value, axes: Sequence[int]) -> Value:
        shape = tuple(a.shape[axis] for axis in axes)
        return self.emit("permute", a, shape=shape, axes=tuple(axes))

    def expand(self, a: Value, shape: Sequence[int]) -> Value:
        return a if a.shape == tuple(shape) else self.emit("expand", a, shape=shape, to=tuple(shape))

    def full(self, shape: Sequence[int], value: float) -> Value:
        return self.emit("full", shape=shape, to=tuple(shape), value=value)

    # Within a row.

    def sum(self, a: Value, axes: Sequence[int]) -> Value:
        """Over some axes, which then have length 1."""
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(a.shape))
        return self.emit("sum", a, shape=shape, axes=tuple(sorted(axes)))

    def sum_to(self, a: Value, shape: tuple[int, ...]) -> Value:
        """Undoes a broadcast from `shape`: what was spread is summed."""
        if a.shape == shape:
            return a
        ahead = len(a.shape) - len(shape)
        axes = [
            axis
            for axis, size in enumerate(a.shape)
            if axis < ahead or (shape[axis - ahead] == 1 and size != 1)
        ]
        return self.reshape(self.sum(a, axes), shape)

    # With a weight.

    def product(self, a: Value, w: Value) -> Value:
        return self.emit("product", a, w, shape=(*a.shape[:-1], w.shape[1]))


def broadcast(*inputs: Input) -> tuple[int, ...]:
    """The shape of one row that values of these shapes make together."""
    shapes = [each.shape for each in inputs if isinstance(each, Value)]
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(max(sizes) if min(sizes) else 0 for sizes in zip(*padded, strict=True))


def size(shape: Sequence[int]) -> int:
    return math.prod(shape)


def _number_second(a: Input, b: Input) -> tuple[Value, Input]:
    if isinstance(a, Value):
        return a, b
    assert isinstance(b, Value)
    return b, a
