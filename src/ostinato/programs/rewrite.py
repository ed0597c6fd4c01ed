"""Rewrites that let more of a step be done outside the walk, and less of it inside."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ostinato.programs.builder import Builder
from ostinato.programs.naming import Namer
from ostinato.programs.program import (
    Carried,
    Input,
    Op,
    Program,
    Value,
    in_order,
    producers,
    uses,
)
from ostinato.programs.split import live, split


def rebuilt(program: Program, rule: Callable[[Builder, Op, "Rewriter"], Value | None]) -> Program:
    """The program with each operation as `rule` makes it anew, or as it was where that returns None."""
    return Rewriter(program, rule).run()


class Rewriter:
    """Walks a program once; what operations make anew takes the place of what they made."""

    def __init__(
        self, program: Program, rule: Callable[[Builder, Op, "Rewriter"], Value | None]
    ) -> None:
        self.program = program
        self.rule = rule
        self.made_by = producers(program.ops)
        self.uses = uses(program)
        self.build = Builder(Namer(program.everything))
        self.new: dict[Value, Value] = {}

    def __getitem__(self, value: Input) -> Input:
        return self.new.get(value, value) if isinstance(value, Value) else value

    def run(self) -> Program:
        build, program = self.build, self.program
        for op in program.ops:
            build.line = op.line
            made = self.rule(build, op, self)
            if made is None:
                shapes = [value.shape for value in op.outputs]
                inputs = [self[each] for each in op.inputs]
                outputs = build.emit_all(op.kind, inputs, shapes, op.output.rows, **op.options)
                self.new |= dict(zip(op.outputs, outputs, strict=True))
            else:
                self.new[op.output] = made

        def renewed(value: Value) -> Value:
            return self.new.get(value, value)

        program = replace(
            program,
            carried=tuple(Carried(c.given, renewed(c.handed_on)) for c in program.carried),
            outputs=tuple(map(renewed, program.outputs)),
            sums=tuple((w, tuple(map(renewed, parts))) for w, parts in program.sums),
        )
        return program.with_ops(in_order(live(build.ops, program.results)))


def gather_sums(program: Program) -> Program:
    """Adds first what does not depend on the state: `(x W + h U) + b` becomes `(x W + b) + h U`."""
    walked = {value for op in split(program).walk for value in op.outputs}
    walked |= {each.given for each in split(program).walked}

    def rule(build: Builder, op: Op, old: Rewriter) -> Value | None:
        if op.kind != "add" or op.output not in walked:
            return None
        terms = list(_terms(op, old))
        still = [old[each] for each in terms if each not in walked]
        if len(still) < 2:
            return None
        total = still[0]
        for each in [*still[1:], *(old[each] for each in terms if each in walked)]:
            numbers = not isinstance(total, Value) and not isinstance(each, Value)
            total = total + each if numbers else build.add(total, each)  # type: ignore[operator]
        assert isinstance(total, Value)
        return total if total.shape == op.output.shape else None

    return rebuilt(program, rule)


def _terms(op: Op, old: Rewriter) -> Iterator[Input]:
    """What a sum adds up, where no partial sum is used elsewhere."""
    for each in op.inputs:
        inner = old.made_by.get(each) if isinstance(each, Value) else None
        if inner is not None and inner.kind == "add" and old.uses[inner.output] == 1:
            yield from _terms(inner, old)
        else:
            yield each


def divide_products(program: Program) -> Program:
    """`[x, h] @ W` becomes `x @ W_above + h @ W_below`, so that the first can leave the walk."""

    def rule(build: Builder, op: Op, old: Rewriter) -> Value | None:
        if op.kind != "product" or not isinstance(op.inputs[0], Value):
            return None
        joined = old.made_by.get(op.inputs[0])
        if joined is None or joined.kind != "cat" or joined.options["axis"] != len(op.output.shape) - 1:
            return None
        weight, total, start = op.inputs[1], None, 0
        assert isinstance(weight, Value)
        for part in joined.values:
            stop = start + part.shape[-1]
            rows = build.emit(
                "slice",
                weight,
                shape=(part.shape[-1], weight.shape[1]),
                rows=False,
                axis=0,
                start=start,
                stop=stop,
            )
            new = old[part]
            assert isinstance(new, Value)
            product = build.product(new, rows)
            total = product if total is None else build.add(total, product)
            start = stop
        return total

    return rebuilt(program, rule)


def join_products(program: Program) -> Program:
    """Walked products of the same value with several weights become one product, cut afterwards."""
    # Work on weights comes first, so that the first product can be joined with a later one's weight.
    program = program.with_ops(sorted(program.ops, key=lambda op: op.output.rows))
    groups: dict[Value, list[Op]] = {}
    for op in split(program).walk:
        if op.kind == "product" and isinstance(op.inputs[0], Value):
            groups.setdefault(op.inputs[0], []).append(op)
    wanted = {group[0].output: group for group in groups.values() if len(group) > 1}
    member = {op.output: group for group in wanted.values() for op in group}
    made: dict[Value, Value] = {}

    def rule(build: Builder, op: Op, old: Rewriter) -> Value | None:
        group = member.get(op.output)
        if group is None:
            return None
        if group[0].output not in made:
            weights = [each.inputs[1] for each in group]
            widths = [weight.shape[1] for weight in weights if isinstance(weight, Value)]
            joined = build.emit(
                "cat",
                *(old[each] for each in weights),
                shape=(weights[0].shape[0], sum(widths)),  # type: ignore[union-attr]
                rows=False,
                axis=1,
            )
            left = old[op.inputs[0]]
            assert isinstance(left, Value)
            made[group[0].output] = build.product(left, joined)
        whole = made[group[0].output]
        start = 0
        for each in group:
            stop = start + each.output.shape[-1]
            if each is op:
                break
            start = stop
        return build.slice(whole, len(whole.shape) - 1, start, stop)

    return rebuilt(program, rule)


def join_norms(program: Program) -> Program:
    """Norms of the gates that lie side by side in one value become one norm over as many rows."""
    made_by = producers(program.ops)
    groups: dict[tuple[Value, float], list[tuple[int, Op]]] = {}
    for op in program.ops:
        part = made_by.get(op.inputs[0]) if op.kind == "standardise" else None  # type: ignore[arg-type]
        if part is not None and part.kind == "slice" and len(part.output.shape) == 1:
            whole = part.inputs[0]
            assert isinstance(whole, Value)
            groups.setdefault((whole, op.options["eps"]), []).append((part.options["start"], op))
    member: dict[Value, tuple[Value, list[Op]]] = {}
    for (whole, _), found in groups.items():
        group = [op for _, op in sorted(found, key=lambda each: each[0])]
        width = group[0].output.shape[0]
        starts = sorted(start for start, _ in found)
        tiled = starts == list(range(0, whole.shape[0], width))
        if len(group) > 1 and tiled and all(op.output.shape == (width,) for op in group):
            member |= {op.output: (whole, group) for op in group}

    def rule(build: Builder, op: Op, old: Rewriter) -> Value | None:
        if op.output not in member:
            return None
        whole, group = member[op.output]
        width = op.output.shape[0]
        new = old[whole]
        assert isinstance(new, Value)
        side_by_side = build.reshape(new, (len(group), width))
        shapes = [(len(group), width), (len(group), 1), (len(group), 1)]
        normed, *_ = build.emit_all("standardise", [side_by_side], shapes, **op.options)
        row = group.index(op)
        return build.reshape(build.slice(normed, 0, row, row + 1), (width,))

    return rebuilt(program, rule)


def rewritten(program: Program) -> Program:
    """A step's program, as the split wants it."""
    for rule in (divide_products, join_products, join_norms, gather_sums):
        program = rule(program)
    return program
