"""A program over a fixed number of steps as one piece without a loop, for a compiler to read."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.programs.block import beside
from ostinato.programs.operations import expression
from ostinato.programs.program import (
    Carried,
    Op,
    Program,
    Value,
    counts_by,
    in_order,
    producers,
)
from ostinato.programs.source import as_function, called, like
from ostinato.programs.split import live, split

Unrolled = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]


def unrolled(program: Program) -> Unrolled:
    """`function(time, x, *weights, *state, *fresh, valid, resets) → (outputs, state)`.

    `x [T·B, …]` holds the rows of one step together; `valid` and `resets` are None, or one mask `[B]` a
    step. Autograd can follow it. What does not depend on the state is computed once for all steps, as
    in every run of a program; the walk is written out step by step.
    """
    lines = _lines(program)
    more = {"steps": _steps, "late": _late, "last": _last, "counted": _counted, "beside": beside}
    return as_function("\n".join(lines) + "\n", **more)


def _lines(program: Program) -> list[str]:
    parts = split(program)
    delays = {c: Op("delay", (c.handed_on,), (c.given,)) for c in (*parts.early, *parts.late)}
    after = _part([*parts.after, *(delays[c] for c in parts.late)], program, parts.late)
    outside = {v for op in after for v in op.values} | {*program.outputs}
    outside |= {c.handed_on for c in (*parts.early, *parts.late)}
    inside = {v for op in parts.walk for v in op.values}
    before = in_order([*parts.before, *(delays[c] for c in parts.early)])

    carried = [c.given.name for c in program.carried]
    names = [v.name for v in (*program.sequences, *program.weights)]
    names += [f"{name}_{kind}" for kind in ("start", "fresh") for name in carried]
    lines = [
        f"def run(time, {', '.join(names)}, valid, resets):",
        f"    like, rows = {like(program)}_start, {carried[0]}_start.shape[0] * time",
        *_counts(parts.counted, producers(program.ops)),
        *_written(before, "    ", "rows"),
        *_walk(parts.walk, parts.walked, inside, outside),
        *_written(after, "    ", "rows"),
    ]
    ends = "".join(f"{name}_end, " for name in carried)
    return [*lines, f"    return {program.outputs[0].name}, ({ends})"]


def _counts(counted: Sequence[Carried], made_by: dict[Value, Op]) -> list[str]:
    lines = []
    for each in counted:
        name, by = each.given.name, counts_by(each, made_by)
        lines.append(f"    {name} = counted({name}_start, {name}_fresh, {by}, time, resets)")
        lines.append(f"    {name}_end = last({name} + {by}, {name}_start, time, valid)")
    return lines


def _part(ops: Sequence[Op], program: Program, late: Sequence[Carried]) -> list[Op]:
    wanted = {*program.outputs, *(c.handed_on for c in late), *(c.given for c in late)}
    return live(in_order(ops), wanted)


def _walk(
    walk: Sequence[Op], walked: Sequence[Carried], inside: set[Value], outside: set[Value]
) -> list[str]:
    if not walked:
        return []
    made = {v for op in walk for v in op.outputs}
    given = {c.given for c in walked}
    reads = {v for v in inside if v.rows} - made - given
    kept = sorted((made | given) & outside, key=repr)
    names = [c.given.name for c in walked]
    lines = [f"    {v.name}_s = steps({v.name}, time)" for v in sorted(reads, key=repr)]
    lines += [f"    {name} = {name}_start" for name in names]
    lines += [f"    {v.name}_all = []" for v in kept]
    lines += ["    for s in range(time):", "        n = like.shape[0]"]
    lines += ["        if resets is not None:"]
    lines += [f"            {n} = where(beside(resets[s], {n}), {n}_fresh, {n})" for n in names]
    lines += [f"        {v.name} = {v.name}_s[s]" for v in sorted(reads, key=repr)]
    lines += _written(walk, "        ", "n")
    lines += [f"        {v.name}_all.append({v.name})" for v in kept]
    new = [c.handed_on.name for c in walked]
    lines += ["        if valid is None:", f"            {', '.join(names)} = {', '.join(new)}"]
    held = [f"where(beside(valid[s], {b}), {b}, {a})" for a, b in zip(names, new, strict=True)]
    lines += ["        else:", f"            {', '.join(names)} = {', '.join(held)}"]
    lines += [f"    {name}_end = {name}" for name in names]
    return lines + [f"    {v.name} = cat({v.name}_all)" for v in kept]


def _written(ops: Sequence[Op], indent: str, rows: str) -> list[str]:
    lines = []
    for op in ops:
        left = ", ".join(v.name for v in op.outputs)
        if op.kind == "delay":
            name, value = left, called(op)[0]
            lines.append(f"{indent}{name}_end = last({value}, {name}_start, time, valid)")
            lines.append(f"{indent}{name} = late({value}, {name}_start, {name}_fresh, time, resets)")
        else:
            lines.append(f"{indent}{left} = {expression(op, called(op), rows)[0]}")
    return lines


# What the source calls besides the operations.


def _steps(values: Tensor, time: int) -> Sequence[Tensor]:
    return values.reshape(time, -1, *values.shape[1:]).unbind(0)


def _late(
    values: Tensor, start: Tensor, fresh: Tensor | None, time: int, resets: Sequence[Tensor] | None
) -> Tensor:
    """What each step is given: what the one before it handed on, or a fresh state."""
    seen = [start, *_steps(values, time)[:-1]]
    if resets is not None:
        assert fresh is not None
        seen = [torch.where(beside(m, s), fresh, s) for m, s in zip(resets, seen, strict=True)]
    return torch.cat(seen)


def _counted(
    start: Tensor, fresh: Tensor | None, by: int, time: int, resets: Sequence[Tensor] | None
) -> Tensor:
    """What each step is given of a counter."""
    seen = []
    for step in range(time):
        if resets is not None:
            assert fresh is not None
            start = torch.where(resets[step], fresh, start)
        seen.append(start)
        start = start + by
    return torch.cat(seen)


def _last(values: Tensor, start: Tensor, time: int, valid: Sequence[Tensor] | None) -> Tensor:
    """What the last step hands on; of each row its own last one."""
    steps: Any = _steps(values, time)
    if valid is None:
        return steps[-1]  # type: ignore[no-any-return]
    state = start
    for mask, step in zip(valid, steps, strict=True):
        state = torch.where(beside(mask, step), step, state)
    return state
