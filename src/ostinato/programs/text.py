"""A program as a person reads it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ostinato.programs.builder import VIEWS
from ostinato.programs.lower import Lowered
from ostinato.programs.program import (
    Carried,
    Input,
    Op,
    Program,
    Value,
    counts_by,
    producers,
)
from ostinato.programs.scan import Scan, as_scans
from ostinato.programs.split import live, split

PRODUCTS = frozenset({"product", "product_t", "outer", "conv", "conv_t", "conv_outer"})
REDUCTIONS = frozenset({"sum", "sum_rows", "softmax", "dsoftmax", "standardise", "dstandardise"})
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Reader:
    """Names the values of a program, and of its backward program, in the order in which they appear."""

    def __init__(self, widths: Mapping[int, str] | None = None) -> None:
        self.names: dict[Value, str] = {}
        self.widths = widths or {}

    def listing(self, program: Program) -> str:
        """The three parts of a program, each with the count of its operations."""
        parts = split(program)
        found = as_scans(program, parts)
        scans, coefficients = found or ((), ())
        before, walk, after = list(parts.before), list(parts.walk), list(parts.after)
        if scans:
            before += coefficients
            done = {scan.carried.handed_on for scan in scans}
            wanted = {v for op in after for v in op.values} | set(program.results)
            walk, after = [], [*live((op for op in walk if op.output not in done), wanted), *after]
            results = {v for op in after for v in op.values} | set(program.results)
            results |= {v for scan in scans for v in (scan.a, scan.b) if isinstance(v, Value)}
            before = live(before, results)
        lines = [f"before, for all steps at once: {counts(before)}"]
        lines += self._counted(parts.counted, producers(program.ops), program)
        lines += self._early(parts.early, before)
        if scans:
            lines += [f"walk: {len(scans)} scan{'s' * (len(scans) > 1)}"]
            lines += [f"    {self._scan(scan)}" for scan in scans]
        else:
            lines += [f"walk, step by step: {counts(walk)}", *self._ops(walk)]
            lines += [f"    {c.given} <- {self[c.handed_on]}" for c in parts.walked]
        lines += [f"after, for all steps at once: {counts(after)}", *self._ops(after)]
        lines += [f"    {c.given} <- {self[c.handed_on]}, one step late" for c in parts.late]
        return "\n".join(lines)

    def work(self, lowered: Lowered) -> str:
        """What is done with weights alone, before everything else; empty where nothing is."""
        wanted = set(lowered.program.weights)
        lines: list[str] = []
        for work in reversed(lowered.work):
            if wanted & set(work.made):
                inputs = list(_values(work.args))
                wanted.update(inputs)
                left = ", ".join(self[value] for value in work.made)
                said = f"{left} = {work.name}({', '.join(self[value] for value in inputs)})"
                lines.append(f"    {said:<44} {self._shape(work.made[0]):<10} {work.line}".rstrip())
        if not lines:
            return ""
        many = "s" * (len(lines) > 1)
        title = f"weights, once a call: {len(lines)} operation{many}"
        return "\n".join([title, *reversed(lines), ""])

    def __getitem__(self, value: Input) -> str:
        if not isinstance(value, Value):
            return f"{value:g}"
        if value.name[0] == "t" and value.name[1:].isdigit():
            return self.names.setdefault(value, f"t{len(self.names) + 1}")
        return value.name

    def _counted(
        self, counted: Iterable[Carried], made_by: dict[Value, Op], program: Program
    ) -> Iterator[str]:
        read = {value for op in program.ops for value in op.values if op.output.rows}
        for each in counted:
            by = counts_by(each, made_by)
            if by or each.given in read:
                yield (
                    f"    {each.given} counts by {by} from its first"
                    if by
                    else f"    {each.given} stays"
                )

    def _early(self, early: Iterable[Carried], before: list[Op]) -> Iterator[str]:
        for carried in early:
            yield f"    {carried.given} = {self[carried.handed_on]}, one step late"
        yield from self._ops(before)

    def _scan(self, scan: Scan) -> str:
        name = scan.carried.given.name
        on = self[scan.carried.handed_on]
        said = f"{name} <- {on} = {self[scan.a]} * {name} + {self[scan.b]}"
        return f"{said:<44} {self._shape(scan.carried.given)}"

    def _ops(self, ops: Iterable[Op]) -> Iterator[str]:
        for op in ops:
            left = ", ".join(self[value] for value in op.outputs)
            right = self._expression(op)
            yield f"    {f'{left} = {right}':<44} {self._shape(op.output):<10} {op.line}".rstrip()

    def _expression(self, op: Op) -> str:
        names = [self[each] for each in op.inputs]
        if op.kind in INFIX:
            return f" {INFIX[op.kind]} ".join(names)
        if op.kind in SHAPES:
            return SHAPES[op.kind].format(*names, **op.options)
        if op.kind == "cat":
            return f"[{', '.join(names)}]"
        return f"{op.kind}({', '.join(names)})"

    def _shape(self, value: Value) -> str:
        return f"[{', '.join(self._width(size) for size in value.shape)}]"

    def _width(self, size: int) -> str:
        for width, name in self.widths.items():
            if width > 1 and size % width == 0 and size // width <= 8:
                times = size // width
                return name if times == 1 else f"{times}{name}"
        return str(size)


def _values(argument: Any) -> Iterator[Value]:
    if isinstance(argument, Value):
        yield argument
    elif isinstance(argument, tuple | list):
        for each in argument:
            yield from _values(each)


SHAPES = {
    "random_mask": "mask({0}, {stream}): 0 by {drop:g}, else {scale:g}",
    "product": "{0} @ {1}",
    "product_t": "{0} @ {1}.T",
    "outer": "sum of {0}.T @ {1}",
    "sum_rows": "sum of {0}",
    "slice": "{0}[{start}:{stop}]",
    "rsub": "{1} - {0}",
    "neg": "-{0}",
    "full": "{value:g}",
    "power": "{0} ** {exponent:g}",
}


def counts(ops: Iterable[Op]) -> str:
    """How many operations of which kind."""
    kinds = Counter(_kind(op) for op in ops)
    if not kinds:
        return "nothing"
    words = {
        "product": "product{}",
        "element": "element-wise",
        "reduction": "reduction{}",
        "view": "view{}",
    }
    said = [(kinds[kind], word.format("s" * (kinds[kind] != 1))) for kind, word in words.items()]
    return ", ".join(f"{count} {word}" for count, word in said if count)


def _kind(op: Op) -> str:
    if op.kind in PRODUCTS:
        return "product"
    if op.kind in REDUCTIONS:
        return "reduction"
    return "view" if op.kind in VIEWS else "element"
