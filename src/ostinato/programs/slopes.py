"""What flows back through each operation: one rule each."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from ostinato.programs.builder import Builder
from ostinato.programs.program import Input, Op, Value


class Gradients:
    """Collects what flows back into each value."""

    def __init__(self, build: Builder, alive: set[Value]) -> None:
        self.build = build
        self.alive = alive
        self.whole: dict[Value, list[Value]] = {}
        self.pieces: dict[Value, list[tuple[int, int, int, Value]]] = {}
        self.sums: dict[Value, list[Value]] = {}

    def wanted(self, value: Input) -> bool:
        return isinstance(value, Value) and value in self.alive

    def give(self, value: Input, gradient: Value) -> None:
        """A gradient of the shape that `value` was broadcast to."""
        assert isinstance(value, Value)
        if value not in self.alive:
            return
        if value.rows:
            self.whole.setdefault(value, []).append(self.build.sum_to(gradient, value.shape))
            return
        total = self.build.emit("sum_rows", gradient, shape=value.shape, rows=False, to=value.shape)
        self.sum(value, total)

    def sum(self, weight: Input, total: Value) -> None:
        assert isinstance(weight, Value)
        self.sums.setdefault(weight, []).append(total)

    def give_slice(self, value: Value, axis: int, start: int, stop: int, gradient: Value) -> None:
        if value in self.alive:
            self.pieces.setdefault(value, []).append((axis, start, stop, gradient))

    def of(self, value: Value) -> Value | None:
        """All that flowed back into a value, added up."""
        parts = list(self.whole.get(value, ()))
        for axis in sorted({piece[0] for piece in self.pieces.get(value, ())}):
            parts += self._joined(value, axis)
        total = None
        for part in parts:
            total = part if total is None else self.build.add(total, part)
        return total

    def _joined(self, value: Value, axis: int) -> list[Value]:
        """Slices that lie side by side become one `cat`, zeros in the gaps."""
        spans: dict[tuple[int, int], Value] = {}
        for _, start, stop, gradient in (p for p in self.pieces[value] if p[0] == axis):
            known = spans.get((start, stop))
            spans[start, stop] = gradient if known is None else self.build.add(known, gradient)
        rows: list[list[tuple[int, int, Value]]] = []
        for (start, stop), gradient in sorted(spans.items(), key=lambda item: item[0]):
            for row in rows:
                if row[-1][1] <= start:
                    row.append((start, stop, gradient))
                    break
            else:
                rows.append([(start, stop, gradient)])
        return [self._padded(value.shape, axis, row) for row in rows]

    def _padded(
        self, shape: tuple[int, ...], axis: int, row: Sequence[tuple[int, int, Value]]
    ) -> Value:
        parts, at = [], 0
        for start, stop, gradient in [*row, (shape[axis], shape[axis], None)]:
            if start > at:
                parts.append(self.build.full((*shape[:axis], start - at, *shape[axis + 1 :]), 0.0))
            if gradient is not None:
                parts.append(gradient)
            at = stop
        return self.build.cat(parts, axis)


Rule = Callable[[Gradients, Builder, Op, Value], None]
RULES: dict[str, Rule] = {}

DEAD = frozenset({"sign", "gt", "ge", "lt", "le", "eq", "ne", "number", "full", "random_mask"})
"""Nothing flows back through these."""


def _rule(*kinds: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def _of_one(slope: Callable[[Builder, Op, Value], Value]) -> Rule:
    """The rule of an operation of one input."""

    def rule(to: Gradients, build: Builder, op: Op, g: Value) -> None:
        to.give(op.inputs[0], slope(build, op, g))

    return rule


def _from_output(kind: str) -> Rule:
    return _of_one(lambda build, op, g: build.map(kind, g, op.output, **op.options))


def _from_input(kind: str) -> Rule:
    return _of_one(lambda build, op, g: build.map(kind, g, op.inputs[0], **op.options))


RULES |= {
    "sigmoid": _from_output("dsigmoid"),
    "tanh": _from_output("dtanh"),
    "relu": _from_output("drelu"),
    "clamp": _from_input("dclamp"),
    "hardtanh": _from_input("dhardtanh"),
    "hardsigmoid": _from_input("dhardsigmoid"),
    "softplus": _from_input("dsoftplus"),
    "elu": _from_input("delu"),
    "gelu": _from_input("dgelu"),
    "silu": _from_input("dsilu"),
    "leaky_relu": _from_input("dleaky_relu"),
    "neg": _of_one(lambda b, op, g: b.neg(g)),
    "rsub": _of_one(lambda b, op, g: b.neg(g)),
    "exp": _of_one(lambda b, op, g: b.mul(g, op.output)),
    "expm1": _of_one(lambda b, op, g: b.mul(g, b.add(op.output, 1.0))),
    "log": _of_one(lambda b, op, g: b.div(g, op.inputs[0])),
    "log1p": _of_one(lambda b, op, g: b.div(g, b.add(op.inputs[0], 1.0))),
    "sqrt": _of_one(lambda b, op, g: b.mul(b.div(g, op.output), 0.5)),
    "rsqrt": _of_one(lambda b, op, g: b.mul(b.mul(g, _cube(b, op.output)), -0.5)),
    "reciprocal": _of_one(lambda b, op, g: b.neg(b.mul(g, b.mul(op.output, op.output)))),
    "abs": _of_one(lambda b, op, g: b.mul(g, b.map("sign", op.inputs[0]))),
    "sin": _of_one(lambda b, op, g: b.mul(g, b.map("cos", op.inputs[0]))),
    "cos": _of_one(lambda b, op, g: b.neg(b.mul(g, b.map("sin", op.inputs[0])))),
    "erf": _of_one(
        lambda b, op, g: b.mul(
            b.mul(g, b.map("exp", b.neg(b.mul(op.inputs[0], op.inputs[0])))), 2 / math.sqrt(math.pi)
        )
    ),
    "power": _of_one(
        lambda b, op, g: b.mul(
            b.mul(g, b.map("power", op.inputs[0], exponent=op.options["exponent"] - 1)),
            op.options["exponent"],
        )
    ),
    "reshape": _of_one(lambda b, op, g: b.reshape(g, _shape(op))),
    "expand": _of_one(lambda b, op, g: g),
    "permute": _of_one(
        lambda b, op, g: b.permute(
            g, sorted(range(len(op.options["axes"])), key=op.options["axes"].__getitem__)
        )
    ),
    "sum": _of_one(lambda b, op, g: b.expand(g, _shape(op))),
    "softmax": _of_one(
        lambda b, op, g: b.emit("dsoftmax", g, op.output, shape=g.shape, axis=op.options["axis"])
    ),
}


def _shape(op: Op) -> tuple[int, ...]:
    (value,) = op.values
    return value.shape


def _cube(build: Builder, a: Value) -> Value:
    return build.mul(build.mul(a, a), a)


@_rule("add")
def _add(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    for each in op.values:
        to.give(each, g)


@_rule("sub")
def _sub(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    a, b = op.inputs
    to.give(a, g)
    if to.wanted(b):
        to.give(b, build.neg(g))


@_rule("mul")
def _mul(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    a, b = op.inputs
    if to.wanted(a):
        to.give(a, build.mul(g, b))
    if to.wanted(b):
        to.give(b, build.mul(g, a))


@_rule("div")
def _div(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    a, b = op.inputs
    down = build.div(g, b)
    if to.wanted(a):
        to.give(a, down)
    if to.wanted(b):
        to.give(b, build.neg(build.mul(down, op.output)))


@_rule("maximum", "minimum")
def _larger(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    a, b = op.inputs
    # Where both are equal, torch gives each a half.
    first = build.map("gt" if op.kind == "maximum" else "lt", a, b)
    same = build.map("where", build.map("eq", a, b), build.mul(g, 0.5), 0.0)
    if to.wanted(a):
        to.give(a, build.add(build.map("where", first, g, 0.0), same))
    if to.wanted(b):
        second = build.map("lt" if op.kind == "maximum" else "gt", a, b)
        to.give(b, build.add(build.map("where", second, g, 0.0), same))


@_rule("where")
def _where(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    mask, a, b = op.inputs
    if to.wanted(a):
        to.give(a, build.map("where", mask, g, 0.0))
    if to.wanted(b):
        to.give(b, build.map("where", mask, 0.0, g))


@_rule("slice")
def _slice(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    (value,) = op.values
    to.give_slice(value, op.options["axis"], op.options["start"], op.options["stop"], g)


@_rule("cat")
def _cat(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    axis, start = op.options["axis"], 0
    for each in op.values:
        stop = start + each.shape[axis]
        if to.wanted(each):
            to.give(each, build.slice(g, axis, start, stop))
        start = stop


@_rule("product")
def _product(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    a, w = op.values
    if to.wanted(a):
        to.give(a, build.emit("product_t", g, w, shape=a.shape))
    if to.wanted(w):
        to.sum(w, build.emit("outer", a, g, shape=w.shape, rows=False))


@_rule("conv")
def _conv(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    a, w = op.values
    options: dict[str, Any] = op.options
    if to.wanted(a):
        to.give(a, build.emit("conv_t", g, w, shape=a.shape, to=a.shape, **options))
    if to.wanted(w):
        to.sum(w, build.emit("conv_outer", a, g, shape=w.shape, rows=False, to=w.shape, **options))


@_rule("standardise")
def _standardise(to: Gradients, build: Builder, op: Op, g: Value) -> None:
    (a,) = op.values
    _, mean, rstd = op.outputs
    to.give(a, build.emit("dstandardise", g, a, mean, rstd, shape=a.shape, axes=op.options["axes"]))
