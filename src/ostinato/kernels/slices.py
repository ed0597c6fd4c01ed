"""Sums over axes before the last, which the machine makes by adding slices.

    y = sum(a, axes=(0,))                # a [3, H]
becomes
    y = a[0] + a[1] + a[2]

A number of a row lies beside its neighbour of the last axis; what is summed over another axis lies far
apart, and whole slices are added column by column.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod

from ostinato.programs.program import Op, Value

MOST_SLICES = 64
"""Of one sum: an instruction each."""


def at_the_end(op: Op) -> bool:
    """Whether a sum is over the last axes, so that what it adds lies together."""
    rank, axes = len(next(op.values).shape), op.options["axes"]
    return tuple(axes) == tuple(range(rank - len(axes), rank))


def count_of_slices(op: Op) -> int:
    shape = next(op.values).shape
    return prod(shape[axis] for axis in op.options["axes"])


def by_slices(ops: Iterable[Op]) -> list[Op]:
    """The same operations, without sums over axes that are not the last."""
    return [each for op in ops for each in (_added(op) if _between(op) else [op])]


def _between(op: Op) -> bool:
    return op.kind == "sum" and not at_the_end(op)


def _added(op: Op) -> Iterator[Op]:
    (whole,), axes = op.values, op.options["axes"]
    places = list(product(*(range(whole.shape[axis]) for axis in axes)))
    total: Value | None = None
    for number, place in enumerate(places, 1):
        part = whole
        for axis, at in zip(axes, place, strict=True):
            shape = (*part.shape[:axis], 1, *part.shape[axis + 1 :])
            smaller = Value(f"{op.output}_{number}", shape, whole.rows)
            options = {"axis": axis, "start": at, "stop": at + 1}
            yield Op("slice", (part,), (smaller,), options, op.line)
            part = smaller
        if total is None:
            total = part
            continue
        last = number == len(places)
        more = op.output if last else Value(f"{op.output}_to_{number}", op.output.shape, whole.rows)
        yield Op("add", (total, part), (more,), {}, op.line)
        total = more
    if len(places) == 1:
        assert total is not None
        yield Op("reshape", (total,), (op.output,), {"to": op.output.shape}, op.line)
