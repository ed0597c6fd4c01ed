"""A walk as instructions of the native machine: one for each piece of a row that is made."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any

from ostinato.kernels.images import CONVOLUTIONS, geometry, is_plain
from ostinato.kernels.pieces import Run, Views, within
from ostinato.kernels.slices import MOST_SLICES, at_the_end, by_slices, count_of_slices
from ostinato.kernels.stretches import PRODUCTS, stretched
from ostinato.programs.builder import VIEWS
from ostinato.programs.operations import flat_at_its_limits
from ostinato.programs.program import Input, Op, Value

WHOLE_ROWS = frozenset({"sum", "stretch"})
"""They take all groups of a row at once."""

ROWWISE = WHOLE_ROWS | {"standardise", "dstandardise", "softmax", "dsoftmax"}
"""They need a whole row, or a whole group of it."""

NUMBERS = {
    "clamp": ("low", "high"),
    "hardtanh": ("low", "high"),
    "power": ("exponent",),
    "elu": ("alpha", "scale", "input_scale"),
    "softplus": ("beta", "threshold"),
    "leaky_relu": ("slope",),
}
NUMBERS |= {f"d{kind}": names for kind, names in NUMBERS.items()}
"""The options that are numbers, in the machine's order."""

MOST_SEGMENTS = 8
"""Of one sum of products, as the machine has them."""


@dataclass(eq=False)
class Piece:
    """Numbers of a row that one instruction makes."""

    base: Value
    start: int
    length: int

    @property
    def stop(self) -> int:
        return self.start + self.length


Operand = Piece | Run
"""A piece is read column by column as it is made; a run when all of it is there."""


@dataclass(eq=False)
class Terms:
    """A part of a sum of products: numbers of a row, and the rows and columns of a weight they meet."""

    a: Operand
    weight: Value
    turned: bool
    row: int
    column: int

    @property
    def length(self) -> int:
        return self.a.length


@dataclass(eq=False)
class Instruction:
    """`op` makes `outputs` of `inputs`; of a product, `inputs` are added to the sum of `terms`."""

    op: str
    inputs: list[Operand]
    outputs: list[Piece]
    terms: list[Terms] = field(default_factory=list)
    activation: str = ""
    numbers: list[float] = field(default_factory=list)
    whole: int = 0
    """how many numbers of a row it needs at once; 0 for any"""

    @property
    def width(self) -> int:
        return self.whole or self.outputs[0].length

    @property
    def operands(self) -> Iterator[Operand]:
        yield from self.inputs
        yield from (each.a for each in self.terms)


def machine_kind(op: Op) -> str:
    """What the machine calls an operation."""
    kind = op.kind
    if kind in ("gelu", "dgelu"):
        return kind if op.options.get("approximate", "none") == "none" else f"{kind}_tanh"
    if kind == "dclamp" and flat_at_its_limits():
        return "dclamp_open"
    return {"rsub": "sub", "number": "copy", "sum_rows": "accumulate"}.get(kind, kind)


def known(op: Op, operations: Iterable[str]) -> bool:
    """Whether the machine has an operation."""
    if op.kind in PRODUCTS:
        return len(op.inputs[1].shape) == 2  # type: ignore[union-attr]
    if op.kind in CONVOLUTIONS:
        return is_plain(op)
    if op.kind == "sum_rows":
        return sums_by_column(op)
    if op.kind == "number" and op.inputs[0].counter:  # type: ignore[union-attr]
        return False
    if op.kind in ("softmax", "dsoftmax") and op.options["axis"] != len(op.output.shape) - 1:
        return False
    if op.kind == "sum" and not at_the_end(op):
        return 0 < count_of_slices(op) <= MOST_SLICES
    return op.kind in VIEWS or machine_kind(op) in operations


def sums_by_column(op: Op) -> bool:
    """Whether a sum over rows leaves each number of a row its own."""
    (value,) = op.values
    return tuple(op.options["to"]) == value.shape


