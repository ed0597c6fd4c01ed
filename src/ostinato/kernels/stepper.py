"""One step of a program, run by the native core over and over: packed weights, a state that stays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ostinato.kernels.core import core
from ostinato.kernels.instructions import known
from ostinato.kernels.lowered import Lowered, lower
from ostinato.kernels.slices import by_slices
from ostinato.kernels.walker import Walker, part
from ostinato.programs.compiled import StepProgram
from ostinato.programs.program import Program, Value
from ostinato.programs.source import with_own_results
from ostinato.programs.split import live
from ostinato.programs.trace import Unknown

Watched = tuple[Mapping[str, Tensor | None], str, Tensor]
"""Where a tensor is kept: as long as the same one is there, unchanged, what was made of it is true."""


@dataclass(eq=False)
class Stepper:
    """Steps some streams at once.

    `step(x, out)` reads `x [streams, …]`, steps, and returns the output in `out`, or in a new array of
    x's kind; `run` does so for the steps of `x [streams, T, …]`. Both return None, and do nothing,
    where an array does not fit, and where `stale()`: where a watched tensor is not what it was.
    """

    steps: StepProgram
    input_shape: tuple[int, ...]
    streams: int
    halved: bool
    """whether the weights of products are kept as bfloat16"""

    def __post_init__(self) -> None:
        module = core()
        assert module is not None
        program = whole(self.steps.program, module.operations())
        (y,) = program.outputs
        self.lowered: Lowered = lower(program.ops, program.carried, [y], module.operations())
        # What a step reads of the state lies in one place, what it hands on in the other.
        self.places = {c.given: self._room(2, self.streams, *c.given.shape) for c in program.carried}
        self.counters = {
            c.given: torch.zeros(self.streams, dtype=torch.long, device="cpu")
            for c in self.steps.program.carried
            if c.given.counter
        }
        self.x = self._room(self.streams, *self.input_shape)
        self.y = self._room(self.streams, *y.shape)
        self.vectors = [self._room(*value.shape) for value in self.lowered.vectors]
        self.constants = [
            self._room(slot.width).fill_(slot.number) if slot.kind == "constant" else None
            for slot in self.lowered.slots
        ]
        self.walker = Walker(self.lowered)
        self.machine = machine = module.Session(
            self.walker.machine,
            self._arrays(),
            self.halved,
            *(self.x.data_ptr(), list(self.x.shape), self.y.data_ptr(), list(self.y.shape)),
        )
        self.step, self.run, self.stale = machine.step, machine.run, machine.stale

    @property
    def state(self) -> list[Tensor]:
        """What the next step reads, field by field."""
        turn = self.machine.turn
        now = self.counters | {value: place[turn] for value, place in self.places.items()}
        return [now[each.given] for each in self.steps.program.carried]

    def load(self, weights: Sequence[Tensor], watched: Sequence[Watched]) -> None:
        """Packs the weights of the program anew."""
        known = dict(zip(self.steps.program.weights, weights, strict=True))
        for room, value in zip(self.vectors, self.lowered.vectors, strict=True):
            room.copy_(known[value])
        self.machine.pack([part(known, pack) for pack in self.lowered.packs])
        self.machine.watch(list(watched))

    @staticmethod
    def _room(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float32, device="cpu")

    @property
    def packed_bytes(self) -> int:
        """What a step reads of packed weights."""
        return int(self.walker.machine.packed_size) * (2 if self.halved else 4)

    def _arrays(self) -> list[tuple[int, int, int]]:
        """Of each array of the machine: its place in even steps, in odd ones, from row to row."""
        lowered = self.lowered
        places: dict[tuple[str, Value | None], tuple[int, int, int]] = {}

        def lies(tensor: Tensor) -> tuple[int, int, int]:
            return tensor.data_ptr(), tensor.data_ptr(), tensor[0].numel()

        for each in lowered.carried:
            place = self.places[each.given]
            even, odd, row = place[0].data_ptr(), place[1].data_ptr(), place[0, 0].numel()
            places["given", each.given] = even, odd, row
            places["handed on", each.handed_on] = odd, even, row
        for value, vector in zip(lowered.vectors, self.vectors, strict=True):
            places["weight", value] = vector.data_ptr(), vector.data_ptr(), 0
        places |= {("array", value): lies(self.x) for value in lowered.reads}
        places |= {("array", value): lies(self.y) for value in lowered.writes}
        arrays = []
        for slot, constant in zip(lowered.slots, self.constants, strict=True):
            if constant is not None:
                arrays.append((constant.data_ptr(), constant.data_ptr(), 0))
            elif slot.kind not in ("block", "tile"):
                arrays.append(places[slot.kind, slot.value])
        return arrays


def whole(program: Program, operations: Iterable[str]) -> Program:
    """A step as one walk: nothing before it or after it, and every carried value one of its own.

    Counters that stay as they are, which is all that they do in evaluation, are left out.
    Raises Unknown, naming it, for what the core does not know.
    """
    operations = frozenset(operations)
    for each in program.carried:
        if each.given.counter and each.handed_on is not each.given:
            raise Unknown(f"{each.given} counts, which the core does not")
    carried = [each for each in program.carried if not each.given.counter]
    ops = by_slices(live(program.ops, {*program.outputs, *(each.handed_on for each in carried)}))
    for op in ops:
        if not known(op, operations):
            raise Unknown(f"{op.kind} at {op.line} is not an operation of the core")
    program = replace(program, ops=tuple(ops), carried=tuple(carried))
    return with_own_results(program, walked=carried)
