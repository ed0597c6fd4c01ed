"""The native row: a step's program whose walk is run by the C++ core."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.kernels.core import core, why_missing
from ostinato.kernels.gathered import gathered
from ostinato.kernels.instructions import known
from ostinato.kernels.lowered import lower
from ostinato.kernels.outside import outers
from ostinato.kernels.rooms import room
from ostinato.kernels.walker import NUMBERS, Walker
from ostinato.programs import operator
from ostinato.programs.builder import WALKABLE_SUMS
from ostinato.programs.compiled import StepProgram, step_program
from ostinato.programs.program import Input, Op, Program, Value, in_order, uses
from ostinato.programs.source import Runnable, Source, as_function, called, with_own_results
from ostinato.programs.split import Parts, live, split
from ostinato.programs.tanh import tanh
from ostinato.programs.trace import Unknown


class NativeProgram(StepProgram):
    """A step's program, as the native core runs it: all that goes with the walk is walked with it."""

    tiled = True

    def empty(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return room(shape)

    @cached_property
    def inference(self) -> Runnable:
        return self._walked(self.program, self.program.sequences, learning=False)

    def runnable(
        self,
        program: Program,
        read: Iterable[Value],
        keep: Sequence[Value] = (),
        backwards: bool = False,
    ) -> Runnable:
        return self._walked(program, read, keep, backwards)

    def _walked(
        self,
        program: Program,
        read: Iterable[Value],
        keep: Sequence[Value] = (),
        backwards: bool = False,
        learning: bool = True,
    ) -> Runnable:
        program = with_own_results(program, backwards)
        module = core()
        assert module is not None
        operations = module.operations()
        parts = walked_together(split(program), operations)
        made = _NativeSource(program, parts, {*read}, keep, backwards, operations)
        source = made.text()
        zeros = partial(torch.zeros, **NUMBERS)
        walker = Walker(made.lowered, learning)
        function = as_function(source, tanh=tanh, room=room, zeros=zeros, walker=walker, outers=outers)
        return Runnable(source, function, scanned=False, first=made.first)


_KNOWN: WeakKeyDictionary[StepProgram, NativeProgram | Unknown] = WeakKeyDictionary()


def native_program(cell: Cell) -> NativeProgram:
    """The program of a cell's step for the native core.

    Raises Unknown for one that the core cannot run, Untraceable for a step that is no program.
    """
    steps = step_program(cell)
    known = _KNOWN.get(steps)
    if known is None:
        known = _KNOWN[steps] = _tried(NativeProgram(steps.lowered))
    if isinstance(known, Unknown):
        raise known.with_traceback(None)
    return known


def _tried(program: NativeProgram) -> NativeProgram | Unknown:
    """The program, if the core knows all of it, backwards too."""
    try:
        program.derived(True, (True,) * len(program.program.weights))
    except Unknown as reason:
        return reason
    return program


operator.MAKERS["native"] = native_program


def why_not(cell: Cell) -> str | None:
    """Why the core cannot run a cell's step; None if it can."""
    missing = why_missing()
    if missing is not None:
        return missing
    unknown = operator.why_not(cell, "native")
    return None if unknown is None else f"the core does not know the step: {unknown}"


operator.constant(why_not)


def walked_together(parts: Parts, operations: Iterable[str]) -> Parts:
    """Moves into the walk what the machine knows of what comes before it and after it.

    Raises Unknown for a walk that the machine does not know.
    """
    operations = frozenset(operations)
    if not parts.walked:
        raise Unknown("nothing of the step is walked")
    for op in parts.walk:
        if not known(op, operations):
            raise Unknown(
                f"{op.kind} at {op.line or 'its backward pass'} is not an operation of the core"
            )
    sums = [op for op in parts.before if op.kind in WALKABLE_SUMS]
    steps = [op for op in parts.before if op not in sums]
    stays = _needed_before(parts, steps, operations)
    missing = {each.given for each in parts.late}
    after, left = [], []
    ends = [*sums, *parts.after]
    beside = {op.inputs[1] for op in ends if op.kind == "outer"}
    for op in ends:
        # What is summed beside the gradient of a weight is summed in the same pass as that.
        there = not missing.intersection(op.values) and not beside.intersection(_summed(op))
        if known(op, operations) and there:
            after.append(op)
        else:
            left.append(op)
            missing.update(op.outputs)
    walk = in_order([*(op for op in steps if op not in stays), *parts.walk, *after])
    return replace(parts, before=tuple(stays), walk=tuple(walk), after=tuple(left))


def _summed(op: Op) -> Iterable[Input]:
    return op.inputs if op.kind == "sum_rows" else ()


def _needed_before(parts: Parts, ops: Sequence[Op], operations: frozenset[str]) -> list[Op]:
    """What torch has to do before the walk: what the machine does not know, and all that needs."""
    needed = {each.handed_on for each in parts.early}
    stays = []
    for op in reversed(ops):
        if not known(op, operations) or needed.intersection(op.outputs):
            needed.update(op.values)
            stays.append(op)
    return stays[::-1]


class _NativeSource(Source):
    """As the program row's, with a call of the machine in the place of the walk."""

    def __init__(
        self,
        program: Program,
        parts: Parts,
        read: set[Value],
        keep: Sequence[Value],
        backwards: bool,
        operations: Sequence[str],
    ) -> None:
        super().__init__(program, parts, None, read, keep, backwards)
        count = uses(program)
        alone = {value for value in self.summed if count[value] == 1}
        self.parts = replace(parts, after=tuple(gathered(parts.after, self.made_by, alone)))
        self.operations = operations
        self.memory = ", room"

    def _walk(self, walk: Sequence[Op], outside: set[Value]) -> None:
        walked = self.parts.walked
        remembered = [each for each in walked if {each.given, each.handed_on} & outside]
        handed_on = {each.handed_on for each in walked}
        made = {v for op in walk for v in op.outputs}
        wanted = (outside & made) - {each.handed_on for each in remembered}
        writes = sorted((value for value in wanted if value.rows), key=repr)
        ops = live(walk, {*handed_on, *wanted})
        self.lowered = lower(ops, walked, writes, self.operations)
        if self._for_the_walk_alone({*self.lowered.reads}, outside):
            self.first = "lying"
        self._line(1, "# walk, by the native core")
        self._histories(remembered)
        for value in writes:
            self._line(1, f"{value.name}_all = {self._room_of_all_steps(value)}")
        names = [each.given.name for each in walked]
        histories = [f"{each.given.name}_all" if each in remembered else "None" for each in walked]
        given = [
            [v.name for v in self.lowered.reads],
            [v.name for v in self.lowered.vectors],
            [v.name for v in self.lowered.matrices],
            [f"{name}_start" for name in names],
            [f"{name}_fresh" for name in names],
            histories,
            [f"{v.name}_all" for v in writes],
            [v.name for v in self.lowered.totals],
        ]
        for value in self.lowered.totals:
            self._line(1, f"{value.name} = zeros({', '.join(map(str, value.shape))})")
        ends = "".join(f"{name}_end, " for name in names)
        lists = ", ".join(f"[{', '.join(each)}]" for each in given)
        self._line(1, f"{ends}= walker(block, {lists})")
        self._seen(remembered)
        for value in writes:
            number = " != 0" if self._mask(value) else ""
            self._line(1, f"{value.name} = {value.name}_all{number}")

    def _part(self, ops: list[Op], wanted: set[Value]) -> None:
        together = [op for op in ops if op.kind == "outers"]
        super()._part([op for op in ops if op not in together], wanted)
        for op in together:
            names, rows = called(op), op.options["rows"]
            given = ["block", *(f"({', '.join(each)},)" for each in (names[:rows], names[rows:]))]
            shapes = tuple(value.shape for value in op.outputs)
            before = "".join(f"sums[{self.summed.index(value)}], " for value in op.outputs)
            made = "".join(f"{value.name}, " for value in op.outputs)
            plan = op.options["plan"]
            self._line(1, f"{made}= outers({', '.join(given)}, {plan}, {shapes}, ({before}))")

    def _room_of_all_steps(self, value: Value) -> str:
        if value in self.places:
            return super()._room_of_all_steps(value)
        if value in self.program.outputs:
            return f"block.output({_room(value)})"
        return self._buffer(value)

    def _buffer(self, value: Value) -> str:
        return f"block.room({_room(value)})"

    # What a step was given lies late in the history of what each handed on: who can reads it there.

    def _begin(self) -> None:
        super()._begin()
        if self.backwards:
            ops = [*self.parts.before, *(op for op in self.parts.after if op.kind != "outers")]
            read = {v for op in ops for v in op.values}
            for value in self.program.sequences:
                if value in read - self.read:
                    self._line(1, f"{value.name} = block.on_time({value.name})")

    def _given(self, value: Value) -> str:
        ends = {*self.program.outputs, *self.summed, *(c.handed_on for c in self.parts.late)}
        return "given" if value in ends.union(*(op.values for op in self.parts.after)) else "late"


def _room(value: Value) -> str:
    return ", ".join(("room", *map(str, value.shape)))
