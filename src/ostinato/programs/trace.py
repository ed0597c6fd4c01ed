"""A step, recorded: which operations of torch it calls, on what, and on which line."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ostinato.cells import Cell, activations, masks
from ostinato.errors import OstinatoError, StepError

BATCHES = (2, 3)
"""A step is recorded with each of these; a number that differs between the two is the batch."""


aten = torch.ops.aten

APART = frozenset((aten.unsafe_split.Tensor, aten.unsafe_split_with_sizes.default))
"""Torch's own cells cut with these, and promise to look at the pieces alone from then on."""


class Unknown(Exception):
    """A step's program has something that who should run it does not know; says what."""


class Untraceable(Exception):
    """Why a step cannot become a program; not an error: the reference row runs it."""


@dataclass(frozen=True)
class Batch:
    """Stands in a recorded call for the batch size."""


@dataclass(frozen=True)
class Ref:
    """Stands in a recorded call for a tensor: the index of its name or of what made it."""

    index: int


@dataclass(frozen=True)
class Call:
    """One operation of torch that a step called."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Ref | None, ...]
    shapes: tuple[tuple[Any, ...], ...]
    """of the outputs; () for what is no tensor"""
    line: str
    dtypes: tuple[torch.dtype | None, ...]
    """of the outputs; None for what is no tensor"""


@dataclass(frozen=True)
class Recording:
    """A whole step: what stands behind each reference, the calls, and what was returned."""

    x: Ref
    state: tuple[Ref, ...]
    weights: dict[Ref, str]
    constants: dict[Ref, Tensor]
    calls: tuple[Call, ...]
    output: Ref
    next_state: tuple[Ref, ...]
    row_shapes: tuple[tuple[Any, ...], ...]
    """of x and of each field of the state, the batch first"""
    weight_shapes: dict[Ref, tuple[int, ...]]
    dtype: torch.dtype


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any, str]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler to keep it off this class, which takes a second."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out, _line()))
        return out


class _Watch(_Recorder):  # type: ignore[no-untyped-call]
    """Finds what the operations alone do not show: that autograd was told to look away."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if not torch.is_grad_enabled():
            raise Untraceable(f"{func} at {_line()} is hidden from autograd; leave that to the driver")
        return func(*args, **(kwargs or {}))


def record(cell: Cell) -> Recording:
    """Records one step of a cell.

    Raises StepError for a step that is not one, whoever runs it; Untraceable for one that works but
    is bound to its batch size or to what it was computed from.
    """
    # What inference mode makes has no version to tell a change by, and no gradient.
    with torch.inference_mode(False), _buffers_put_back(cell):
        first, second = (_record(cell, batch) for batch in BATCHES)
        if [call.function for call in first.calls] != [call.function for call in second.calls]:
            raise Untraceable("the step calls other operations for another batch size")
        calls = tuple(_same(a, b) for a, b in zip(first.calls, second.calls, strict=True))
        _check_gradients(cell)
    return Recording(
        first.x,
        first.state,
        first.weights,
        first.constants,
        calls,
        first.output,
        first.next_state,
        first.row_shapes,
        first.weight_shapes,
        first.dtype,
    )


def _inputs(cell: Cell, batch: int, wanting: bool) -> tuple[Tensor, Any]:
    zero = next(cell.parameters(), torch.empty(0)).new_zeros(()).requires_grad_(wanting)
    x = zero.expand(batch, *cell.input_shape).clone()
    fields: tuple[str, ...] = cell.State._fields  # type: ignore[attr-defined]
    state = [
        zero.new_zeros(batch, *shape, dtype=torch.long)
        if field in cell.counters
        else zero.expand(batch, *shape).clone()
        for field, shape in zip(fields, cell.state_shapes, strict=True)
    ]
    return x, cell.State(*state)


