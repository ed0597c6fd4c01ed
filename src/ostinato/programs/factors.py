"""What multiplies a gradient, gathered outside the walk."""

from ostinato.programs.builder import Builder
from ostinato.programs.program import Input, Op, Program, Value
from ostinato.programs.rewrite import Rewriter, rebuilt

SLOPES = frozenset({"dsigmoid", "dtanh", "drelu"})
"""Element by element they multiply their first input by what depends on the second alone."""


def gather_factors(program: Program) -> Program:
    """Multiplies first what does not depend on what is carried: `(g·a)·b` becomes `g·(a·b)`.

    A gradient meets factor upon factor on its way back; all but itself are known before the walk.
    """
    return rebuilt(program, _Gathering(program))


class _Gathering:
    def __init__(self, program: Program) -> None:
        self.carried = {each.given for each in program.carried}
        """what depends on a carried value, as the program has it"""
        for op in program.ops:
            if any(value in self.carried for value in op.values):
                self.carried.update(op.outputs)
        self.moving: set[Input] = {each.given for each in program.carried}
        """the same, as it is made anew"""

    def __call__(self, build: Builder, op: Op, old: Rewriter) -> Value | None:
        if not any(value in self.carried for value in op.outputs):
            return None
        made = self._gathered(build, op, old)
        if made is None and len(op.outputs) == 1:
            inputs = [old[each] for each in op.inputs]
            made = build.emit(
                op.kind, *inputs, shape=op.output.shape, rows=op.output.rows, **op.options
            )
        if made is not None:
            self.moving.add(made)
        return made

    def _gathered(self, build: Builder, op: Op, old: Rewriter) -> Value | None:
        made = None
        if op.kind in SLOPES and op.inputs[1] not in self.carried:
            made = self._sloped(build, op.kind, op.inputs[0], old[op.inputs[1]], old)
        elif op.kind == "mul":
            made = self._multiplied(build, op, old)
        elif op.kind == "neg":
            found = self._factors(op.inputs[0], old)
            if found and isinstance(found[1], Value):
                made = build.mul(found[0], build.neg(found[1]))
        elif op.kind in ("add", "sub"):
            first, second = (self._factors(each, old) for each in op.inputs)
            if first and second and first[0] is second[0] and _any_value(first[1], second[1]):
                together = build.add if op.kind == "add" else build.sub
                made = build.mul(first[0], together(first[1], second[1]))
        return made if made is not None and made.shape == op.output.shape else None

    def _multiplied(self, build: Builder, op: Op, old: Rewriter) -> Value | None:
        for inner, other in (op.inputs, op.inputs[::-1]):
            found = self._factors(inner, old)
            if found and other not in self.carried:
                g, k = found
                both = build.mul(k, old[other]) if _any_value(k, other) else k * other  # type: ignore[operator]
                return build.mul(g, both)
        return None

    def _sloped(
        self, build: Builder, kind: str, value: Input, known: Input, old: Rewriter
    ) -> Value | None:
        """A slope applied to `g·k`, or to several such values side by side."""
        assert isinstance(value, Value)
        assert isinstance(known, Value)
        if value.shape != known.shape:
            return None
        joined = old.made_by.get(value)
        if joined is not None and joined.kind == "cat" and old.uses[value] == 1:
            axis, start, parts = joined.options["axis"], 0, []
            for part in joined.values:
                stop = start + part.shape[axis]
                beside = build.slice(known, axis, start, stop)
                slope = self._sloped(build, kind, part, beside, old)
                parts.append(slope if slope is not None else build.map(kind, old[part], beside))
                self.moving.add(parts[-1])
                start = stop
            return build.cat(parts, axis)
        found = self._factors(value, old)
        if not found or not isinstance(found[1], Value):
            return None
        return build.mul(found[0], build.map(kind, found[1], known))

    def _factors(self, value: Input, old: Rewriter) -> tuple[Value, Input] | None:
        """`(g, k)` of a value `g·k` that is used once, where k is known before the walk."""
        if not isinstance(value, Value) or old.uses.get(value) != 1:
            return None
        made = old.build.made_by.get(old.new.get(value, value))
        if made is None or made.kind != "mul":
            return None
        for g, k in (made.inputs, made.inputs[::-1]):
            if isinstance(g, Value) and g in self.moving and k not in self.moving:
                return g, k
        return None


def _any_value(*inputs: Input) -> bool:
    return any(isinstance(each, Value) for each in inputs)
