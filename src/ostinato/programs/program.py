"""What a step becomes: a flat list of a few kinds of operations on named values."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

Number = float | int


@dataclass(frozen=True, eq=False)
class Value:
    """What an operation reads or makes.

    `shape` is that of one row where the value has a row a sequence (`rows`), and the whole shape of
    a weight. No program knows B or T: the rows may be those of one step, or of all steps together.
    """

    name: str
    shape: tuple[int, ...]
    rows: bool = True
    counter: bool = False
    """whether it is a counter that a step is given: whole numbers, without a gradient"""

    def __repr__(self) -> str:
        return self.name


Input = Value | Number


@dataclass(frozen=True, eq=False)
class Op:
    """One operation: `outputs = kind(*inputs, **options)`; `line` is where the step says so."""

    kind: str
    inputs: tuple[Input, ...]
    outputs: tuple[Value, ...]
    options: dict[str, Any] = field(default_factory=dict)
    line: str = ""

    @property
    def output(self) -> Value:
        """The only one, or the first."""
        return self.outputs[0]

    @property
    def values(self) -> Iterator[Value]:
        """The inputs that are no numbers."""
        return (each for each in self.inputs if isinstance(each, Value))


@dataclass(frozen=True)
class Carried:
    """A value handed from step to step: what a step is given, and what it hands on."""

    given: Value
    handed_on: Value


@dataclass(frozen=True)
class Program:
    """One step, forwards or backwards.

    `sequences` are known for all steps at the start, `carried` is handed from step to step,
    `outputs` are wanted of every step, and `sums` (the gradient of each weight) over all of them.
    """

    sequences: tuple[Value, ...]
    weights: tuple[Value, ...]
    carried: tuple[Carried, ...]
    ops: tuple[Op, ...]
    outputs: tuple[Value, ...]
    sums: tuple[tuple[Value, tuple[Value, ...]], ...] = ()

    @property
    def results(self) -> Iterator[Value]:
        """Everything that is wanted of it."""
        yield from self.outputs
        yield from (each.handed_on for each in self.carried)
        for _, parts in self.sums:
            yield from parts

    def __str__(self) -> str:
        from ostinato.programs.text import Reader  # it reads programs, so it knows this module

        return Reader().listing(self)

    @property
    def everything(self) -> Iterator[Value]:
        """All its values."""
        yield from (*self.sequences, *self.weights, *(each.given for each in self.carried))
        for op in self.ops:
            yield from op.values
            yield from op.outputs

    def with_ops(self, ops: Iterable[Op], **changes: Any) -> "Program":
        return replace(self, ops=tuple(ops), **changes)


def producers(ops: Iterable[Op]) -> dict[Value, Op]:
    """Which operation makes each value."""
    return {value: op for op in ops for value in op.outputs}


def counts_by(carried: Carried, made_by: dict[Value, Op]) -> int | None:
    """What each step adds to a counter; None where a value does more than count."""
    total, value = 0, carried.handed_on
    while value is not carried.given:
        op = made_by.get(value)
        if op is None or op.kind != "add" or not isinstance(op.inputs[1], int):
            return None
        total += op.inputs[1]
        value = op.inputs[0]  # type: ignore[assignment]
    return total


def uses(program: Program) -> dict[Value, int]:
    """How often each value is read, by operations or as a result."""
    count: dict[Value, int] = {}
    for op in program.ops:
        for value in op.values:
            count[value] = count.get(value, 0) + 1
    for value in program.results:
        count[value] = count.get(value, 0) + 1
    return count


def in_order(ops: Iterable[Op]) -> list[Op]:
    """Each operation after those that it needs; otherwise as they were."""
    ops = list(ops)
    made_by, done, order = producers(ops), set(), []

    def visit(op: Op) -> None:
        if id(op) in done:
            return
        done.add(id(op))
        for value in op.values:
            if value in made_by:
                visit(made_by[value])
        order.append(op)

    for op in ops:
        visit(op)
    return order