def _record(cell: Cell, batch: int) -> Recording:
    x, given = _inputs(cell, batch, wanting=False)
    weights = dict(cell.named_parameters()) | dict(cell.named_buffers())
    watched, buffers = [x, *given, *cell.parameters()], [*cell.buffers()]
    versions, known = _versions(watched), _versions(buffers)
    recorder = _Recorder()
    with torch.random.fork_rng(devices=[]), torch.no_grad(), recorder:
        try:
            returned = cell.step(x, given)
        except OstinatoError:
            raise
        except Exception as error:
            raise Untraceable(f"the step raised {type(error).__name__}: {error}") from error
    if _versions(watched) != versions:
        raise StepError(
            f"{type(cell).__name__}.step changes its input, its state or a weight in place. A step "
            "must leave what it is given as it was: c = c * f, not c *= f."
        )
    if _versions(buffers) != known:
        raise Untraceable("the step changes a buffer of the cell, each time anew")
    _check_returned(cell, batch, returned)
    output, state = returned
    return _Numbering(x, given, weights).recording(recorder, output, state)


def _versions(tensors: Iterable[Tensor]) -> list[int]:
    """How often each has been written to."""
    return [each._version for each in tensors]


@contextmanager
def _buffers_put_back(cell: Cell) -> Iterator[None]:
    """Steps that are walked to look at them leave no mark, as spectral norm's would."""
    before = [(each, each._version, each.clone()) for each in cell.buffers()]
    try:
        yield
    finally:
        for each, version, numbers in before:
            if each._version != version:
                each.copy_(numbers)


def _check_gradients(cell: Cell) -> None:
    """A gradient of the step's own making, or none, cannot be derived from what it calls."""
    x, given = _inputs(cell, BATCHES[0], wanting=True)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), _unseen(), _Watch():
        cell.step(x, given)


def _unseen() -> AbstractContextManager[object]:
    """Hides what this saves from whoever counts or moves saved tensors, as torch.utils.checkpoint does:
    it expects the second of two calls to save as many as the first, which alone looks at the step."""
    if not torch._C._autograd._saved_tensors_hooks_is_enabled():  # type: ignore[attr-defined]
        return nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(_itself, _itself)


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _check_returned(cell: Cell, batch: int, returned: Any) -> None:
    name, kind = type(cell).__name__, cell.State
    if not (isinstance(returned, tuple) and len(returned) == 2):
        raise StepError(
            f"{name}.step: expected it to return (output, {kind.__name__}), got "
            f"{type(returned).__name__}."
        )
    output, state = returned
    if not isinstance(state, kind):
        raise StepError(
            f"{name}.step: expected it to return a state of type {kind.__name__}, as it was given; got "
            f"{type(state).__name__}."
        )
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    shapes = dict(zip(fields, cell.state_shapes, strict=True)) | {"output": cell.output_shape}
    for field, tensor in [*((name, getattr(state, name)) for name in fields), ("output", output)]:
        expected = (batch, *shapes[field])
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != expected:
            got = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            wanted = list(map(str, ("B", *shapes[field])))
            raise StepError(
                f"{name}.step: expected {field} of shape [{', '.join(wanted)}], got {got} with "
                f"B={batch}. Mend the step, or the cell's output_shape or state_shapes."
            )


