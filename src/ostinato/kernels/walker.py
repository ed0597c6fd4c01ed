"""A lowered walk that runs: the caller's tensors put where the machine looks for them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ostinato.kernels.core import core
from ostinato.kernels.lowered import Kind, Lowered
from ostinato.programs.block import Block
from ostinato.programs.program import Value

Array = tuple[int, int, int, int, int]
"""Address, numbers from row to row and from step to step, shift, and by what a step's number is
masked (0 where the rows of all steps lie packed); as csrc/core.h has them."""

EVERY = -1


class Walker:
    """Calls the machine for one block of steps.

    `walker(block, reads, vectors, matrices, starts, fresh, histories, writes) → ends`: the state after
    the last step for the state before the first. Histories are those of `Block.history`, None for a
    carried value that nobody remembers.
    """

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        module = core()
        assert module is not None
        sizes = [(rows, columns, width) for _, _, _, rows, _, columns, width in lowered.packs]
        self.machine = module.Walker(lowered.lines, sizes, lowered.kinds, lowered.turned)
        self.isa = module.isa()
        self._constants = [
            torch.full((slot.width + 64,), slot.number)
            for slot in lowered.slots
            if slot.kind == "constant"
        ]

    def __call__(
        self,
        block: Block,
        reads: Sequence[Tensor],
        vectors: Sequence[Tensor],
        matrices: Sequence[Tensor],
        starts: Sequence[Tensor],
        fresh: Sequence[Tensor | None],
        histories: Sequence[Tensor | None],
        writes: Sequence[Tensor],
    ) -> list[Tensor]:
        lowered, batch, steps = self.lowered, block.batch, len(block.active)
        if not batch or not steps:
            return [each.clone() for each in starts]
        reads = [_rows(each) for each in reads]
        vectors = [each.contiguous() for each in vectors]
        kept: list[Tensor] = [*reads, *vectors]
        places: dict[tuple[Kind, Value | None], Array] = {}

        def rows(tensor: Tensor, shift: int = 0) -> Array:
            row = tensor.stride(0) if tensor.shape[0] > 1 else _width(tensor)
            if not block.even:
                return tensor.data_ptr(), row, 0, 0, 0
            return tensor.data_ptr(), row, row * batch, shift, EVERY

        places |= {("array", v): rows(t) for v, t in zip(lowered.reads, reads, strict=True)}
        places |= {("array", v): rows(t) for v, t in zip(lowered.writes, writes, strict=True)}
        places |= {
            ("weight", v): (t.data_ptr(), 0, 0, 0, EVERY)
            for v, t in zip(lowered.vectors, vectors, strict=True)
        }
        ends, carries = [], []
        for number, each in enumerate(lowered.carried):
            start, history, width = starts[number], histories[number], _width(starts[number])
            given: tuple[Kind, Value] = ("given", each.given)
            handed_on: tuple[Kind, Value] = ("handed on", each.handed_on)
            if block.even and block.cut is None:
                # What a step hands on is written where the next one looks for it.
                later = (0, 1) if not block.backwards else (1, 0)
                if history is None:
                    room, ring = start.new_empty(2, *start.shape), 1
                    room[steps & 1 if block.backwards else 0] = start
                    end = room[0 if block.backwards else steps & 1]
                else:
                    room, ring = history, EVERY
                    end = block.last(block.handed_on(history), start)
                for key, shift in zip((given, handed_on), later, strict=True):
                    places[key] = (room.data_ptr(), width, width * batch, shift, ring)
                kept.append(room)
            else:
                end = start.clone(memory_format=torch.contiguous_format)
                new = torch.empty_like(end) if history is None else block.handed_on(history)
                places[given] = (end.data_ptr(), width, 0, 0, EVERY)
                places[handed_on] = (
                    (new.data_ptr(), width, 0, 0, EVERY) if history is None else rows(new)
                )
                anew = fresh[number]
                if anew is not None and block.cut is not None:
                    anew = anew if block.backwards else anew.contiguous()
                    kept.append(anew)
                carries.append((given, handed_on, width, 0 if anew is None else anew.data_ptr()))
                kept.append(new)
            ends.append(end)
        constants = iter(self._constants)
        arrays: list[Array] = []
        slot_of: dict[tuple[Kind, Value | None], int] = {}
        for number, slot in enumerate(lowered.slots):
            if slot.kind in ("block", "tile"):
                continue
            slot_of[slot.kind, slot.value] = number
            if slot.kind == "constant":
                arrays.append((next(constants).data_ptr(), 0, 0, 0, EVERY))
            else:
                arrays.append(places[slot.kind, slot.value])
        packed = self._packed(block, matrices)
        cut = 0 if block.cut is None else block.cut.data_ptr()
        hands = [(slot_of[a], slot_of[b], width, anew) for a, b, width, anew in carries]
        self.machine.run(
            packed.data_ptr(),
            batch,
            steps,
            [] if block.even else block.active,
            block.backwards,
            torch.get_num_threads(),
            arrays,
            cut,
            hands,
        )
        return ends

    def _packed(self, block: Block, matrices: Sequence[Tensor]) -> Tensor:
        """The weights as its products read them; once a call, whatever the number of its blocks."""
        known: Tensor | None = block.memo.get(self)
        if known is None:
            known = block.memo[self] = torch.empty(max(1, self.machine.packed_size))
            tensors = dict(zip(self.lowered.matrices, matrices, strict=True))
            self.machine.pack(known.data_ptr(), [_part(tensors, pack) for pack in self.lowered.packs])
        return known


def _part(
    tensors: dict[Value, Tensor], pack: tuple[Value, bool, int, int, int, int, int]
) -> tuple[int, int, int]:
    """Where a part of a weight begins, and how far its rows and columns lie apart."""
    value, turned, row, _, column, _, _ = pack
    weight = tensors[value].t() if turned else tensors[value]
    down, along = weight.stride()
    begin = weight.data_ptr() + weight.element_size() * (row * down + column * along)
    return begin, down, along


def _rows(tensor: Tensor) -> Tensor:
    """Rows of numbers, each of which lies together."""
    if tensor.dtype == torch.bool:
        tensor = tensor.float()
    flat = tensor.reshape(tensor.shape[0], _width(tensor))
    return flat if flat.stride(1) == 1 or flat.shape[1] == 1 else flat.contiguous()


def _width(tensor: Tensor) -> int:
    return tensor[0].numel() if tensor.shape[0] else tensor.numel()
