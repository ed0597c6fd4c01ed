"""A part of a plain walk that keeps only what it is given, and is walked once more when gradients are.

torch's own activation checkpointing does the same, but keeps the graph of the first walk, empty of
tensors, until the second: over thousands of small steps that graph is most of the memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.errors import RowError

Loop = Callable[..., tuple[Tensor, CellState]]
"""`(cell, x [B, T, …], state, fresh, valid, resets) → (outputs [B, T, …], state)`."""


def in_chunks(loop: Loop, size: int) -> Loop:
    """The loop over so many steps at a time, between which the state alone is kept.

    The loop raises RowError inside a transform of torch.func, which keeps the past in its own way.
    """

    def chunked(
        cell: Cell,
        x: Tensor,
        state: CellState,
        fresh: CellState | None,
        *masks: Tensor | None,
    ) -> tuple[Tensor, CellState]:
        outputs = []
        # Taken apart once: the gradient of each slice would be as large as the whole.
        for number, part in enumerate(torch.split(x, size, 1)):
            steps = slice(number * size, (number + 1) * size)
            parts = (None if each is None else each[:, steps] for each in masks)
            output, state = _one_chunk(loop, cell, part, state, fresh, *parts)
            outputs.append(output)
        return torch.cat(outputs, 1), state

    return chunked


def _one_chunk(loop: Loop, cell: Cell, *given: Any) -> tuple[Tensor, CellState]:
    if torch.compiler.is_compiling():  # which knows torch's own way, and how to keep it small
        kept: tuple[Tensor, CellState] = checkpoint(loop, cell, *given, use_reentrant=False)
        return kept
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise RowError(
            f"{type(cell).__name__}: expected recompute=None inside a transform of torch.func, which "
            "keeps the past in its own way; got chunks that are to be walked again. Make the layer "
            "without recompute there."
        )
    return _again(loop, cell, *given)


def _again(
    loop: Loop,
    cell: Cell,
    x: Tensor,
    state: CellState,
    fresh: CellState | None,
    valid: Tensor | None,
    resets: Tensor | None,
) -> tuple[Tensor, CellState]:
    """What `loop` returns for the same arguments; chance and autocast are the same at the second walk.

    The cell's weights are inputs like the others, so it does not matter whose they are, nor whether
    they have been put in its place for this call alone. Gradients of gradients are had by walking with
    autograd as usual.
    """
    kind, fields = type(state), len(state)
    names = [f"cell.{name}" for name, _ in (*cell.named_parameters(), *cell.named_buffers())]
    weights = [*cell.parameters(), *cell.buffers()]
    part = _Part(loop, cell)

    def run(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        x, *rest = tensors
        start, anew, own = (
            rest[:fields],
            rest[fields : -len(names) or None],
            rest[len(rest) - len(names) :],
        )
        outputs, last = torch.func.functional_call(
            part,
            dict(zip(names, own, strict=True)),
            (x, kind(*start), kind(*anew) if anew else None, valid, resets),
        )
        return outputs, *last

    outputs, *last = _Again.apply(run, x, *state, *(fresh or ()), *weights)  # type: ignore[no-untyped-call]
    return outputs, kind(*last)


class _Part(nn.Module):
    """The loop as a module, so that weights can be put into it."""

    def __init__(self, loop: Loop, cell: Cell):
        super().__init__()
        self.loop, self.cell = loop, cell

    def forward(self, *given: Any) -> tuple[Tensor, CellState]:
        return self.loop(self.cell, *given)


class _Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> Any:
        ctx.run, ctx.surroundings = run, _surroundings(tensors[0].device)
        ctx.save_for_backward(*tensors)
        # Copies, for a step may hand on what it was given, or one tensor twice.
        outputs, *last = run(tensors)
        return outputs, *(each.clone() for each in last)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        twice, wishes = torch.is_grad_enabled(), ctx.needs_input_grad[1:]
        tensors = ctx.saved_tensors
        if not twice:
            pairs = zip(tensors, wishes, strict=True)
            tensors = [each.detach().requires_grad_(wish) for each, wish in pairs]
        with torch.enable_grad(), ctx.surroundings():
            results = ctx.run(tensors)
        reached = [(a, b) for a, b in zip(results, given, strict=True) if a.requires_grad]
        gradients = list(
            torch.autograd.grad(
                [a for a, _ in reached],
                [each for each, wish in zip(tensors, wishes, strict=True) if wish],
                [b for _, b in reached],
                create_graph=twice,
                allow_unused=True,
            )
        )
        return None, *(gradients.pop(0) if wish else None for wish in wishes)


def _surroundings(device: torch.device) -> Callable[[], Any]:
    """Brings back what a walk depends on besides its tensors: torch's generators, and autocast."""
    chance = torch.get_rng_state()
    devices = [] if device.type == "cpu" else [device]
    module = getattr(torch, device.type)
    on_device = [module.get_rng_state(each) for each in devices]
    cast = (torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type))

    @contextmanager
    def as_before() -> Iterator[None]:
        with (
            torch.random.fork_rng(devices, device_type=device.type),
            torch.autocast(device.type, enabled=cast[0], dtype=cast[1]),
        ):
            torch.set_rng_state(chance)
            for each, known in zip(devices, on_device, strict=True):
                module.set_rng_state(known, each)
            yield

    return as_before
