"""A program as Python that runs it in plain torch, a block of time steps at a time."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ostinato.programs.builder import VIEWS
from ostinato.programs.fuse import fused
from ostinato.programs.operations import DIRECT, FRESH, NAMES, POINTWISE, expression
from ostinato.programs.program import (
    Carried,
    Op,
    Program,
    Value,
    counts_by,
    in_order,
    producers,
    uses,
)
from ostinato.programs.scan import Scan, as_scans
from ostinato.programs.split import Parts, live, split
from ostinato.programs.tanh import tanh

MASKS = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})


First = Literal["rows", "steps", "lying"]


@dataclass(frozen=True)
class Runnable:
    """A program's source, and the function that it makes.

    `function(block, sequences, weights, starts, fresh, sums) → (outputs, kept, ends, sums)`: the sums
    of the blocks before come in, if there are any to make. How the first sequence is given, says
    `first`: all its rows, or, where nothing but the walk reads it, those of each step, or a tensor
    `[steps, B, …]` that lies in any way.
    """

    source: str
    function: Callable[..., tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]]
    scanned: bool
    first: First


def runnable(
    program: Program, read: Iterable[Value], keep: Sequence[Value] = (), backwards: bool = False
) -> Runnable:
    """Python that runs a program, and also returns the values to keep.

    `read` is the sequence that is not the program's own but read from without, if there is one.
    """
    program = with_own_results(program, backwards)
    parts = split(program)
    scans = as_scans(program, parts)
    made = Source(program, parts, scans, {*read}, keep, backwards)
    source = made.text()
    return Runnable(source, as_function(source, tanh=tanh), scans is not None, made.first)


def one_step(program: Program) -> Callable[..., tuple[Tensor, tuple[Tensor, ...]]]:
    """`function(x, *weights, *state) → (output, state)`: one step, which autograd can follow."""
    names = [
        v.name for v in (*program.sequences, *program.weights, *(c.given for c in program.carried))
    ]
    lines = [f"def run({', '.join(names)}):", f"    like = {like(program)}"]
    lines.append("    rows = like.shape[0]")
    for op in program.ops:
        text, _ = expression(op, called(op), "rows")
        lines.append(f"    {', '.join(v.name for v in op.outputs)} = {text}")
    handed_on = "".join(f"{c.handed_on.name}, " for c in program.carried)
    lines.append(f"    return {program.outputs[0].name}, ({handed_on})")
    return as_function("\n".join(lines) + "\n")


def as_function(source: str, **more: Any) -> Callable[..., Any]:
    """The function `run` that the source defines; `more` is what it may call besides operations."""
    space: dict[str, Any] = (
        dict(NAMES)
        | more
        | {
            "inf": float("inf"),
            "nan": float("nan"),
            "bool_": torch.bool,
        }
    )
    # Made from names of our own and from numbers alone; a loop over closures takes a third longer.
    exec(compile(source, "<ostinato program>", "exec"), space)  # noqa: S102
    return space["run"]  # type: ignore[no-any-return]


def like(program: Program) -> str:
    """The name of a carried value whose numbers are of the weights' kind."""
    return next(each.given.name for each in program.carried if not each.given.counter)


def called(op: Op) -> list[str]:
    """The inputs of an operation, as the source writes them."""
    return [each.name if isinstance(each, Value) else repr(each) for each in op.inputs]


def with_own_results(
    program: Program, backwards: bool = False, walked: Collection[Carried] | None = None
) -> Program:
    """What a walked value hands on is written into its history, so it has to be a value of its own.

    Those are walked that `split` says, unless others are named.
    """
    ops, carried, taken = list(program.ops), [], set()
    made_by, count = producers(ops), uses(program)
    walked = split(program).walked if walked is None else walked
    for each in program.carried:
        value = each.handed_on
        shared = value in taken or value not in made_by or (backwards and count[value] > 1)
        if each in walked and shared:
            copy = Value(f"{each.given.name}_on", value.shape)
            ops.append(Op("copy", (value,), (copy,)))
            each = Carried(each.given, copy)
        taken.add(each.handed_on)
        carried.append(each)
    return replace(program, ops=tuple(ops), carried=tuple(carried))


