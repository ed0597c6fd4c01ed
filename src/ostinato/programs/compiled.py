"""A cell's program, traced once and kept; its backward programs too."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.programs.builder import VIEWS
from ostinato.programs.derive import Backward, derive
from ostinato.programs.factors import gather_factors
from ostinato.programs.lower import Lowered, lower, without_weight_work
from ostinato.programs.memory import plan
from ostinato.programs.program import Program, Value, producers
from ostinato.programs.rewrite import rewritten
from ostinato.programs.source import Runnable, one_step, runnable
from ostinato.programs.split import Parts, split
from ostinato.programs.trace import Untraceable, record
from ostinato.programs.unrolled import Unrolled, unrolled

T = TypeVar("T")


def named_tensors(cell: Cell) -> dict[str, Tensor]:
    """All parameters and buffers of a cell, by name."""
    return dict(cell.named_parameters()) | dict(cell.named_buffers())


@dataclass(eq=False)
class Derived:
    """A forward program that keeps what its backward program needs, and that backward program."""

    forward: Runnable
    kept: tuple[Value, ...]
    backward: Backward
    """as derived"""
    program: Program
    """with what it computes once more"""
    run: Runnable
    reads_output_gradient: bool
    weights: tuple[int, ...]
    """which of the forward program's weights it reads"""
    forward_weights: tuple[Value, ...]
    keeps_output: bool
    """whether what is put out lies where something is kept"""

    def by_weight(self, sums: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The gradient of each of the forward program's weights; None where nobody wants it."""
        gradients: dict[Value, Tensor | None] = {}
        left = list(sums)
        for weight, values in self.backward.program.sums:
            for part in (left.pop(0) for _ in values):
                known = gradients.get(weight)
                gradients[weight] = part if known is None or part is None else known + part
        return [gradients.get(value) for value in self.forward_weights]


@dataclass(eq=False)
class StepProgram:
    """What is known of a kind of cell: its program in three parts, and its backward programs."""

    lowered: Lowered
    _derived: dict[Hashable, Derived] = field(default_factory=dict)

    tiled: ClassVar[bool] = False
    """Whether what is computed stays in the first cache: then no factors are gathered before the walk,
    and a value is computed again rather than kept."""

    @property
    def program(self) -> Program:
        return self.lowered.program

    def weights_of(self, cell: Cell) -> list[Tensor]:
        """What the program reads of a cell's weights, as autograd sees them now."""
        return self.lowered.weights(named_tensors(cell))

    def counters_left_out(self, state: Sequence[T]) -> list[T]:
        """Of what there is for each field of the state, that of fields that have a gradient."""
        carried = self.program.carried
        return [each for each, c in zip(state, carried, strict=True) if not c.given.counter]

    def counters_put_back(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """None for the counters."""
        left = list(gradients)
        return [None if c.given.counter else left.pop(0) for c in self.program.carried]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.program.outputs[0].shape

    @cached_property
    def program_reads_x(self) -> bool:
        return bool(self.program.sequences)

    @cached_property
    def width(self) -> int:
        """Of the widest value of a row."""
        made = [value for op in self.program.ops for value in op.outputs]
        values = (*made, *self.program.sequences, *(c.given for c in self.program.carried))
        return max(prod(value.shape) for value in values)

    @cached_property
    def parts(self) -> Parts:
        return split(self.program)

    def runnable(
        self,
        program: Program,
        read: Iterable[Value],
        keep: Sequence[Value] = (),
        backwards: bool = False,
    ) -> Runnable:
        """What runs a program forwards or backwards, and returns the values to keep."""
        return runnable(program, read, keep, backwards)

    def empty(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Room for what is handed to the caller."""
        return like.new_empty(shape)

    @cached_property
    def inference(self) -> Runnable:
        """The forward pass that keeps nothing."""
        return self.runnable(self.program, self.program.sequences)

    @cached_property
    def one_step(self) -> Callable[..., tuple[Tensor, tuple[Tensor, ...]]]:
        """One step as a function of x, weights and state, which autograd can follow."""
        return one_step(self.program)

    @cached_property
    def unrolled(self) -> Unrolled:
        """Any fixed number of steps without a loop, for a compiler."""
        return unrolled(self.program)

    def derived(self, x: bool, weights: tuple[bool, ...]) -> Derived:
        """Forward and backward for the gradients that are wanted."""
        key = (x, weights)
        if key not in self._derived:
            wanted = [w for w, wish in zip(self.program.weights, weights, strict=True) if wish]
            backward = derive(self.program, self.program.sequences if x else (), wanted)
            kept, again = plan(self.program, backward.values, self.tiled)
            program = backward.program
            gradients = tuple(g for g in backward.output_gradients if g in program.sequences)
            read = {v for op in (*again, *program.ops) for v in op.values if not v.rows}
            used = tuple(w for w in self.program.weights if w in read)
            program = program.with_ops(
                (*again, *program.ops), sequences=(*gradients, *kept), weights=used
            )
            program = program if self.tiled else gather_factors(program)
            self._derived[key] = Derived(
                self.runnable(self.program, self.program.sequences, kept),
                kept,
                backward,
                program,
                self.runnable(program, gradients, backwards=True),
                bool(gradients),
                tuple(self.program.weights.index(w) for w in used),
                self.program.weights,
                _keeps_output(self.program, kept),
            )
        return self._derived[key]


def _keeps_output(program: Program, kept: Sequence[Value]) -> bool:
    """Whether the output is, or is looked at by way of views in, what is kept or handed on."""
    made_by = producers(program.ops)

    def roots(value: Value) -> set[Value]:
        op = made_by.get(value)
        if op is None or op.kind not in VIEWS:
            return {value}
        return {root for each in op.values for root in roots(each)}

    taken = {root for each in kept for root in roots(each)} | {*program.sequences, *program.weights}
    taken |= {root for c in program.carried for each in (c.given, c.handed_on) for root in roots(each)}
    return bool(roots(program.outputs[0]) & taken)


MOST = 256
"""Kinds of cells whose programs are kept; the oldest goes first."""

_KNOWN: dict[Hashable, StepProgram | Untraceable] = {}


def step_program(cell: Cell) -> StepProgram:
    """The program of a cell's step; traced at the first call for its kind, options and widths.

    Raises Untraceable for a step that cannot become one, StepError for one that is no step.
    """
    asked = _ASKED.get()
    if asked is not None and asked.cell is cell and asked.program is not None:
        return asked.program
    key = (type(cell), cell.training, _options(cell), _tied(cell))
    known = _KNOWN.get(key)
    if known is None:
        try:
            known = _traced(cell)
        except Untraceable as reason:
            known = reason
        _KNOWN[key] = known
        if len(_KNOWN) > MOST:
            del _KNOWN[next(iter(_KNOWN))]
    if isinstance(known, Untraceable):
        raise known.with_traceback(None)
    if asked is not None and asked.cell is cell:
        asked.program = known
    return known


class Call:
    """While a cell is called nothing of it changes: within, it is looked at but once."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.program: StepProgram | None = None

    def __enter__(self) -> None:
        self.token = _ASKED.set(self)

    def __exit__(self, *_: object) -> None:
        _ASKED.reset(self.token)


_ASKED: ContextVar[Call | None] = ContextVar("the cell that is being called", default=None)


def _traced(cell: Cell) -> StepProgram:
    fields: tuple[str, ...] = cell.State._fields  # type: ignore[attr-defined]
    lowered = lower(record(cell), fields, cell.counters)
    return StepProgram(without_weight_work(lowered, rewritten(lowered.program)))


_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _options(module: nn.Module) -> Hashable:
    """All that a step may depend on besides the numbers in its weights."""
    own = tuple(
        (name, _plain(value)) for name, value in vars(module).items() if name not in _OF_EVERY_MODULE
    )
    tensors = tuple(
        (name, None if each is None else (tuple(each.shape), each.dtype, each.device))
        for kind in (module._parameters, module._buffers)
        for name, each in kind.items()
    )
    inner = tuple(
        (name, type(each), each.training, _options(each))
        for name, each in module._modules.items()
        if each is not None
    )
    return own, tensors, inner


def _tied(cell: Cell) -> Hashable:
    """Which of its weights are one and the same: those have one name in a program."""
    first: dict[int, int] = {}
    named = (
        *cell.named_parameters(remove_duplicate=False),
        *cell.named_buffers(remove_duplicate=False),
    )
    return tuple(first.setdefault(id(each), number) for number, (_, each) in enumerate(named))


@dataclass(frozen=True, eq=False)
class _Same:
    """Stands for an object that can only be told from others by being itself."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _plain(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple((key, _plain(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    return value if isinstance(value, str | int | float | None) else _Same(value)
