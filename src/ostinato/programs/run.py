"""Runs a cell's program over a batch of sequences: forwards, and backwards for autograd."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, starmap
from typing import Any

import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.programs.block import Block, beside
from ostinato.programs.compiled import Derived, StepProgram
from ostinato.programs.layout import Layout
from ostinato.programs.source import Runnable

WALKED, SCANNED, TILED = 1 << 19, 1 << 18, 1 << 26
"""So many numbers of the widest value in a block. A scan works on all its steps at once, and is fastest
where they stay in the second cache; a walk works on one at a time, and gains by fewer blocks; one that
works tile by tile has nothing beside what it keeps or puts out."""

FEW_GRADIENTS, GRADIENTS, GRADIENT_ROWS = 3 << 19, 1 << 21, 1 << 11
"""The same backwards, tile by tile, where the gradients that weights are to meet are kept for a block.
More than the first are cut in parts, to save memory, of about as many as the second, but not of fewer
rows than the third, over which a wide weight's gradient would be summed for too little."""


@dataclass(eq=False)
class _Call:
    """What one call works with."""

    steps: StepProgram
    layout: Layout
    fields: int
    derived: Derived | None
    chunks: int

    @property
    def once(self) -> bool:
        """Whether one block is the whole, its rows as they lie and nobody else's."""
        layout = self.layout
        some = layout.order is None and layout.batch * layout.time > 0
        return some and self.steps.tiled and self.chunks == 1 and self.block_steps >= layout.time

    @property
    def alone(self) -> bool:
        """Whether what one block puts out can be handed out as it is."""
        return self.once and not (self.derived is not None and self.derived.keeps_output)

    @property
    def block_steps(self) -> int:
        most = self.steps_of(
            SCANNED if self.steps.inference.scanned else TILED if self.steps.tiled else WALKED
        )
        # What a block works with is then no more than what a chunk keeps.
        return most if self.chunks == 1 else min(most, max(8, self.chunk_steps // 4))

    def steps_of(self, numbers: int) -> int:
        """How many steps have so many numbers of the widest value, one at least."""
        return max(1, numbers // max(1, self.layout.batch * self.steps.width))

    def gradient_parts(self, block: Block) -> int:
        """In how many parts the backward pass takes a forward block."""
        numbers = block.rows * self.steps.width
        if not self.steps.tiled or numbers <= FEW_GRADIENTS:
            return 1
        most = max(GRADIENTS // self.steps.width, GRADIENT_ROWS)
        return max(2, -(-block.rows // most))

    def gradient_blocks(
        self, rows: slice, block: Block, values: Sequence[Tensor]
    ) -> Iterator[tuple[slice, Block, Sequence[Tensor]]]:
        """A forward block as the backward pass walks it, last steps first."""
        for part, steps in block.parts(self.gradient_parts(block)):
            there = slice(rows.start + part.start, rows.start + part.stop)
            yield there, steps, [block.of_part(each, part, steps) for each in values]

    @property
    def chunk_steps(self) -> int:
        return max(1, -(-len(self.layout.active) // self.chunks))

    def sorted(self, fresh: Sequence[Tensor]) -> list[Tensor | None]:
        """The fresh state in the order of the rows; None for each field where no row is reset."""
        return [self.layout.sort(each) for each in fresh] or [None] * self.fields

    def bounds(self) -> list[tuple[int, int]]:
        """The chunks of time between which only the state is kept."""
        time = len(self.layout.active)
        size = self.chunk_steps
        return [(start, min(start + size, time)) for start in range(0, time, size)]


def run(
    cell: Cell,
    x: Tensor,
    state: CellState,
    fresh: CellState | None,
    layout: Layout,
    chunks: int,
    steps: StepProgram,
) -> tuple[Tensor, CellState]:
    """Walks a cell's program over a checked `x [B, T, …]`; `fresh` is what a reset puts back."""
    anew = [] if fresh is None else fresh
    outputs, last = walk(steps, x, state, anew, steps.weights_of(cell), layout, chunks)
    return outputs, type(state)(*last)


def walk(
    steps: StepProgram,
    x: Tensor,
    state: Sequence[Tensor],
    fresh: Sequence[Tensor],
    weights: Sequence[Tensor],
    layout: Layout,
    chunks: int,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Walks a program, for autograd if something wants a gradient; `fresh` is empty without resets."""
    inputs = [x, *state, *fresh, *weights]
    if torch.is_grad_enabled() and any(each.requires_grad for each in inputs):
        derived = steps.derived(x.requires_grad, tuple(each.requires_grad for each in weights))
        call = _Call(steps, layout, len(state), derived, chunks)
        outputs, *last = _Walk.apply(call, *inputs)  # type: ignore[no-untyped-call]
    else:
        call = _Call(steps, layout, len(state), None, 1)
        outputs, last, _ = _forward(call, x, state, fresh, weights, keep=False)
    return outputs, last


def _forward(
    call: _Call,
    x: Tensor,
    state: Sequence[Tensor],
    fresh: Sequence[Tensor],
    weights: Sequence[Tensor],
    keep: bool,
) -> tuple[Tensor, list[Tensor], list[Any]]:
    """Outputs, the last state, and what to keep: each chunk's first state, or each block's values."""
    layout = call.layout
    source = layout.source(x)
    at: list[Tensor] = [layout.sort(each) for each in state]
    anew = call.sorted(fresh)
    outputs = None if call.alone else layout.outputs(x, call.steps.output_shape, call.steps.empty)
    made: list[Tensor] = []
    past: list[Any] = []
    for first, last in call.bounds():
        kept: list[Any] = []
        if call.chunks > 1 and keep:
            # A copy: the state lies in the history of a whole block, which would be kept with it.
            past.append([each.clone() for each in at])
        at = _walk(call, first, last, source, at, anew, weights, outputs, kept if keep else None, made)
        if call.chunks == 1 and keep:
            past += kept
    if outputs is None:
        outputs = layout.as_outputs(made[0])
    # What was packed for this pass is of no use to the next.
    layout.memo.clear()
    # A copy, for the caller may change it, and what the backward pass keeps may lie beside it.
    return outputs, [layout.unsort(each).clone() for each in at], past


def _walk(
    call: _Call,
    first: int,
    last: int,
    source: Tensor,
    at: list[Tensor],
    fresh: Sequence[Tensor | None],
    weights: Sequence[Tensor],
    outputs: Tensor | None,
    kept: list[Any] | None,
    made: list[Tensor] | None = None,
) -> list[Tensor]:
    """Walks the blocks of one chunk; the state after it. What they put out goes to one of the two."""
    program = call.steps.inference if kept is None else call.derived.forward  # type: ignore[union-attr]
    for rows, block in call.layout.blocks(call.block_steps, first, last):
        sequences = [_taken(call, program, source, rows, block)] if call.steps.program_reads_x else []
        (output,), values, at, _ = program.function(block, *sequences, *weights, *at, *fresh)
        if outputs is not None:
            call.layout.put(outputs, rows, output)
        elif made is not None:
            made.append(output)
        if kept is not None:
            kept.append((rows, block, values))
    return at


def _taken(
    call: _Call, program: Runnable, source: Tensor, rows: slice, block: Block
) -> Tensor | Sequence[Tensor]:
    """What a block reads of its first sequence."""
    if program.first == "steps":
        return call.layout.steps(source, rows, block)
    if program.first == "lying":
        return call.layout.lying(source, rows)
    return call.layout.take(source, rows)


class _Walk(torch.autograd.Function):
    """The walk, with the derived backward program."""

    @staticmethod
    def forward(ctx: Any, call: _Call, x: Tensor, *rest: Tensor) -> Any:
        state, fresh, weights = _cut_up(call, rest)
        outputs, last, past = _forward(call, x, state, fresh, weights, keep=True)
        if call.chunks == 1:
            ctx.blocks = [(rows, block) for rows, block, _ in past]
            past = [values for _, _, values in past]
        ctx.call = call
        # Saved tensors are freed once the backward pass has used them, whoever still holds the outputs.
        ctx.save_for_backward(x, *rest, *(each for part in past for each in part))
        return (outputs, *last)

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, *d_last: Tensor) -> Any:
        call, (x, *rest) = ctx.call, ctx.saved_tensors
        given = len(ctx.needs_input_grad) - 2
        rest, past = rest[:given], rest[given:]
        twice = torch.is_grad_enabled()
        if twice or any(map(_many, (d_outputs, *d_last))):
            return None, *_by_autograd(call, x, rest, (d_outputs, *d_last), twice)
        layout, derived = call.layout, call.derived
        _, fresh, weights = _cut_up(call, rest)
        at = call.steps.counters_left_out([layout.sort(each) for each in d_last])
        d_fresh = call.steps.counters_left_out(
            [None if each is None else each.new_zeros(each.shape) for each in call.sorted(fresh)]
        )
        source = layout.source(d_outputs)
        wanted = ctx.needs_input_grad[1]
        filled = bool(derived.program.outputs)
        d_x = layout.gradient(x, filled, call.steps.empty) if wanted else None
        sums: list[Tensor | None] = [None] * sum(len(v) for _, v in derived.backward.program.sums)
        blocks = _blocks_from_the_end(ctx, call, x, fresh, weights, past)
        for rows, block, values in chain.from_iterable(starmap(call.gradient_blocks, blocks)):
            reads = derived.reads_output_gradient
            d_output = [_taken(call, derived.run, source, rows, block)] if reads else []
            known = [weights[i] for i in derived.weights]
            into = None if d_x is None or not filled else layout.lies(d_x, rows)
            outputs, _, at, parts = derived.run.function(
                block.turned(into), *d_output, *values, *known, *at, *d_fresh, *([sums] if sums else [])
            )
            if d_x is not None and outputs and outputs[0] is not into:
                layout.put(d_x, rows, outputs[0])
            # Not in place, unless the program did so: two weights may share one sum, and a sum of one
            # row is that row itself.
            sums = [b if a is None or a is b else a + b for a, b in zip(sums, parts, strict=True)]
            # Before the next one is gathered.
            del d_output
        d_state = call.steps.counters_put_back([layout.unsort(each) for each in at])
        d_anew = call.steps.counters_put_back(
            [None if each is None else layout.unsort(each) for each in d_fresh]
        )
        return None, d_x, *d_state, *d_anew[: len(fresh)], *derived.by_weight(sums)


def _cut_up(
    call: _Call, rest: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """State, fresh state if there is one, and weights."""
    fields, weights = call.fields, len(call.steps.program.weights)
    end = len(rest) - weights
    return rest[:fields], rest[fields:end], rest[end:]


def _blocks_from_the_end(
    ctx: Any,
    call: _Call,
    x: Tensor,
    fresh: Sequence[Tensor],
    weights: Sequence[Tensor],
    past: Sequence[Tensor],
) -> Iterator[tuple[slice, Block, list[Tensor]]]:
    """The forward pass's blocks and values, last first; walked again where states alone were kept."""
    if call.chunks == 1:
        size = len(call.derived.kept)  # type: ignore[union-attr]
        for number, (rows, block) in reversed(list(enumerate(ctx.blocks))):
            yield rows, block, list(past[number * size : (number + 1) * size])
        return
    source = call.layout.source(x)
    anew = call.sorted(fresh)
    for number, (first, last) in reversed(list(enumerate(call.bounds()))):
        at = list(past[number * call.fields : (number + 1) * call.fields])
        kept: list[Any] = []
        _walk(call, first, last, source, at, anew, weights, None, kept)
        while kept:
            yield kept.pop()


MANY = [torch._C._dispatch_key_parse(name) for name in ("Batched", "FuncTorchBatched")]
"""The marks of a tensor that stands for many at once, as torch has had them and has them now."""


def _many(gradient: Tensor) -> bool:
    keys = torch._C._dispatch_keys(gradient)
    return any(keys.has(key) for key in MANY)


@torch.enable_grad()
def _by_autograd(
    call: _Call, x: Tensor, rest: Sequence[Tensor], given: Sequence[Tensor], twice: bool
) -> Sequence[Tensor | None]:
    """The same gradients, made by autograd from the plain loop: they may have gradients too (`twice`),
    and be those of many gradients at once, as a vectorized Jacobian asks."""
    layout = call.layout
    state, fresh, weights = _cut_up(call, rest)
    at = [layout.sort(each) for each in state]
    anew = [layout.sort(each) for each in fresh]
    outputs = []
    source = layout.source(x)
    for rows, block in layout.blocks(1):
        count = rows.stop - rows.start
        now = [each[:count] for each in at]
        if block.cut is not None:
            mask = block.cut
            now = [torch.where(beside(mask, a), b[:count], a) for a, b in zip(now, anew, strict=True)]
        sequences = [layout.take(source, rows)] if call.steps.program_reads_x else []
        output, stepped = call.steps.one_step(*sequences, *weights, *now)
        at = [torch.cat([new, old[count:]]) for new, old in zip(stepped, at, strict=True)]
        outputs.append(output)
    whole = layout.unpack(torch.cat(outputs)) if outputs else x.new_zeros(given[0].shape)
    inputs = [each for each in (x, *rest) if each.requires_grad]
    every = (whole, *map(layout.unsort, at))
    results = [(a, b) for a, b in zip(every, given, strict=True) if a.requires_grad]
    gradients = torch.autograd.grad(
        [a for a, _ in results], inputs, [b for _, b in results], create_graph=twice, allow_unused=True
    )
    left = list(gradients)
    return [left.pop(0) if each.requires_grad else None for each in (x, *rest)]
