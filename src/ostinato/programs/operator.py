"""A whole walk as one operator of torch, which a compiler calls and does not look into.

A compiler that reads the loop writes it out step by step, for each length anew, and takes minutes over
a hundred steps. One that meets `ostinato::walk` puts a call into its graph, for any B and T, and the
program runs as it does without a compiler. Nothing of the walk is kept between its two passes, for a
graph hands on tensors alone: the backward pass begins with the walk once more.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.programs import run as programs
from ostinato.programs.compiled import StepProgram, named_tensors, step_program
from ostinato.programs.layout import Layout, lie_by_step
from ostinato.programs.trace import Unknown, Untraceable

MAKERS: dict[str, Callable[[Cell], StepProgram]] = {"program": step_program}
"""Who makes what runs a cell's program, by the name of the row."""

_PROGRAMS: list[tuple[StepProgram, tuple[str, ...]]] = []
"""What graphs call by number, with the names of the cell's tensors; kept as long as a graph may be."""


def why_not(cell: Cell, row: str) -> str | None:
    """Why a row has no program of a cell's step; None if it has."""
    try:
        MAKERS[row](cell)
    except (Untraceable, Unknown) as reason:
        return str(reason)
    return None


def run(
    cell: Cell,
    x: Tensor,
    state: CellState,
    fresh: CellState | None,
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    chunks: int,
    row: str,
) -> tuple[Tensor, CellState]:
    """Walks a cell's program, as a row does without a compiler; to be read by a compiler."""
    # The compiler takes the second for a constant, so that by comparing it notes what the first may be.
    if _options(cell) != _options_now(cell):
        raise AssertionError("read twice while one graph is made, they are the same")
    tensors = list(named_tensors(cell).values())
    anew = [] if fresh is None else list(fresh)
    outputs, *last = walk(
        _number_of(cell, row),
        x,
        list(state),
        anew,
        tensors,
        lengths,
        resets,
        reverse,
        chunks,
    )
    return outputs, type(state)(*last)


def _options(cell: Cell) -> list[object]:
    """What a program has as constants: all plain values of the cell and of the modules within."""
    values = [value for module in cell.modules() for value in vars(module).values()]
    return [value for value in values if isinstance(value, bool | int | float | str)]


def _options_now(cell: Cell) -> list[object]:
    return _options(cell)


def _number_of(cell: Cell, row: str) -> int:
    known = MAKERS[row](cell), tuple(named_tensors(cell))
    if known not in _PROGRAMS:
        _PROGRAMS.append(known)
    return _PROGRAMS.index(known)


def constant(function: Callable[..., object]) -> None:
    """Tells a compiler to call a function when it reads it, and to take the result for a constant."""
    # What torch.compiler.assume_constant_result does, which imports the compiler for it.
    function.__dict__["_dynamo_marked_constant"] = True


for _each in (why_not, _options_now, _number_of):
    constant(_each)


# Said in torch's own words, since how it reads Python's annotations differs from version to version.
_GIVEN = (
    "SymInt program, Tensor x, Tensor[] state, Tensor[] fresh, Tensor[] tensors, Tensor? lengths, "
    "Tensor? resets, bool reverse, SymInt chunks"
)


@torch.library.custom_op("ostinato::walk", mutates_args=(), schema=f"({_GIVEN}) -> Tensor[]")
def walk(
    program: int,
    x: Tensor,
    state: Sequence[Tensor],
    fresh: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    chunks: int,
) -> list[Tensor]:
    """Outputs and the last state; `resets` as the walk meets them."""
    return _walked(program, x, state, fresh, tensors, lengths, resets, reverse, chunks)


def _walked(
    program: int,
    x: Tensor,
    state: Sequence[Tensor],
    fresh: Sequence[Tensor],
    tensors: Sequence[Tensor],
    *call: Any,
) -> list[Tensor]:
    steps, names = _PROGRAMS[program]
    lengths, resets, reverse, chunks = call
    weights = steps.lowered.weights(dict(zip(names, tensors, strict=True)))
    layout = Layout.of(x.shape[0], x.shape[1], lengths, resets, reverse, x.device)
    outputs, last = programs.walk(steps, x, state, fresh, weights, layout, chunks)
    # A compiler has been told that they begin where their memory does.
    outputs = outputs.clone() if outputs.storage_offset() else outputs
    return [outputs, *(each.contiguous() for each in last)]