class Instructions:
    """The instructions for some operations in order, and where what is wanted of them is found."""

    def __init__(self, ops: Sequence[Op], wanted: Sequence[Value]) -> None:
        ops = stretched(by_slices(ops))
        self.ops, self.wanted = ops, wanted
        self.views = Views(ops)
        self.made = {v for op in ops if op.kind not in VIEWS for v in op.outputs}
        self.cuts: dict[Value, set[int]] = {value: set() for value in self.made}
        self.firm = {v for op in ops if op.kind in ROWWISE | CONVOLUTIONS for v in op.outputs}
        self.together: set[Value] = set()
        """values whose numbers have to lie one after another"""
        self.list: list[Instruction] = []
        self.pieces: dict[Value, list[Piece]] = {}
        self.totals = [op.output for op in ops if op.kind == "sum_rows"]
        """what is summed over the rows of all steps"""
        self.copies = 0
        self._cut_all()
        for value in self.made:
            places = [0, *sorted(self.cuts[value]), prod(value.shape)]
            self.pieces[value] = [Piece(value, a, b - a) for a, b in pairwise(places)]
        for op in ops:
            if op.kind in PRODUCTS:
                self._product(op)
            elif op.kind in ROWWISE:
                self._rowwise(op)
            elif op.kind in CONVOLUTIONS:
                self._convolution(op)
            elif op.kind not in VIEWS:
                self._pointwise(op)

    def places(self, value: Value) -> list[tuple[int, Run | Piece]]:
        """At which number of a wanted value each run or piece of it belongs."""
        at, found = 0, []
        for run in self.views.runs(value, value.shape):
            for piece in self._by_piece(run):
                found.append((at, piece))
                at += piece.length
        return found

    # Where rows are cut.

    def _cut_all(self) -> None:
        for value in self.wanted:
            for run in self.views.runs(value, value.shape):
                self._cut_ends(run)
        before = -1
        while before != (before := sum(map(len, self.cuts.values()))):
            for op in self.ops:
                if op.kind in PRODUCTS:
                    width = op.output.shape[-1]
                    self.cuts[op.output].update(range(width, prod(op.output.shape), width))
                elif op.kind in ROWWISE:
                    self._cut_groups(op)
                elif op.kind not in VIEWS | CONVOLUTIONS:
                    self._cut_pointwise(op)

    def _cut_ends(self, run: Run) -> None:
        if run.base in self.cuts and run.base not in self.firm and not run.spread:
            assert isinstance(run.base, Value)
            self.cuts[run.base] |= {run.start, run.stop} - {0, prod(run.base.shape)}

    def _cut_groups(self, op: Op) -> None:
        if op.kind in WHOLE_ROWS:
            return
        group = _group(op)
        for value in op.outputs:
            size = group if prod(value.shape) == prod(next(op.values).shape) else 1
            self.cuts[value].update(range(size, prod(value.shape), size))

    def _cut_pointwise(self, op: Op) -> None:
        out = self.cuts[op.output]
        for each in op.inputs:
            at = 0
            for run in self.views.runs(each, op.output.shape):
                out |= {at, at + run.length} - {0, prod(op.output.shape)}
                inside = self.cuts.get(run.base) if isinstance(run.base, Value) else None
                if inside is not None and not run.spread:
                    self._cut_ends(run)
                    shift = at - run.start
                    out |= {c + shift for c in inside if run.start < c < run.stop}
                    if run.base not in self.firm:
                        inside |= {c - shift for c in out if at < c < at + run.length}
                at += run.length

    # Instructions.

    def _by_piece(self, run: Run) -> list[Operand]:
        """A run as the pieces that it is made of; itself where it is no piece, or is given."""
        if run.base not in self.pieces or run.spread:
            return [run]
        assert isinstance(run.base, Value)
        found: list[Operand] = []
        for piece in self.pieces[run.base]:
            low, high = max(run.start, piece.start), min(run.stop, piece.stop)
            if low < high:
                exact = high - low == piece.length
                found.append(piece if exact else Run(run.base, low, high - low))
        return found

    def _operand(self, value: Input, shape: tuple[int, ...], start: int, stop: int) -> Operand:
        """What an instruction reads for a piece of its result."""
        (run,) = within(self.views.runs(value, shape), start, stop)
        if run.spread and isinstance(run.base, Value):
            return self._spread(run)
        (operand,) = self._by_piece(run)
        return operand

    def _new(self, length: int) -> Piece:
        self.copies += 1
        value = Value(f"copy_{self.copies}", (length,))
        (piece,) = self.pieces[value] = [Piece(value, 0, length)]
        self.made.add(value)
        return piece

    def _spread(self, run: Run) -> Piece:
        piece = self._new(run.length)
        self.list.append(Instruction("spread", [run], [piece]))
        return piece

    def _pointwise(self, op: Op) -> None:
        inputs = [*op.inputs]
        if op.kind == "rsub":
            inputs = inputs[::-1]
        for piece in self.pieces[op.output]:
            operands = [self._operand(v, op.output.shape, piece.start, piece.stop) for v in inputs]
            self.list.append(Instruction(machine_kind(op), operands, [piece], numbers=_numbers(op)))

    def _product(self, op: Op) -> None:
        a, w = op.inputs
        assert isinstance(a, Value)
        assert isinstance(w, Value)
        turned = op.kind == "product_t"
        k, n = w.shape[::-1] if turned else w.shape
        runs = self.views.runs(a, a.shape)
        for piece in self.pieces[op.output]:
            group = piece.start // n
            terms, row = [], 0
            for run in within(runs, group * k, (group + 1) * k):
                for each in self._by_piece(run):
                    a_part = each
                    if isinstance(each, Run) and (each.spread or not isinstance(each.base, Value)):
                        a_part = self._copied(each)
                    terms.append(Terms(a_part, w, turned, row, piece.start - group * n))
                    row += each.length
            if len(terms) > MOST_SEGMENTS:
                terms = [Terms(self._joined(terms), w, turned, 0, piece.start - group * n)]
            self.list.append(Instruction("product", [], [piece], terms))

    def _copied(self, run: Run) -> Piece:
        piece = self._new(run.length)
        kind = "spread" if isinstance(run.base, Value) else "copy"
        self.list.append(Instruction(kind, [run], [piece]))
        return piece

    def _joined(self, terms: Sequence[Terms] | Sequence[Operand]) -> Run:
        """What lies here and there, copied so that it lies together."""
        operands = [each.a if isinstance(each, Terms) else each for each in terms]
        self.copies += 1
        value = Value(f"copy_{self.copies}", (sum(each.length for each in operands),))
        self.made.add(value)
        self.together.add(value)
        at, pieces = 0, []
        for each in operands:
            piece = Piece(value, at, each.length)
            kind = (
                "spread" if isinstance(each, Run) and each.spread and _is_value(each.base) else "copy"
            )
            self.list.append(Instruction(kind, [each], [piece]))
            pieces.append(piece)
            at += each.length
        self.pieces[value] = pieces
        return Run(value, 0, at)

    def _whole(self, value: Value, start: int, stop: int) -> Run:
        """A part of a row as one run of numbers."""
        runs = within(self.views.runs(value, value.shape), start, stop)
        if len(runs) == 1 and not runs[0].spread and isinstance(runs[0].base, Value):
            run = runs[0]
            if run.base in self.made:
                self.together.add(run.base)
            return run
        return self._joined([part for run in runs for part in self._by_piece(run)])

    def _rowwise(self, op: Op) -> None:
        if op.kind in WHOLE_ROWS:
            self._whole_row(op)
            return
        group, values = _group(op), [*op.values]
        size = prod(values[0].shape)
        for number in range(size // group):
            start = number * group
            inputs: list[Operand] = []
            for value in values:
                if prod(value.shape) == size:
                    inputs.append(self._whole(value, start, start + group))
                else:
                    inputs.append(self._whole(value, number, number + 1))
            outputs = [
                self._piece_at(value, start if prod(value.shape) == size else number)
                for value in op.outputs
            ]
            self.list.append(Instruction(op.kind, inputs, outputs, numbers=_numbers(op), whole=group))

    def _whole_row(self, op: Op) -> None:
        """All groups of a row in one: the longer of what is read and made, cut into those."""
        (value,), made = op.values, self._piece_at(op.output, 0)
        given = self._whole(value, 0, prod(value.shape))
        long, short = max(given.length, made.length), min(given.length, made.length)
        numbers = [long / max(short, 1)]
        self.list.append(Instruction(op.kind, [given], [made], numbers=numbers, whole=max(long, 1)))

    def _convolution(self, op: Op) -> None:
        a, w = op.values
        numbers, room = geometry(op)
        wide = self._new(room)
        image = self._whole(a, 0, prod(a.shape))
        kernel = self._whole(w, 0, prod(w.shape))
        self.list.append(Instruction("pad", [image], [wide], numbers=numbers, whole=room))
        self.together.add(wide.base)
        (made,) = self.pieces[op.output]
        given: list[Operand] = [Run(wide.base, 0, room), kernel]
        self.list.append(Instruction("conv", given, [made], numbers=numbers, whole=made.length))

    def _piece_at(self, value: Value, start: int) -> Piece:
        return next(piece for piece in self.pieces[value] if piece.start == start)


def _is_value(base: Any) -> bool:
    return isinstance(base, Value)


def _group(op: Op) -> int:
    """How many numbers a row-wise operation takes together."""
    shape = next(op.values).shape
    if op.kind in ("softmax", "dsoftmax"):
        return shape[-1]
    axes = op.options["axes"]
    count = axes if isinstance(axes, int) else len(axes)
    return prod(shape[len(shape) - count :])


def _numbers(op: Op) -> list[float]:
    if op.kind == "standardise":
        return [float(op.options["eps"])]
    numbers = [op.options[name] for name in NUMBERS.get(op.kind, ())]
    if op.kind in ("clamp", "dclamp", "hardtanh", "dhardtanh"):
        low, high = numbers
        return [-float("inf") if low is None else low, float("inf") if high is None else high]
    return [float(each) for each in numbers]
