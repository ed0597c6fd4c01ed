"""A lowered walk that runs: the caller's tensors put where the machine looks for them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ostinato.kernels.core import core
from ostinato.kernels.lowered import Lowered
from ostinato.kernels.packed import Packed
from ostinato.programs.block import HOST, Block
from ostinato.programs.program import Value

Array = tuple[int, int, int, int, int]
"""Address, numbers from row to row and from step to step, shift, and by what a step's number is
masked (0 where the rows of all steps lie packed: then rows in front of the first step's, and whether
those of the step before are meant); as csrc/core.h has them."""

Carry = tuple[int, int, int, int]
"""Slots of what a step is given and hands on, its width, and the address of what a cut puts back."""

EVERY = -1

NUMBERS: dict[str, Any] = {"dtype": torch.float32, "device": HOST}
"""What the machine computes with, whatever torch's defaults are."""


class Walker:
    """Calls the machine for one block of steps.

    `walker(block, reads, vectors, matrices, starts, fresh, histories, writes, totals) → ends`: the
    state after the last step for the state before the first. What is summed over all rows is added to
    `totals`. Histories are those of `Block.history`, None for a
    carried value that nobody remembers. Who is not `learning` keeps the weights as they were packed.
    """

    def __init__(self, lowered: Lowered, learning: bool = True) -> None:
        self.lowered = lowered
        self._known = None if learning else Packed()
        module = core()
        assert module is not None
        sizes = [(rows, columns, width) for _, _, _, rows, _, columns, width in lowered.packs]
        self.machine = module.Walker(lowered.lines, sizes, lowered.kinds, lowered.turned)
        self.isa = module.isa()
        outside = [slot for slot in lowered.slots if slot.kind not in ("block", "tile", "sum")]
        self._constants = [
            torch.full((slot.width + 64,), slot.number, **NUMBERS)
            for slot in outside
            if slot.kind == "constant"
        ]
        # The caller's tensors come by kind; the machine takes them in the order of its slots.
        given = [("given", each.given) for each in lowered.carried]
        handed_on = [("handed on", each.handed_on) for each in lowered.carried]
        by_kind = [("array", each) for each in (*lowered.reads, *lowered.writes)]
        by_kind += [("weight", each) for each in lowered.vectors]
        place = {key: i for i, key in enumerate([*by_kind, *given, *handed_on])}
        constants = iter(range(len(place), len(place) + len(self._constants)))
        self._order = [
            next(constants) if slot.kind == "constant" else place[slot.kind, slot.value]  # type: ignore[index]
            for slot in outside
        ]
        numbers = {(slot.kind, slot.value): i for i, slot in enumerate(lowered.slots)}
        self._carried = [
            (numbers["given", each.given], numbers["handed on", each.handed_on])
            for each in lowered.carried
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
        totals: Sequence[Tensor],
    ) -> list[Tensor]:
        batch, steps = block.batch, len(block.active)
        if not batch or not steps:
            return [each.clone() for each in starts]
        call = _Call(block)
        arrays = [
            call.lying(each) if each.dim() > 1 + len(value.shape) else call.read(_rows(each))
            for value, each in zip(self.lowered.reads, reads, strict=True)
        ]
        # A view, or an error: what is written to a copy would be lost.
        arrays += [call.rows(each.view(each.shape[0], -1)) for each in writes]
        arrays += [(call.kept(plain(each).contiguous()), 0, 0, 0, EVERY) for each in vectors]
        cut = block.cut is not None
        carry = call.carry if cut or not block.even else call.next_step
        for slots, start, anew, history in zip(self._carried, starts, fresh, histories, strict=True):
            carry(slots, start, anew, history)
        arrays += call.given
        arrays += call.handed_on
        arrays += [(each.data_ptr(), 0, 0, 0, EVERY) for each in self._constants]
        self.machine.run(
            self._packed(block, matrices),
            batch,
            steps,
            [] if block.even else block.active,
            block.backwards,
            torch.get_num_threads(),
            [arrays[i] for i in self._order],
            block.cut.data_ptr() if block.cut is not None else 0,
            call.carries,
            [each.data_ptr() for each in totals],
        )
        return call.ends

    def _packed(self, block: Block, matrices: Sequence[Tensor]) -> int:
        """The weights as its products read them; once a call, whatever the number of its blocks."""
        known: Tensor | None = block.memo.get(self)
        if known is None:
            make = partial(self._pack, matrices)
            known = block.memo[self] = self._known(matrices, make) if self._known else make()
        return known.data_ptr()

    def _pack(self, matrices: Sequence[Tensor]) -> Tensor:
        packed = torch.empty(max(1, self.machine.packed_size), **NUMBERS)
        tensors = dict(zip(self.lowered.matrices, map(plain, matrices), strict=True))
        parts = [part(tensors, pack) for pack in self.lowered.packs]
        self.machine.pack(packed.data_ptr(), parts, torch.get_num_threads())
        return packed


