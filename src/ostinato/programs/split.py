"""Which of a step's operations must be walked, and which can be done for all steps at once."""

from collections.abc import Iterable
from dataclasses import dataclass

from ostinato.programs.program import Carried, Op, Program, Value, producers


@dataclass(frozen=True)
class Parts:
    """A program in three parts.

    `early`: carried values that depend on nothing walked, so that they are known for all steps before
    the walk, each one step late. `walked`: those that go round in a circle. `late`: those that only
    follow from walked ones. `counted`: counters, which are known for all steps by their first value.
    """

    before: tuple[Op, ...]
    walk: tuple[Op, ...]
    after: tuple[Op, ...]
    early: tuple[Carried, ...]
    walked: tuple[Carried, ...]
    late: tuple[Carried, ...]
    counted: tuple[Carried, ...] = ()


def split(program: Program) -> Parts:
    """Splits a program by what depends on what goes round from step to step."""
    made_by = producers(program.ops)
    counted = tuple(each for each in program.carried if each.given.counter)
    carried = tuple(each for each in program.carried if not each.given.counter)
    depends = {each: _ancestors([each.handed_on], made_by) for each in carried}
    reaches = _reaches(carried, depends)
    circular = [each for each in carried if each in reaches[each]]
    # What lies on a way from one circle to another is walked with them.
    walked = [
        each
        for each in carried
        if each in circular
        or (any(c in reaches[each] for c in circular) and any(each in reaches[c] for c in circular))
    ]
    late = [each for each in carried if each not in walked and any(each in reaches[w] for w in walked)]
    early = [each for each in carried if each not in walked and each not in late]

    moving = {each.given for each in (*walked, *late)}
    moved: set[Value] = set(moving)
    # What a counter hands on follows from its first value alone.
    ops = live(program.ops, {*program.results} - {each.handed_on for each in counted})
    for op in ops:
        if any(value in moved for value in op.values):
            moved.update(op.outputs)
    needed = _ancestors([each.handed_on for each in walked], made_by)
    from_late = {each.given for each in late}
    for op in ops:
        if any(value in from_late for value in op.values):
            from_late.update(op.outputs)

    before, walk, after = [], [], []
    for op in ops:
        if not any(value in moved for value in op.outputs):
            before.append(op)
        elif op.output not in from_late and any(value in needed for value in op.outputs):
            walk.append(op)
        else:
            after.append(op)
    return Parts(
        tuple(before), tuple(walk), tuple(after), tuple(early), tuple(walked), tuple(late), counted
    )


def _ancestors(values: Iterable[Value], made_by: dict[Value, Op]) -> set[Value]:
    """The values and all that they are made from, within one step."""
    found: set[Value] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if value not in found:
            found.add(value)
            if value in made_by:
                stack.extend(made_by[value].values)
    return found


def _reaches(
    carried: tuple[Carried, ...], depends: dict[Carried, set[Value]]
) -> dict[Carried, set[Carried]]:
    """Which carried values follow from each, after one step or more."""
    reaches = {a: {b for b in carried if a.given in depends[b]} for a in carried}
    for middle in carried:
        for a in carried:
            if middle in reaches[a]:
                reaches[a] |= reaches[middle]
    return reaches


def live(ops: Iterable[Op], results: Iterable[Value]) -> list[Op]:
    """The operations that a result needs."""
    needed = set(results)
    kept = []
    for op in reversed(list(ops)):
        if any(value in needed for value in op.outputs):
            needed.update(op.values)
            kept.append(op)
    return kept[::-1]
