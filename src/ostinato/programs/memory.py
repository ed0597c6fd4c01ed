"""What the forward pass keeps for the backward pass, and what the backward pass computes once more."""

from collections.abc import Iterable

from ostinato.programs.program import Op, Program, Value, producers

CHEAP = frozenset(
    {"add", "sub", "rsub", "mul", "neg", "slice", "reshape", "permute", "expand", "full", "cat"}
)
"""Cheaper to compute again than to write to memory and read back."""

NARROW = 16
"""A product over as few inputs as this costs less than keeping what it makes."""


def plan(forward: Program, needed: Iterable[Value]) -> tuple[tuple[Value, ...], tuple[Op, ...]]:
    """Which values to keep for the backward pass, and the operations that make the rest from them."""
    made_by = producers(forward.ops)
    free = {each.given for each in forward.carried} | set(forward.sequences)
    free |= {each.handed_on for each in forward.carried}
    kept: dict[Value, None] = {}
    again: dict[Value, Op] = {}

    def fetch(value: Value) -> None:
        if value in kept or value in again:
            return
        op = made_by.get(value)
        if op is None or value in free or not _cheap(op):
            kept[value] = None
            return
        for each in op.values:
            if each.rows:
                fetch(each)
        again.update(dict.fromkeys(op.outputs, op))

    for value in needed:
        fetch(value)
    ops = {id(op): op for op in again.values()}
    return tuple(kept), tuple(op for op in forward.ops if id(op) in ops)


def _cheap(op: Op) -> bool:
    if op.kind == "product":
        (a, _) = op.values
        return a.shape[-1] <= NARROW
    return op.kind in CHEAP
