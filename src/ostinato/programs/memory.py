"""What the forward pass keeps for the backward pass, and what the backward pass computes once more."""

from collections.abc import Iterable
from math import prod

from ostinato.programs.builder import VIEWS
from ostinato.programs.program import Op, Program, Value, producers

CHEAP = frozenset({"add", "sub", "rsub", "mul", "neg"})
"""Cheaper to compute again than to keep, if no more has to be kept for it than is spared."""

DEARER = frozenset({"sigmoid", "tanh"})
"""Dearer, yet cheaper than memory where tiles stay in the cache, if nothing is kept for them."""

NARROW = 16
"""A product over as few inputs as this costs less than keeping what it makes."""


def plan(
    forward: Program, needed: Iterable[Value], sparing: bool = False
) -> tuple[tuple[Value, ...], tuple[Op, ...]]:
    """Which values to keep for the backward pass, and the operations that make the rest from them.

    `sparing` computes more again, to keep less.
    """
    made_by = producers(forward.ops)
    free = {each.given for each in forward.carried} | set(forward.sequences)
    free |= {each.handed_on for each in forward.carried}
    kept: dict[Value, None] = {}
    again: dict[Value, Op] = {}

    def sources() -> dict[Value, dict[Value, None]]:
        """What has to be kept so that each value can be made again; itself if that is cheapest."""
        found: dict[Value, dict[Value, None]] = {}
        for op in forward.ops:
            rows = [v for v in op.values if v.rows]
            below = {v: None for each in rows for v in found.get(each, {each: None})}
            extra = sum(prod(v.shape) for v in below if v not in free and v not in kept)
            for value in op.outputs:
                itself = value in free or value in kept or not _again(op, value, extra, sparing)
                found[value] = {value: None} if itself else below
        return found

    known = sources()
    # Those that have to be kept come first: a cheap one may then be made of them at no further cost.
    for value in sorted(needed, key=lambda v: v in made_by and made_by[v].kind in CHEAP):
        wanted = [value]
        while wanted:
            each = wanted.pop()
            if each in kept or each in again:
                continue
            if each in known.get(each, {each: None}):
                kept[each] = None
                known = sources()
                continue
            op = made_by[each]
            wanted += [v for v in op.values if v.rows][::-1]
            again.update(dict.fromkeys(op.outputs, op))
    ops = {id(op): op for op in again.values()}
    return tuple(kept), tuple(op for op in forward.ops if id(op) in ops)


def _again(op: Op, value: Value, extra: int, sparing: bool) -> bool:
    """Whether to compute a value again, if `extra` numbers have to be kept for that."""
    if op.kind in VIEWS or (op.kind == "product" and _narrow(op)):
        return True
    if sparing and op.kind in DEARER and not extra:
        return True
    return op.kind in CHEAP and extra <= prod(value.shape)


def _narrow(op: Op) -> bool:
    (a, _) = op.values
    return a.shape[-1] <= NARROW