class _Numbering:
    """Puts numbers in the place of tensors."""

    def __init__(self, x: Tensor, state: Sequence[Tensor], weights: dict[str, Tensor]) -> None:
        self.numbers: dict[int, Ref] = {}
        self.places: dict[int, list[int]] = {}
        self.constants: dict[Ref, Tensor] = {}
        self.x = self._new(x)
        self.state = tuple(self._new(each) for each in state)
        self.weights = {self._new(each): name for name, each in weights.items()}
        self.dtype = x.dtype
        self.row_shapes = tuple(tuple(each.shape) for each in (x, *state))
        self.weight_shapes = {self._new(each): tuple(each.shape) for each in weights.values()}

    def _new(self, tensor: Tensor) -> Ref:
        return self.numbers.setdefault(id(tensor), Ref(len(self.numbers)))

    def _alias(self, function: Any, args: Any, out: Any) -> None:
        """Remembers which tensors of the step's own lie in one place of memory."""
        for each in out if isinstance(out, list | tuple) else (out,):
            if isinstance(each, Tensor) and id(each) not in self.places:
                place = [] if function in APART else self._place_of(each, args)
                place.append(id(each))
                self.places[id(each)] = place

    def _place_of(self, made: Tensor, args: Any) -> list[int]:
        for each in args:
            if isinstance(each, Tensor):
                if each.untyped_storage()._cdata == made.untyped_storage()._cdata:
                    # Of what the step was given, nothing may change.
                    return self.places.setdefault(id(each), [0, id(each)])
            elif isinstance(each, list | tuple):
                found = self._place_of(made, each)
                if found:
                    return found
        return []

    def _elsewhere(self, function: Any, args: Any, line: str) -> Any:
        """The same operation, but not in place: no difference if nobody else looks there."""
        name = function.overloadpacket.__name__
        packet = getattr(aten, name[:-1], None) if name.endswith("_") else None
        instead = getattr(packet, function._overloadname, None)
        if torch.Tag.nondeterministic_seeded in function.tags:
            raise Untraceable(f"{function} at {line} draws random numbers")
        if instead is None or self.places.get(id(args[0])) != [id(args[0])]:
            raise Untraceable(f"{line} changes a tensor in place ({function})")
        return instead

    def _known(self, tensor: Tensor) -> Ref:
        """A tensor that nothing in the step made is a constant of the cell."""
        known = id(tensor) in self.numbers
        ref = self._new(tensor)
        if not known:
            self.constants[ref] = tensor
        return ref

    def _named(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._known(value)
        if isinstance(value, list | tuple):
            return tuple(self._named(each) for each in value)
        return value

    def recording(self, recorder: _Recorder, output: Tensor, state: Sequence[Tensor]) -> Recording:
        calls = []
        for function, args, kwargs, out, line in recorder.calls:
            if function._schema.is_mutable:
                function = self._elsewhere(function, args, line)
            self._alias(function, args, out)
            named = self._named(args), {key: self._named(value) for key, value in kwargs.items()}
            outs = out if isinstance(out, list | tuple) else (out,)
            refs = tuple(self._new(each) if isinstance(each, Tensor) else None for each in outs)
            shapes = tuple(tuple(each.shape) if isinstance(each, Tensor) else () for each in outs)
            dtypes = tuple(each.dtype if isinstance(each, Tensor) else None for each in outs)
            calls.append(Call(function, *named, refs, shapes, line, dtypes))
        return Recording(
            self.x,
            self.state,
            self.weights,
            self.constants,
            tuple(calls),
            self._known(output),
            tuple(self._known(each) for each in state),
            self.row_shapes,
            self.weight_shapes,
            self.dtype,
        )


def _same(a: Call, b: Call) -> Call:
    return Call(
        a.function,
        _merge(a.args, b.args, a),
        {key: _merge(value, b.kwargs[key], a) for key, value in a.kwargs.items()},
        a.outputs,
        _merge(a.shapes, b.shapes, a),
        a.line,
        a.dtypes,
    )


def _merge(a: Any, b: Any, call: Call) -> Any:
    """One argument from two recordings; a number that follows the batch becomes Batch."""
    if isinstance(a, tuple):
        if len(a) == len(b):
            return tuple(_merge(x, y, call) for x, y in zip(a, b, strict=True))
    elif a == b or (a != a and b != b):
        return a
    elif (a, b) == BATCHES:
        return Batch()
    raise Untraceable(f"{call.function} at {call.line} depends on the batch size")


_SKIPPED = (__file__, activations.__file__, masks.__file__, str(Path(torch.__file__).parent))


def _line() -> str:
    """Where the step is, in its author's file: the innermost frame that is no helper's."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_SKIPPED):
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