@walk.register_fake
def _shapes(
    program: int,
    x: Tensor,
    state: Sequence[Tensor],
    fresh: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    chunks: int,
) -> list[Tensor]:
    batch, time = x.shape[:2]
    shape = _PROGRAMS[program][0].output_shape
    if lie_by_step(lengths, resets, reverse):
        outputs = x.new_empty(time, batch, *shape).transpose(0, 1)
    else:
        outputs = x.new_empty(batch, time, *shape)
    return [outputs, *(each.new_empty(each.shape) for each in state)]


@torch.library.custom_op(
    "ostinato::walk_back",
    mutates_args=(),
    schema=f"({_GIVEN}, bool[] wanted, Tensor[] gradients) -> Tensor[]",
)
def walk_back(
    program: int,
    x: Tensor,
    state: Sequence[Tensor],
    fresh: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    chunks: int,
    wanted: Sequence[bool],
    gradients: Sequence[Tensor],
) -> list[Tensor]:
    """The gradients that are wanted of x, state, fresh and tensors, from those of all that has one."""
    parts = (x,), state, fresh, tensors
    given = [
        each.detach().requires_grad_(wish)
        for each, wish in zip((each for part in parts for each in part), wanted, strict=True)
    ]
    (x,), state, fresh, tensors = _parted(given, map(len, parts))
    with _autograd():
        results = _walked(program, x, state, fresh, tensors, lengths, resets, reverse, chunks)
        reached = [each for each in results if each.is_floating_point()]
        pairs = [(a, b) for a, b in zip(reached, gradients, strict=True) if a.requires_grad]
        made = torch.autograd.grad(
            [a for a, _ in pairs],
            [each for each in given if each.requires_grad],
            [b for _, b in pairs],
            materialize_grads=True,
        )
    return [each.contiguous() for each in made]


@contextmanager
def _autograd() -> Iterator[None]:
    """Autograd at work again, inside an operator, where torch puts it out of reach."""
    kept_out = torch._C._dispatch_tls_local_exclude_set()
    let_in = kept_out.remove(torch._C._dispatch_key_parse("AutogradFunctionality"))
    forced = torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), let_in)
    with forced, torch.enable_grad():
        yield


@walk_back.register_fake
def _shapes_back(
    program: int,
    x: Tensor,
    state: Sequence[Tensor],
    fresh: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    chunks: int,
    wanted: Sequence[bool],
    gradients: Sequence[Tensor],
) -> list[Tensor]:
    given = zip((x, *state, *fresh, *tensors), wanted, strict=True)
    return [each.new_empty(each.shape) for each, wish in given if wish]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    program, x, *parts, lengths, resets, reverse, chunks = inputs
    ctx.save_for_backward(x, *(each for part in parts for each in part), lengths, resets)
    ctx.sizes = (1, *map(len, parts))
    ctx.differentiable = [each.is_floating_point() for each in output]
    ctx.program, ctx.reverse, ctx.chunks = program, reverse, chunks


def _back(ctx: Any, gradients: Sequence[Tensor]) -> tuple[Any, ...]:
    *given, lengths, resets = ctx.saved_tensors
    (x,), *parts = _parted(given, ctx.sizes)
    wanted = [
        wish
        for each in ctx.needs_input_grad[1:5]
        for wish in (each if isinstance(each, list) else [each])
    ]
    asked = [each for each, wish in zip(gradients, ctx.differentiable, strict=True) if wish]
    made = iter(
        walk_back(
            ctx.program,
            x,
            *parts,
            lengths,
            resets,
            ctx.reverse,
            ctx.chunks,
            wanted,
            asked,
        )
    )
    (d_x,), *rest = _parted([next(made) if wish else None for wish in wanted], ctx.sizes)
    return None, d_x, *rest, None, None, None, None


walk.register_autograd(_back, setup_context=_keep)


def _parted(values: Sequence[Any], sizes: Any) -> Iterator[list[Any]]:
    left = iter(values)
    return ([next(left) for _ in range(size)] for size in sizes)
