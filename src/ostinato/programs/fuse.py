"""Shapes for which torch has one call instead of two."""

from collections.abc import Iterable

from ostinato.programs.program import Op, Value, producers


def fused(ops: Iterable[Op], wanted: Iterable[Value]) -> list[Op]:
    """`a @ W + b`, `a·b + c` and `b + (−a)` in one, where what is joined has no other use."""
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
            gone.update(map(id, new[1]))
            result.append(new[0])
        else:
            result.append(op)
    return [op for op in result if id(op) not in gone]


def _fused(op: Op, made_by: dict[Value, Op], count: dict[Value, int]) -> tuple[Op, list[Op]] | None:
    """The one operation, and those that it makes superfluous."""
    if op.kind not in ("add", "sub") or not all(isinstance(each, Value) for each in op.inputs):
        return None
    mixed = _lerp(op, made_by, count)
    if mixed is not None:
        return mixed
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
            turned = {"turned": made.kind == "product_t"}
            return Op("addmm", (rest, *made.inputs), op.outputs, turned, op.line), [made]
        if made.kind == "neg" and op.kind == "add":
            return Op("sub", (rest, made.inputs[0]), op.outputs, {}, op.line), [made]
        if made.kind == "mul" and all(isinstance(each, Value) for each in made.inputs):
            sign = {} if op.kind == "add" else {"value": -1}
            return Op("addcmul", (rest, *made.inputs), op.outputs, sign, op.line), [made]
    return None


def _lerp(op: Op, made_by: dict[Value, Op], count: dict[Value, int]) -> tuple[Op, list[Op]] | None:
    """`(1 − z)·a + z·b`."""
    if op.kind != "add":
        return None
    terms = [made_by.get(each) for each in op.values]
    if any(t is None or t.kind != "mul" or count[t.output] != 1 for t in terms):
        return None
    for first, second in (terms, terms[::-1]):
        assert first is not None
        assert second is not None
        for rest, a in (first.inputs, first.inputs[::-1]):
            less = made_by.get(rest) if isinstance(rest, Value) else None
            if less is None or less.kind != "rsub" or less.inputs[1] != 1:
                continue
            z = less.inputs[0]
            for same, b in (second.inputs, second.inputs[::-1]):
                parts = [each for each in (a, b, z) if isinstance(each, Value)]
                if same is z and len(parts) == 3 and all(v.shape == op.output.shape for v in parts):
                    gone = [first, second, *([less] if count[less.output] == 1 else [])]
                    return Op("lerp", (a, b, z), op.outputs, {}, op.line), gone
    return None