class _Call:
    """Where the tensors of one call lie, and what keeps them from being freed until it is done."""

    def __init__(self, block: Block) -> None:
        self.block, self.even = block, block.even
        self.held: list[Tensor] = []
        self.given: list[Array] = []
        self.handed_on: list[Array] = []
        self.carries: list[Carry] = []
        self.ends: list[Tensor] = []

    def kept(self, tensor: Tensor) -> int:
        self.held.append(tensor)
        return tensor.data_ptr()

    def read(self, tensor: Tensor) -> Array:
        """The rows of all steps; those of the step before, where they lie late."""
        if self.block.lies_late(tensor):
            return self.kept(tensor), tensor.stride(0), self.block.ahead, 1, 0
        return self.rows(tensor)

    def rows(self, tensor: Tensor) -> Array:
        """The rows of all steps."""
        row = tensor.stride(0) if tensor.shape[0] > 1 else tensor.numel()
        if self.even:
            return self.kept(tensor), row, row * self.block.batch, 0, EVERY
        return self.kept(tensor), row, 0, 0, 0

    def lying(self, tensor: Tensor) -> Array:
        """Rows `[steps, B, …]`, which need not follow one another."""
        tensor = plain(tensor)
        if not tensor[0, 0].is_contiguous():
            tensor = tensor.contiguous()
        step, row = tensor.stride()[:2]
        return self.kept(tensor), row, step, 0, EVERY

    def next_step(
        self, slots: tuple[int, int], start: Tensor, fresh: Tensor | None, history: Tensor | None
    ) -> None:
        """What a step hands on is written where the next one looks for it."""
        block, steps = self.block, len(self.block.active)
        width = start.numel() // block.batch
        if history is None:
            ring = 1
            history = start.new_empty(2, *start.shape)
            history[steps & 1 if block.backwards else 0] = start
            self.ends.append(history[0 if block.backwards else steps & 1])
        else:
            ring = EVERY
            self.ends.append(block.last(block.handed_on(history), start))
        given, handed_on = (1, 0) if block.backwards else (0, 1)
        address, step = self.kept(history), width * block.batch
        self.given.append((address, width, step, given, ring))
        self.handed_on.append((address, width, step, handed_on, ring))

    def carry(
        self, slots: tuple[int, int], start: Tensor, fresh: Tensor | None, history: Tensor | None
    ) -> None:
        """Rows come and go, or are cut: what a step hands on is copied to where all rows have one."""
        block, width = self.block, start.numel() // self.block.batch
        state = start.clone(memory_format=torch.contiguous_format)
        self.ends.append(state)
        self.given.append((state.data_ptr(), width, 0, 0, EVERY))
        if history is None:
            self.handed_on.append((self.kept(torch.empty_like(state)), width, 0, 0, EVERY))
        else:
            self.handed_on.append(self.rows(_rows(block.handed_on(history))))
        anew = 0
        if fresh is not None and block.cut is not None:
            # Backwards it is what gradients are added to.
            anew = self.kept(fresh if block.backwards else plain(fresh).contiguous())
        self.carries.append((*slots, width, anew))


def part(
    tensors: dict[Value, Tensor], pack: tuple[Value, bool, int, int, int, int, int]
) -> tuple[int, int, int]:
    """Where a part of a weight begins, and how far its rows and columns lie apart."""
    value, turned, row, _, column, _, _ = pack
    weight = tensors[value]
    down, along = weight.stride()
    if turned:
        down, along = along, down
    return weight.data_ptr() + 4 * (row * down + column * along), down, along


def plain(tensor: Tensor) -> Tensor:
    """The numbers as they lie in memory: masks, and whatever else a cell may hold, as float32."""
    return tensor.to(torch.float32).resolve_neg()


def _rows(tensor: Tensor) -> Tensor:
    """Rows of numbers, each of which lies together."""
    tensor = plain(tensor)
    if tensor.dim() != 2:
        tensor = tensor.reshape(tensor.shape[0], -1) if tensor.numel() else tensor.flatten(1)
    return tensor if tensor.stride(1) == 1 or tensor.shape[1] == 1 else tensor.contiguous()
