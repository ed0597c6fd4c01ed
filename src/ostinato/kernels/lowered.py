"""A walk laid out for the native machine: stages, and where everything lies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from ostinato.kernels.fusing import fuse
from ostinato.kernels.instructions import (
    Instruction,
    Instructions,
    Operand,
    Piece,
    Terms,
)
from ostinato.kernels.pieces import Run
from ostinato.programs.program import Carried, Op, Value
from ostinato.programs.trace import Unknown

Kind = Literal["array", "given", "handed on", "weight", "constant", "block", "tile", "sum"]
ARRAY, BLOCK, TILE, SUM = 0, 2, 3, 4  # of csrc/core.h
ACTIVATIONS = {"": 0, "sigmoid": 1, "tanh": 2, "relu": 3}
MOST_SLOTS = 192
FIXED = 1  # of an operand: the same column whatever the tile's


@dataclass(frozen=True)
class Slot:
    """A place that operands are found in: one of the caller's tensors, or the machine's scratch."""

    kind: Kind
    value: Value | None = None
    number: float = 0.0
    width: int = 0


@dataclass
class Stage:
    """Instructions done tile by tile; the next begins when a block of rows is done."""

    width: int
    whole: bool
    instructions: list[Instruction] = field(default_factory=list)


@dataclass
class Lowered:
    """What the machine is made of, and what it reads and writes at each call."""

    slots: list[Slot]
    stages: list[Stage]
    reads: list[Value]
    """one tensor of rows each"""
    vectors: list[Value]
    """weights that are met number by number"""
    writes: list[Value]
    carried: tuple[Carried, ...]
    lines: list[Any]
    packs: list[tuple[Value, bool, int, int, int, int, int]]
    """weight, turned, first row, rows, first column, columns, width of the stage"""
    totals: list[Value]
    """what is summed over the rows of all steps"""
    turned: bool
    """whether the last stage is put off until the first one of the next step reads what it makes"""

    @property
    def matrices(self) -> list[Value]:
        """The weights of its products."""
        return list(dict.fromkeys(weight for weight, *_ in self.packs))

    @property
    def kinds(self) -> list[tuple[int, int]]:
        """Of each slot, as the machine asks for them."""
        return [
            ({"block": BLOCK, "tile": TILE, "sum": SUM}.get(slot.kind, ARRAY), slot.width)
            for slot in self.slots
        ]


def lower(
    ops: Sequence[Op],
    carried: Sequence[Carried],
    writes: Sequence[Value],
    operations: Sequence[str],
) -> Lowered:
    """Lays a walk out. `writes` are wanted of every step besides what is carried.

    Raises Unknown for what the machine cannot run.
    """
    return _Lowering(ops, tuple(carried), list(writes), operations).run()


class _Lowering:
    def __init__(
        self,
        ops: Sequence[Op],
        carried: tuple[Carried, ...],
        writes: list[Value],
        operations: Sequence[str],
    ) -> None:
        self.carried, self.writes = carried, writes
        self.numbers = {name: number for number, name in enumerate(operations)}
        self.given = {each.given for each in carried}
        self.slots: list[Slot] = []
        self.slot_of: dict[Any, int] = {}
        self.homes: dict[Piece, tuple[int, int]] = {}
        handed_on = [each.handed_on for each in carried]
        self.code = Instructions(ops, [*handed_on, *writes])
        self.packs: list[tuple[Value, bool, int, int, int, int, int]] = []
        self.pack_of: dict[Any, int] = {}

    def run(self) -> Lowered:
        for each in self.carried:
            self._slot("given", each.given)
            self._home(each.handed_on, self._slot("handed on", each.handed_on))
        for value in self.writes:
            self._home(value, self._slot("array", value))
        for value in self.code.totals:
            slot = self._slot("sum", value, width=prod(value.shape))
            self.homes |= {piece: (slot, piece.start) for piece in self.code.pieces[value]}
        code = fuse(self.code.list, self.homes)
        stages = self._stages(code)
        self._store(stages)
        turned = self._turn(stages)
        lines = [self._stage(stage) for stage in stages]
        if len(self.slots) > MOST_SLOTS:
            raise Unknown(
                f"its walk has {len(self.slots)} values, more than the {MOST_SLOTS} it can hold"
            )
        of_kind = {
            kind: [s.value for s in self.slots if s.kind == kind and s.value is not None]
            for kind in ("array", "weight")
        }
        reads = [v for v in of_kind["array"] if v not in self.writes]
        return Lowered(
            self.slots,
            stages,
            reads,
            of_kind["weight"],
            self.writes,
            self.carried,
            lines,
            self.packs,
            self.code.totals,
            turned,
        )

    # Where things lie.

    def _slot(self, kind: Kind, value: Value | None = None, number: float = 0.0, width: int = 0) -> int:
        key = (kind, value, number, width if kind == "block" else 0)
        if kind == "constant":
            known = self.slot_of.get((kind, number))
            if known is not None:
                if width > self.slots[known].width:
                    self.slots[known] = Slot(kind, None, number, width)
                return known
            key = (kind, number)  # type: ignore[assignment]
        if key not in self.slot_of or kind == "tile":
            self.slot_of[key] = len(self.slots)
            self.slots.append(Slot(kind, value, number, width))
        return self.slot_of[key]

    def _home(self, value: Value, slot: int) -> None:
        """What is wanted is made where it is wanted, or copied there."""
        whole = all(run.base in self.code.made for run in self.code.views.runs(value, value.shape))
        single = len(self.code.views.runs(value, value.shape)) == 1
        for at, operand in self.code.places(value):
            if isinstance(operand, Piece) and operand not in self.homes:
                apart = operand.base in self.code.together
                if not apart or (whole and single and operand.base.shape and _all_of(value, operand)):
                    self.homes[operand] = (slot, at)
                    continue
            copy = self.code._new(operand.length)
            spread = isinstance(operand, Run) and operand.spread and isinstance(operand.base, Value)
            self.code.list.append(Instruction("spread" if spread else "copy", [operand], [copy]))
            self.homes[copy] = (slot, at)

    def _stages(self, code: Sequence[Instruction]) -> list[Stage]:
        made_by = {piece: each for each in code for piece in each.outputs}
        of_base: dict[Value, list[Instruction]] = {}
        for each in code:
            for piece in each.outputs:
                of_base.setdefault(piece.base, []).append(each)
        level: dict[Instruction, int] = {}
        for each in self._in_order(code, made_by, of_base):
            here = 0
            for before, beside in _before(each, made_by, of_base):
                same = beside and not each.whole and not before.whole and before.width == each.width
                here = max(here, level[before] + (not same))
            level[each] = here
        stages: dict[Any, Stage] = {}
        for each in level:
            key = (level[each], bool(each.whole), each.width)
            stages.setdefault(key, Stage(each.width, bool(each.whole))).instructions.append(each)
        return [stages[key] for key in sorted(stages)]

    def _in_order(
        self,
        code: Sequence[Instruction],
        made_by: dict[Piece, Instruction],
        of_base: dict[Value, list[Instruction]],
    ) -> list[Instruction]:
        done: dict[Instruction, None] = {}
        waiting = list(code[::-1])
        while waiting:
            each = waiting[-1]
            missing = [b for b, _ in _before(each, made_by, of_base) if b not in done]
            if missing:
                waiting += missing[::-1]
            else:
                done[each] = None
                waiting.pop()
        return list(done)

    def _store(self, stages: Sequence[Stage]) -> None:
        """What has no home yet: a tile's scratch if nothing else reads it, or a block's."""
        stage_of = {each: stage for stage in stages for each in stage.instructions}
        readers: dict[Piece, list[Instruction]] = {}
        far: set[Operand | Value] = {*self.homes}
        for each in stage_of:
            for operand in each.inputs:
                if isinstance(operand, Piece):
                    readers.setdefault(operand, []).append(each)
                elif isinstance(operand.base, Value):
                    far.add(operand.base)
            for terms in each.terms:
                far.add(terms.a if isinstance(terms.a, Piece) else _value_of(terms.a))
        for stage in stages:
            last: dict[Instruction, list[Piece]] = {}
            for piece in (piece for each in stage.instructions for piece in each.outputs):
                near = [r for r in readers.get(piece, ()) if stage_of[r] is stage]
                apart = piece in far or piece.base in far or stage.whole
                if near and not apart and len(near) == len(readers[piece]):
                    last.setdefault(near[-1], []).append(piece)
            self._share_tiles(stage, last)

    def _share_tiles(self, stage: Stage, last: dict[Instruction, list[Piece]]) -> None:
        """Scratch of a tile is used again when the last instruction has read it (`last`)."""
        local = {piece for gone in last.values() for piece in gone}
        free: list[int] = []
        for each in stage.instructions:
            gone = [self.homes[piece][0] for piece in last.get(each, ())]
            # A product still reads what is added to it when the first columns of its sum are there.
            free += [] if each.terms else gone
            for piece in each.outputs:
                if piece in local:
                    self.homes[piece] = (free.pop() if free else self._slot("tile"), 0)
                elif piece not in self.homes:
                    slot = self._slot("block", piece.base, width=prod(piece.base.shape))
                    self.homes[piece] = (slot, piece.start)
            free += gone if each.terms else []

    # For the machine.

    def _stage(self, stage: Stage) -> tuple[Any, ...]:
        lines = [self._line(each, stage) for each in stage.instructions]
        return stage.width, stage.whole, lines, self._ahead(stage)

    def _ahead(self, stage: Stage) -> list[tuple[int, int, int]]:
        """What a tile reads and writes of arrays, to be asked for while products are summed."""
        found: dict[tuple[int, int, int], None] = {}
        for each in stage.instructions:
            for operand in (*each.inputs, *each.outputs):
                place = self._place(operand, each.width)
                of_step = self.slots[place[0]].kind in ("array", "given", "handed on")
                if of_step and not place[1]:
                    found[place] = None
        return list(found)

    def _turn(self, stages: list[Stage]) -> bool:
        """Puts a stage last that can be put off until the next step, if there is one."""
        first = stages[0]
        for stage in reversed(stages[1:]):
            made = {self.homes[piece] for each in stage.instructions for piece in each.outputs}
            handed_on = {self._slot("handed on", c.handed_on): c.given for c in self.carried}
            alike = stage.width == first.width and not (stage.whole or first.whole)
            here = {piece for each in stage.instructions for piece in each.outputs}
            others = [each for other in stages if other is not stage for each in other.instructions]
            read = any(operand in here for each in others for operand in each.operands)
            columns = {(handed_on[slot], column) for slot, column in made if slot in handed_on}
            scratch = any(self.slots[slot].kind in ("block", "tile") for slot, _ in made)
            lasting = not scratch and self._lasts(stage)
            if alike and columns and lasting and not read and self._beside(first, columns):
                stages.remove(stage)
                stages.append(stage)
                return True
        return False

    def _lasts(self, stage: Stage) -> bool:
        """Whether what a stage reads is still there when the next step has begun.

        Scratch is not, and a state that whole rows are read of may be half written over.
        """
        for each in stage.instructions:
            for operand in each.operands:
                if isinstance(operand, Piece) or operand.base in self.code.made:
                    slot, _, _ = self._place(operand, each.width)
                    if self.slots[slot].kind == "block":
                        return False
            if any(isinstance(t.a, Run) and t.a.base in self.given for t in each.terms):
                return False
        return True

    def _beside(self, stage: Stage, made: set[tuple[Value, int]]) -> bool:
        """Whether a stage reads what is put off no further than its own columns."""
        late = {value for value, _ in made}
        for each in stage.instructions:
            for terms in each.terms:
                if isinstance(terms.a, Run) and terms.a.base in late:
                    return False
            for operand in each.inputs:
                if isinstance(operand, Run) and operand.base in late:
                    aligned = (operand.base, operand.start) in made and operand.length == stage.width
                    if operand.spread or not aligned:
                        return False
        return True

    def _line(self, each: Instruction, stage: Stage) -> tuple[Any, ...]:
        inputs = [self._place(operand, each.width) for operand in each.inputs]
        outputs = [self._place(piece, each.width) for piece in each.outputs]
        if each.op == "product":
            parts = [
                (self._place(terms.a, 0), terms.length, self._pack(terms, each, stage))
                for terms in each.terms
            ]
            return -1, inputs, outputs, parts, ACTIVATIONS[each.activation], 0, each.numbers
        return self.numbers[each.op], inputs, outputs, [], 0, each.whole, each.numbers

    def _place(self, operand: Operand, width: int) -> tuple[int, int, int]:
        if isinstance(operand, Piece):
            slot, column = self.homes[operand]
            return slot, self._fixed(slot), column
        if not isinstance(operand.base, Value):
            return self._slot("constant", number=operand.base, width=width), 0, 0
        slot, column = self._find(operand)
        return slot, int(operand.spread) or self._fixed(slot), column

    def _fixed(self, slot: int) -> int:
        return FIXED if self.slots[slot].kind == "tile" else 0

    def _find(self, run: Run) -> tuple[int, int]:
        """Where a run of a value begins."""
        value = run.base
        assert isinstance(value, Value)
        if value in self.code.pieces:
            for piece in self.code.pieces[value]:
                if piece.start <= run.start < piece.stop:
                    slot, column = self.homes[piece]
                    return slot, column + run.start - piece.start
        if value in self.given:
            return self._slot("given", value), run.start
        return self._slot("array" if value.rows else "weight", value), run.start

    def _pack(self, terms: Terms, each: Instruction, stage: Stage) -> int:
        columns = each.outputs[0].length
        key = (
            terms.weight,
            terms.turned,
            terms.row,
            terms.length,
            terms.column,
            columns,
            stage.width,
        )
        if key not in self.pack_of:
            self.pack_of[key] = len(self.packs)
            self.packs.append(key)
        return self.pack_of[key]


def _value_of(run: Run) -> Value:
    assert isinstance(run.base, Value)
    return run.base


def _all_of(value: Value, piece: Piece) -> bool:
    return prod(value.shape) == prod(piece.base.shape)


def _before(
    each: Instruction,
    made_by: dict[Piece, Instruction],
    of_base: dict[Value, list[Instruction]],
) -> Iterable[tuple[Instruction, bool]]:
    """What an instruction needs, and whether it needs no more of it than the columns it makes."""
    for operand in each.inputs:
        if isinstance(operand, Piece):
            yield made_by[operand], True
        elif isinstance(operand.base, Value):
            for other in of_base.get(operand.base, ()):
                yield other, False
    for terms in each.terms:
        if isinstance(terms.a, Piece):
            yield made_by[terms.a], False
        elif isinstance(terms.a.base, Value):
            for other in of_base.get(terms.a.base, ()):
                yield other, False
