"""Shapes for which torch has one call instead of two."""

from collections.abc import Iterable

from ostinato.programs.program import Op, Value, producers


def fused(ops: Iterable[Op], wanted: Iterable[Value]) -> list[Op]:
    """`a @ W + b` and `a·b + c` as one operation each, where the product is used nowhere else."""
    ops = list(ops)
    count: dict[Value, int] = dict.fromkeys(wanted, 2)
    for op in ops:
        for value in op.values:
            count[value] = count.get(value, 0) + 1
    made_by = producers(ops)
    gone: set[int] = set()
    result = []
    for op in ops:
        new = _fused(op, made_by, count)
        if new is not None:
            gone.add(id(new[1]))
            result.append(new[0])
        else:
            result.append(op)
    return [op for op in result if id(op) not in gone]


def _fused(op: Op, made_by: dict[Value, Op], count: dict[Value, int]) -> tuple[Op, Op] | None:
    """The one operation, and the one that it makes superfluous."""
    if op.kind not in ("add", "sub") or not all(isinstance(each, Value) for each in op.inputs):
        return None
    pairs = [(1, 0), (0, 1)] if op.kind == "add" else [(1, 0)]
    for inner, other in pairs:
        value, rest = op.inputs[inner], op.inputs[other]
        assert isinstance(value, Value)
        assert isinstance(rest, Value)
        made = made_by.get(value)
        if made is None or count[value] != 1 or value.shape != op.output.shape:
            continue
        flat = len(op.output.shape) == 1
        if op.kind == "add" and made.kind in ("product", "product_t") and flat:
            return Op(
                "addmm", (rest, *made.inputs), op.outputs, {"turned": made.kind[7:]}, op.line
            ), made
        if made.kind == "mul" and all(isinstance(each, Value) for each in made.inputs):
            sign = {} if op.kind == "add" else {"value": -1}
            return Op("addcmul", (rest, *made.inputs), op.outputs, sign, op.line), made
    return None