class Source:
    """The text of a function that runs a program, part by part."""

    def __init__(
        self,
        program: Program,
        parts: Parts,
        scans: tuple[tuple[Scan, ...], tuple[Op, ...]] | None,
        read: set[Value],
        keep: Sequence[Value],
        backwards: bool,
    ) -> None:
        self.program, self.parts, self.scans, self.read = program, parts, scans, read
        self.keep, self.backwards = keep, backwards
        self.lines: list[str] = []
        self.scattered: set[Value] = set()
        self.places: dict[Value, tuple[Value, str]] = {}
        self.joined: set[Value] = set()
        self.roomy: set[Value] = set()
        self.made_by = producers(program.ops)
        self.summed = [value for _, values in program.sums for value in values]
        self.added_up = {op.output for op in program.ops if op.kind == "outer"}
        self.added_up &= {value for value in self.summed if uses(program)[value] == 1}
        self.first: First = "rows"
        self.memory = ""
        """what says where the memory of a history comes from"""

    def text(self) -> str:
        program, parts = self.program, self.parts
        wanted = {*program.outputs, *self.keep, *self.summed}
        wanted |= {each.handed_on for each in (*parts.early, *parts.late)}
        walk = () if self.scans else parts.walk
        after = self._after(wanted)
        outside = {v for op in after for v in op.values} | wanted
        before = self._before(outside, walk)

        names = [v.name for v in (*program.sequences, *program.weights)]
        names += [f"{c.given.name}_{kind}" for kind in ("start", "fresh") for c in program.carried]
        names += ["sums"] if program.sums else []
        self._line(0, f"def run({', '.join(['block', *names])}):")
        self._line(1, f"like, rows = {like(program)}_start, block.rows")
        self._line(1, "# before")
        self._begin()
        read_by_walk = {v for op in walk for v in op.values}
        taken = outside | read_by_walk | self._coefficients() | {c.handed_on for c in parts.walked}
        before, after = fused(before, taken), fused(after, wanted)
        self._put_side_by_side(before, walk, after, wanted)
        self._part(before, taken)
        if self.scans:
            self._scan()
        elif parts.walked:
            self._walk(walk, outside)
        self._line(1, "# after")
        self._part(after, wanted)
        sums = [v.name for v in self.summed]
        ends = [f"{c.given.name}_end" for c in program.carried]
        results = [[v.name for v in program.outputs], [v.name for v in self.keep], ends, sums]
        self._line(1, "return " + ", ".join(f"[{', '.join(each)}]" for each in results))
        return "\n".join(self.lines) + "\n"

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    # The parts, each in an order in which everything is there when it is needed.

    def _before(self, outside: set[Value], walk: Iterable[Op]) -> list[Op]:
        ops = [*self.parts.before, *map(_delay, self.parts.early)]
        wanted = outside | {v for op in walk for v in op.values}
        wanted |= {each.handed_on for each in self.parts.early}
        if self.scans:
            ops += self.scans[1]
            wanted |= self._coefficients()
        early = [_delay_of(ops, each) for each in self.parts.early]
        kept = live(in_order(ops), wanted)
        return in_order([*kept, *(op for op in early if op not in kept)])

    def _after(self, wanted: set[Value]) -> list[Op]:
        ops = [*self.parts.after, *map(_delay, self.parts.late)]
        if self.scans:
            done = {each.handed_on for each in self.parts.walked}
            ops = [*(op for op in self.parts.walk if op.output not in done), *ops]
        late = [_delay_of(ops, each) for each in self.parts.late]
        kept = live(in_order(ops), wanted)
        return in_order([*kept, *(op for op in late if op not in kept)])

    def _coefficients(self) -> set[Value]:
        """What the scans are given."""
        scans = self.scans[0] if self.scans else ()
        return {v for scan in scans for v in (scan.a, scan.b) if isinstance(v, Value)}

    def _part(self, ops: list[Op], wanted: set[Value]) -> None:
        over = self._written_over(ops, wanted)
        for op in ops:
            if op.kind == "delay":
                self._delayed(op)
            elif op.output in self.joined:
                self._line(1, f"{op.output.name} = {op.output.name}_all")
            else:
                text, _ = expression(op, called(op), "rows")
                if op.output in self.added_up:
                    text = f"{text[:-1]}, sums[{self.summed.index(op.output)}])"
                elif op.output in self.places:
                    self._room_for(op.output)
                    text = f"{text[:-1]}, out={self.places[op.output][1]})"
                elif op in over:
                    text = f"{text[:-1]}, out={over[op].name})"
                self._line(1, f"{', '.join(v.name for v in op.outputs)} = {text}")

    def _put_side_by_side(
        self, before: list[Op], walk: Iterable[Op], after: list[Op], wanted: set[Value]
    ) -> None:
        """What is put side by side outside the walk is written there at once, if all of it can be."""
        outside = [*before, *after]
        made_by = producers(op for op in outside if op.kind in POINTWISE - MASKS)
        steps = {v for op in walk for v in op.outputs if not self._mask(v)}
        movable = {*made_by, *steps - {each.handed_on for each in self.parts.walked}} - wanted
        for op in outside:
            alone = len(set(op.values)) == len(op.inputs)
            if op.kind == "cat" and alone and {*op.values} <= movable - {*self.places}:
                self.joined.add(op.output)
                start, axis = 0, op.options["axis"]
                for part in op.values:
                    narrow = f"narrow({axis + 1}, {start}, {part.shape[axis]})"
                    self.places[part] = (op.output, f"{op.output.name}_all.{narrow}")
                    start += part.shape[axis]

    def _room_for(self, part: Value) -> None:
        """Makes the whole that a part is written to, unless it is there."""
        whole = self.places[part][0]
        if whole not in self.roomy:
            self.roomy.add(whole)
            self._line(1, f"{whole.name}_all = {self._buffer(whole)}")

    def _buffer(self, value: Value) -> str:
        """Room for a value of all steps."""
        return f"block.buffer(like{''.join(f', {size}' for size in value.shape)})"

    def _written_over(self, ops: list[Op], wanted: set[Value]) -> dict[Op, Value]:
        """Where a result may lie: in the place of a value that its operation is the last to read.

        What is made for all steps at once fills the caches, and new memory has to be asked for.
        """
        readers: dict[Value, list[Op]] = {}
        for op in ops:
            for value in op.values:
                readers.setdefault(value, []).append(op)
        free = {
            op.output
            for op in ops
            if op.kind in FRESH - MASKS
            and op.output not in wanted
            and all(each.kind in FRESH for each in readers.get(op.output, ()))
        }
        over = {}
        for op in ops:
            if op.kind in POINTWISE - MASKS:
                fit = (v for v in op.values if v in free and v.rows and v.shape == op.output.shape)
                last = next((v for v in fit if readers[v][-1] is op), None)
                if last is not None:
                    over[op] = last
        return over

    def _begin(self) -> None:
        """What has to be there before the first operation: what each step is given of the counters."""
        for each in self.parts.counted:
            name, by = each.given.name, counts_by(each, self.made_by)
            self._line(1, f"{name} = block.counted({name}_start, {name}_fresh, {by})")
            self._line(1, f"{name}_end = block.last({name} + {by}, {name}_start)")

    def _delayed(self, op: Op) -> None:
        name, value = op.output.name, op.inputs[0]
        assert isinstance(value, Value)
        fresh = "None" if self.backwards else f"{name}_fresh"
        new = value.name
        if self.backwards:
            new = f"{name}_on"
            self._line(1, f"{new} = block.cut_gradients({value.name}, {name}_fresh)")
        self._line(1, f"{name} = block.delay({new}, {name}_start, {fresh})")
        self._line(1, f"{name}_end = block.last({new}, {name}_start)")

    # The walk.

    def _histories(self, carried: Iterable[Carried]) -> None:
        for each in carried:
            name = each.given.name
            self._line(1, f"{name}_all = block.history({name}_start{self.memory})")

    def _remembered(self, outside: set[Value]) -> list[Carried]:
        """What somebody reads after the walk, or what is no tensor of its own unless written to one."""
        return [
            each
            for each in self.parts.walked
            if {each.given, each.handed_on} & outside or self.made_by[each.handed_on].kind not in FRESH
        ]

    def _seen(self, carried: Iterable[Carried]) -> None:
        """After the walk: what each step was given and handed on, all steps together."""
        for each in carried:
            name = each.given.name
            fresh = "None" if self.backwards else f"{name}_fresh"
            self._line(
                1, f"{name} = block.{self._given(each.given)}({name}_all, {name}_start, {fresh})"
            )
            self._line(1, f"{each.handed_on.name} = block.handed_on({name}_all)")

    def _given(self, value: Value) -> str:
        """Which of a block's methods says what each step was given."""
        return "given"

    def _scan(self) -> None:
        assert self.scans
        self._line(1, "# walk: a scan")
        self._histories(self.parts.walked)
        for scan in self.scans[0]:
            name = scan.carried.given.name
            a, b = (
                each.name if isinstance(each, Value) else f"like.new_full((), {each!r})"
                for each in (scan.a, scan.b)
            )
            self._line(1, f"block.scan({a}, {b}, {name}_start, {name}_fresh, {name}_all)")
            self._line(1, f"{name}_end = block.last(block.handed_on({name}_all), {name}_start)")
        self._seen(self.parts.walked)

    def _walk(self, walk: Sequence[Op], outside: set[Value]) -> None:
        walked = self.parts.walked
        self._line(1, "# walk")
        made = {v for op in walk for v in op.outputs}
        given = {each.given for each in walked}
        reads = {v for op in walk for v in op.values if v.rows} - made - given
        by_step = self._for_the_walk_alone(reads, outside)
        self.first = "steps" if by_step else "rows"
        for value in sorted(reads, key=repr):
            text = value.name if value in by_step else f"block.steps({value.name})"
            self._line(1, f"{value.name}_s = {text}")
        remembered = self._remembered(outside)
        self._histories(remembered)
        where = {}
        for each in remembered:
            where[each.handed_on] = f"{each.given.name}_out"
            self._line(
                1, f"{each.given.name}_out = block.steps(block.handed_on({each.given.name}_all))"
            )
        for value in sorted((outside & made) - set(where), key=repr):
            where[value] = f"{value.name}_out"
            self._line(1, f"{value.name}_all = {self._room_of_all_steps(value)}")
            self._line(1, f"{value.name}_out = block.steps({value.name}_all)")
        ops = fused(walk, {*where, *(each.handed_on for each in walked)})
        for value in sorted(
            {v for op in ops for v in op.values if _turned(op) and not v.rows}, key=repr
        ):
            self._line(1, f"{value.name}_t = {value.name}.t()")
        ops = self._in_place_of_cats(ops, where)
        names = [each.given.name for each in walked]
        for name in names:
            self._line(1, f"{name}_full = block.own({name}_start)")
            self._line(1, f"{name} = block.start({name}_full)")
        self._line(1, "special, cuts, active = block.special, block.cuts, block.active")
        self._line(1, "for s in block.order:")
        tuples = [f"({', '.join(n + end for n in names)},)" for end in ("", "_full", "_fresh")]
        fresh = f"({'None, ' * len(names)})" if self.backwards else tuples[2]
        self._line(2, "if special[s]:")
        self._line(3, f"{tuples[0]} = block.enter(s, {tuples[0]}, {tuples[1]}, {fresh})")
        if any(op.kind in ("full", "reshape", "expand") for op in ops):
            self._line(2, "n = active[s]")
        for op in ops:
            self._step(op, where, reads)
        handed_on = ", ".join(each.handed_on.name for each in walked)
        self._line(2, f"{', '.join(names)} = {handed_on}")
        if self.backwards:
            self._line(2, "if cuts[s]:")
            for name in names:
                self._line(3, f"block.cut_gradient(s, {name}, {name}_fresh)")
        for name in names:
            self._line(1, f"{name}_end = block.end({name}, {name}_full)")
        self._seen(remembered)
        for value in sorted(set(where) - {c.handed_on for c in walked} - self.scattered, key=repr):
            self._line(1, f"{value.name} = {value.name}_all")

    def _for_the_walk_alone(self, reads: set[Value], outside: set[Value]) -> set[Value]:
        """What is read from without, by nothing but the walk."""
        elsewhere = {v for op in (*self.parts.before, *self.parts.after) for v in op.values}
        return self.read & reads - outside - elsewhere

    def _room_of_all_steps(self, value: Value) -> str:
        if value in self.places:
            self._room_for(value)
            return self.places[value][1]
        sizes = "".join(f", {size}" for size in value.shape)
        kind = ", dtype=bool_" if self._mask(value) else ""
        return f"block.buffer(like{sizes}{kind})"

    def _mask(self, value: Value) -> bool:
        """Whether it holds True and False, as a comparison or a view of one does."""
        op = self.made_by.get(value)
        if op is None:
            return False
        return op.kind in MASKS or (op.kind in VIEWS and any(map(self._mask, op.values)))

    def _in_place_of_cats(self, ops: list[Op], where: dict[Value, str]) -> list[Op]:
        """What is put side by side is written there at once, where torch can do so."""
        made_by = producers(ops)
        count: dict[Value, int] = {}
        for op in ops:
            for value in op.values:
                count[value] = count.get(value, 0) + 1
        taken = {*where, *(each.handed_on for each in self.parts.walked)}
        left = []
        for op in ops:
            parts = (
                [made_by.get(v) for v in op.values] if op.kind == "cat" and op.output in where else []
            )
            if not parts or not all(
                p and p.kind in DIRECT and count[p.output] == 1 and p.output not in taken for p in parts
            ):
                left.append(op)
                continue
            start, axis = 0, op.options["axis"]
            for number, part in enumerate(op.values):
                place = f"{op.output.name}_{number}_out"
                length = part.shape[axis]
                text = f"block.steps({op.output.name}_all.narrow({axis + 1}, {start}, {length}))"
                self._line(1, f"{place} = {text}")
                where[part] = place
                self.scattered.add(part)
                start += length
            left.append(Op("joined", (), op.outputs))
        return left

    def _step(self, op: Op, where: dict[Value, str], reads: set[Value]) -> None:
        if op.kind == "joined":
            self._line(2, f"{op.output.name} = {where[op.output]}[s]")
            return
        names = [
            f"{name}_s[s]" if each in reads else name
            for each, name in zip(op.inputs, called(op), strict=True)
        ]
        text, direct = expression(op, names, "n")
        text = text.replace(".t()", "_t")
        stored = [v for v in op.outputs if v in where]
        if len(op.outputs) == 1 and stored:
            place = f"{where[stored[0]]}[s]"
            text = f"{text[:-1]}, out={place})" if direct else f"{place}.copy_({text})"
        self._line(2, f"{', '.join(v.name for v in op.outputs)} = {text}")
        if len(op.outputs) > 1:
            for value in stored:
                self._line(2, f"{where[value]}[s].copy_({value.name})")


def _turned(op: Op) -> bool:
    return op.kind == "product_t" or (op.kind == "addmm" and bool(op.options["turned"]))


def _delay(carried: Carried) -> Op:
    return Op("delay", (carried.handed_on,), (carried.given,))


def _delay_of(ops: Iterable[Op], carried: Carried) -> Op:
    return next(op for op in ops if op.kind == "delay" and op.output is carried.given)
