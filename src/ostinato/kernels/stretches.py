"""What is broadcast over the last axes, which the machine repeats once, not number by number.

    y = a + b                            # a [C, H, W], b [C, 1, 1]
becomes
    b' = stretch(b)                      # each of its numbers H·W times
    y = a + b'

A number for every column of a tile is an instruction (`spread`): many short runs would be many of them.
"""

from collections.abc import Iterable, Iterator
from math import prod

from ostinato.kernels.images import CONVOLUTIONS
from ostinato.programs.builder import VIEWS
from ostinato.programs.program import Input, Op, Value

MOST_SPREAD = 8
"""Of one value: an instruction each."""

PRODUCTS = frozenset({"product", "product_t"})


def stretched(ops: Iterable[Op]) -> list[Op]:
    """The same operations, with what they broadcast so as a value of its own."""
    return [each for op in ops for each in _stretched(op)]


def _stretched(op: Op) -> Iterator[Op]:
    if (
        (op.kind in VIEWS and op.kind != "expand")
        or op.kind in PRODUCTS | CONVOLUTIONS
        or len(op.outputs) > 1
    ):
        yield op
        return
    shape, inputs = op.output.shape, list[Input]()
    for number, each in enumerate(op.inputs):
        if isinstance(each, Value) and _many(each.shape, shape):
            longer = Value(f"{op.output}_{number}", shape, each.rows)
            yield Op("stretch", (each,), (longer,), {}, op.line)
            each = longer
        inputs.append(each)
    if op.kind == "expand" and inputs != [*op.inputs]:
        yield Op("reshape", tuple(inputs), op.outputs, {"to": shape}, op.line)
    else:
        yield Op(op.kind, tuple(inputs), op.outputs, op.options, op.line)


def _many(value: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether many numbers are each repeated over the last axes, and over those alone."""
    padded = (1,) * (len(shape) - len(value)) + value
    rank = len(shape)
    while rank and padded[rank - 1] == 1:
        rank -= 1
    return MOST_SPREAD < prod(value) < prod(shape) and padded[:rank] == shape[:rank]
