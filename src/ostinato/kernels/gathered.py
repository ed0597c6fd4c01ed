"""Gradients of weights, gathered: those that meet the same rows are summed in one pass over them.

    dW_x = outer(x, [r, z, n])           # what is put side by side shares r and z
    dW_h = outer(h, [r, z, m])
    db = sum_rows([r, z, n])
becomes one operation that is given x, h and r, z, n, m, each once: nothing is written twice.
"""

from collections.abc import Iterable, Mapping, Sequence

from ostinato.kernels.instructions import sums_by_column
from ostinato.programs.program import Input, Op, Value

Plan = tuple[tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int], ...]], ...]
"""Of each part: which rows it meets, which result that goes to and from which column on; and to which
results its own sum goes: several, where two biases are added to one product."""


def gathered(ops: Sequence[Op], made_by: Mapping[Value, Op], alone: Iterable[Value]) -> list[Op]:
    """The same operations, with such sums in one; `alone` are the results that nothing else reads."""
    alone = {*alone}
    sums = [op for op in ops if op.output in alone and _is_sum(op)]
    others = [op for op in ops if op not in sums]
    read = {value for op in others for value in op.values}
    together = []
    for group in _sharing(sums, {op: _parts(op, made_by, read) for op in sums}):
        if any(op.kind == "outer" for op, _ in group):
            together.append(_one(group))
        else:
            others += [op for op, _ in group]
    return [*others, *together]


def _is_sum(op: Op) -> bool:
    return op.kind == "outer" or (op.kind == "sum_rows" and sums_by_column(op))


def _gradient(op: Op) -> Input:
    return op.inputs[-1]


def _parts(op: Op, made_by: Mapping[Value, Op], read: set[Value]) -> tuple[Input, ...]:
    """What its gradient is put together from, if nobody else needs it as a whole."""
    whole = _gradient(op)
    cat = made_by.get(whole) if isinstance(whole, Value) else None
    if cat is None or cat.kind != "cat" or whole in read:
        return (whole,)
    last = cat.options["axis"] == len(cat.output.shape) - 1
    return cat.inputs if last and len({*cat.values}) == len(cat.inputs) else (whole,)


Group = list[tuple[Op, tuple[Input, ...]]]


def _sharing(sums: Sequence[Op], parts: Mapping[Op, tuple[Input, ...]]) -> list[Group]:
    """Those that share a part."""
    groups: list[Group] = []
    for op in sums:
        mine = {*parts[op]}
        near = [group for group in groups if any(mine & {*parts[other]} for other, _ in group)]
        merged = [(op, parts[op])]
        for group in near[::-1]:
            groups.remove(group)
            merged = [*group, *merged]
        groups.append(merged)
    return [_as_it_is(group) for group in groups]


def _as_it_is(group: Group) -> Group:
    """What is the same for all of a group is not taken apart."""
    if len({parts for _, parts in group}) > 1:
        return group
    return [(op, (_gradient(op),)) for op, _ in group]


def _one(group: Group) -> Op:
    outers = [op for op, _ in group if op.kind == "outer"]
    ops = [*outers, *(op for op, _ in group if op.kind != "outer")]
    rows = list(dict.fromkeys(op.inputs[0] for op in outers))
    parts = list(dict.fromkeys(part for _, each in group for part in each))
    meets: dict[Input, list[tuple[int, int, int]]] = {part: [] for part in parts}
    own: dict[Input, list[tuple[int, int]]] = {part: [] for part in parts}
    for op, made_of in group:
        column, result = 0, ops.index(op)
        for part in made_of:
            if op.kind == "outer":
                meets[part].append((rows.index(op.inputs[0]), result, column))
            else:
                own[part].append((result, column))
            assert isinstance(part, Value)
            column += part.shape[-1]
    plan: Plan = tuple((tuple(meets[part]), tuple(own[part])) for part in parts)
    outputs = tuple(op.output for op in ops)
    return Op("outers", (*rows, *parts), outputs, {"rows": len(rows), "plan": plan}, ops[0].line)
