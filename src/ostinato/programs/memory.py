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

    def sources(value: Value) -> dict[Value, None]:
        """What has to be kept so that the value can be made again; itself if that is cheapest."""
        op = made_by.get(value)
        if op is None or value in free or value in kept:
            return {value: None}
        below = {v: None for each in op.values if each.rows for v in sources(each)}
        if op.kind in VIEWS or (op.kind == "product" and _narrow(op)):
            return below
        extra = sum(prod(v.shape) for v in below if v not in free and v not in kept)
        if sparing and op.kind in DEARER and not extra:
            return below
        return below if op.kind in CHEAP and extra <= prod(value.shape) else {value: None}

    def fetch(value: Value) -> None:
        if value in kept or value in again:
            return
        if value in sources(value):
            kept[value] = None
            return
        op = made_by[value]
        for each in op.values:
            if each.rows:
                fetch(each)
        again.update(dict.fromkeys(op.outputs, op))

    # Those that have to be kept come first: a cheap one may then be made of them at no further cost.
    for value in sorted(needed, key=lambda v: v in made_by and made_by[v].kind in CHEAP):
        fetch(value)
    ops = {id(op): op for op in again.values()}
    return tuple(kept), tuple(op for op in forward.ops if id(op) in ops)


def _narrow(op: Op) -> bool:
    (a, _) = op.values
    return a.shape[-1] <= NARROW
