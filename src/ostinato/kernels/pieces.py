"""Where the numbers of a program's values are: views looked through, rows cut into pieces.

The native machine works on pieces of a row, each a run of numbers that one instruction makes. What is
put side by side, sliced or reshaped moves nothing: it says which numbers of which value are meant.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from ostinato.programs.builder import VIEWS
from ostinato.programs.program import Input, Op, Value

Base = Value | float
"""A value that an operation makes or a program is given; or a number."""


@dataclass(frozen=True)
class Run:
    """Numbers `start` and on of a row of `base`; or (`spread`) the number at `start`, over and over."""

    base: Base
    start: int
    length: int
    spread: bool = False

    @property
    def stop(self) -> int:
        return self.start + (1 if self.spread else self.length)

    def part(self, start: int, length: int) -> "Run":
        at = self.start if self.spread else self.start + start
        return Run(self.base, at, length, self.spread)


@dataclass(frozen=True)
class _Numbers:
    """For each number of a row: which base it is of, and which of its numbers."""

    bases: tuple[Base, ...]
    which: NDArray[np.int64]
    index: NDArray[np.int64]

    def like(self, which: NDArray[np.int64], index: NDArray[np.int64]) -> "_Numbers":
        return _Numbers(self.bases, which.copy(), index.copy())


class Views:
    """Looks through the views of a program."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self.views = {op.output: op for op in ops if op.kind in VIEWS}
        self._known: dict[Value, _Numbers] = {}

    def runs(self, value: Input, shape: tuple[int, ...]) -> list[Run]:
        """The runs that make up a row of a value, broadcast to a shape."""
        if not isinstance(value, Value):
            return [Run(float(value), 0, prod(shape), spread=True)]
        numbers = self._numbers(value)
        return _runs(
            numbers.bases,
            *(
                np.broadcast_to(each.reshape(value.shape), shape).reshape(-1)
                for each in (numbers.which, numbers.index)
            ),
        )

    def _numbers(self, value: Value) -> _Numbers:
        if value not in self._known:
            op = self.views.get(value)
            self._known[value] = _itself(value, value.shape) if op is None else self._seen(op)
        return self._known[value]

    def _seen(self, op: Op) -> _Numbers:
        shape = op.output.shape
        if op.kind == "full":
            return _itself(float(op.options["value"]), shape)
        if op.kind == "cat":
            return self._side_by_side(op)
        (value,) = op.values
        numbers = self._numbers(value)
        return numbers.like(
            *(
                _viewed(op, each.reshape(value.shape), shape).reshape(-1)
                for each in (numbers.which, numbers.index)
            )
        )

    def _side_by_side(self, op: Op) -> _Numbers:
        bases: list[Base] = []
        which, index = [], []
        for value in op.values:
            numbers = self._numbers(value)
            which.append((numbers.which + len(bases)).reshape(value.shape))
            index.append(numbers.index.reshape(value.shape))
            bases += numbers.bases
        axis = op.options["axis"]
        together = [np.concatenate(each, axis).reshape(-1) for each in (which, index)]
        return _Numbers(tuple(bases), *together)


def _itself(base: Base, shape: tuple[int, ...]) -> _Numbers:
    count = prod(shape)
    every = np.arange(count) if isinstance(base, Value) else np.zeros(count, np.int64)
    return _Numbers((base,), np.zeros(count, np.int64), every)


def _viewed(op: Op, numbers: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    if op.kind == "slice":
        axis, start, stop = (op.options[key] for key in ("axis", "start", "stop"))
        return np.take(numbers, np.arange(start, stop), axis)
    if op.kind == "permute":
        return numbers.transpose(op.options["axes"])
    if op.kind == "expand":
        return np.broadcast_to(numbers, shape)
    return numbers.reshape(shape)


def _runs(bases: tuple[Base, ...], which: NDArray[np.int64], index: NDArray[np.int64]) -> list[Run]:
    """As few as there are."""
    if not len(which):
        return []
    step = np.where(np.diff(which) == 0, np.diff(index), 2)
    step[(step < 0) | (step > 1)] = 2
    runs: list[Run] = []
    at, count = 0, len(which)
    changes = np.flatnonzero(np.diff(step)) + 1
    while at < count:
        base, start = bases[which[at]], int(index[at])
        if not isinstance(base, Value):
            same = step[at:] == 0
            stop = count if same.all() else at + int(np.argmin(same)) + 1
            runs.append(Run(base, 0, stop - at, spread=True))
        elif at + 1 < count and step[at] != 2:
            later = changes[changes > at]
            stop = int(later[0]) + 1 if len(later) else count
            runs.append(Run(base, start, stop - at, spread=bool(step[at] == 0)))
        else:
            stop = at + 1
            runs.append(Run(base, start, 1))
        at = stop
    return runs


def within(runs: Iterable[Run], start: int, stop: int) -> list[Run]:
    """The runs of a part of a row."""
    result, begin = [], 0
    for run in runs:
        low, high = max(start, begin), min(stop, begin + run.length)
        if low < high:
            result.append(run.part(low - begin, high - low))
        begin += run.length
    return result
