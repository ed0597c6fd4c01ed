"""Cells of other libraries: what they return, told apart into output and state."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell, CellState, HiddenState
from ostinato.cells.lstm import LSTMState
from ostinato.cells.structure import flatten, rebuild
from ostinato.errors import OptionError, StepError

Pick = int | Callable[[Any], Any]
"""Where something stands in what a module returns: an index, or a function of it."""

Shapes = Sequence[Any]
"""One shape, `(H,)`, or a tuple of them, nested as the module nests its state."""

_BATCHES = (2, 3)
"""Two sizes: an axis that follows both is the batch, and a state of two tensors can be unpacked from
a tensor of two rows, but not from one of three."""


class _Reading(NamedTuple):
    """How a module's calls are understood."""

    output: Pick | None
    state: Pick | None
    structure: Any
    """of the state, as the module wants it"""
    axes: tuple[int, ...]
    """where each tensor of the state has its batch"""
    shapes: tuple[tuple[int, ...], ...]
    """of one row of each, without the batch"""
    output_shape: tuple[int, ...]
    kind: type


class Adapted(Cell):
    """Any module with `forward(x_t, state)` as a cell: torch's own, another library's, one of yours.

    `Recurrent(Adapted(torch.nn.LSTMCell(3, 4)))` has lengths, resets and direction, and the weights
    are the module's own parameters, not copies.

    The module is called a few times on tiny zeros, in evaluation mode and without a trace, to find out

    - what it returns: the new state alone, its first tensor being the output (as `torch.nn.LSTMCell`
      and `GRUCell` do), or an output and the state beside it. Where both orders of such a pair fit,
      the output is taken to come first; where the whole and a part of it both fit, you are asked;
    - how its state is nested, and which axis of each tensor is the batch.

    Shapes: `x_t [B, I] → output_t [B, …]`. State: `HiddenState(h)` for one tensor that is the output,
    `LSTMState(h, c)` for two of which the first is, else `state_0`, `state_1`, … in the order in which
    the module nests them; the batch is moved to the first axis.

    `input_size`, `hidden_size`: the module's attributes of that name unless given; the hidden size is
    otherwise the width of the output.
    `output`, `state`: where they stand in what is returned, as an index or as a function of it.
    `state_shapes`: of one row of the state, `(H,)` or `((H,), (H,))`, for a module that cannot start
    without a state and whose state is none of these two with H = hidden_size.
    `initial`: `batch → state` in the module's own form, where it does not begin with zeros.

    Raises OptionError where something must be said that cannot be found out; StepError where the
    module is no cell: no batch axis, no tensors, a state changed in place, a start other than zeros.

    Differs from the module called by hand in nothing but the form of the state. What it draws or
    counts itself (dropout, batch norm) it does once a step.
    """

    def __init__(
        self,
        module: nn.Module,
        input_size: int | None = None,
        hidden_size: int | None = None,
        *,
        output: Pick | None = None,
        state: Pick | None = None,
        state_shapes: Shapes | None = None,
        initial: Callable[[int], Any] | None = None,
    ):
        if isinstance(module, Cell):
            raise OptionError(
                f"Adapted: {type(module).__name__} is one of Ostinato's cells already; give it to "
                "Recurrent as it is."
            )
        inputs = getattr(module, "input_size", None) if input_size is None else input_size
        if inputs is None:
            raise OptionError(
                f"Adapted: {_name(module)} has no attribute input_size, so say how wide x_t is: "
                "Adapted(module, input_size=…)."
            )
        hidden = getattr(module, "hidden_size", None) if hidden_size is None else hidden_size
        super().__init__(inputs, 1 if hidden is None else hidden)
        with _unnoticed(module):
            probe = _Probe(module, inputs, initial, output, state)
            reading = probe.read(_starts(probe, state_shapes, hidden))
        if hidden is None:
            self.hidden_size = reading.output_shape[-1]
        self.module = module
        self.initial = initial
        self.reading = reading
        # A cell of one's own has one kind of state; this class has one a module.
        self.__dict__["State"] = reading.kind

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.reading.output_shape

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.reading.shapes

    def reset_parameters(self) -> None:
        """Asks the module to; or, where it cannot, each of its parts that can.

        Raises OptionError when neither can.
        """
        able = [
            part for part in (self.module, *self.module.children()) if hasattr(part, "reset_parameters")
        ]
        if not able:
            raise OptionError(
                f"Adapted: {_name(self.module)} has no reset_parameters; make a new module instead."
            )
        for part in able[:1] if able[0] is self.module else able:
            cast(Any, part).reset_parameters()

    def initial_state(self, batch: int) -> CellState:
        """Learned, or what `initial` gives, or zeros; on the device and in the dtype of the weights."""
        if self.initial is not None:
            state = self._named(self.initial(batch))
        else:
            like = _like(self.module)
            state = self.State(*(like.new_zeros(batch, *shape) for shape in self.state_shapes))
        learned = (self._parameters.get(f"{field}_0") for field in self._fields)
        return self.State(
            *(
                each if start is None else start.expand(batch, *start.shape).contiguous()
                for each, start in zip(state, learned, strict=True)
            )
        )

    def learn_initial_state(self) -> Self:
        """As any cell's, but it begins with what `initial` gives, if that is given."""
        begun = self.initial_state(1)
        super().learn_initial_state()
        with torch.no_grad():
            for field, each in zip(self._fields, begun, strict=True):
                self.get_parameter(f"{field}_0").copy_(each[0])
        return self

    def step(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        leaves = [
            tensor.movedim(0, axis) for tensor, axis in zip(state, self.reading.axes, strict=True)
        ]
        returned = self.module(x, rebuild(self.reading.structure, leaves))
        output = _pick(self.reading.output, returned)
        return output, self._named(_pick(self.reading.state, returned))

    def _named(self, state: Any) -> CellState:
        leaves, _ = flatten(state)
        return self.State(
            *(_moved(tensor, axis, 0) for tensor, axis in zip(leaves, self.reading.axes, strict=True))
        )


@cache
def state_type(tensors: int) -> type:
    """The named tuple `AdaptedState<n>(state_0, …)`: one class a count, so that states compare."""
    fields = [(f"state_{index}", Tensor) for index in range(tensors)]
    kind = NamedTuple(f"AdaptedState{tensors}", fields)  # type: ignore[misc]
    kind.__module__ = __name__
    return kind


def __getattr__(name: str) -> type:
    """Where pickle and copies look for a state's class."""
    count = name.removeprefix("AdaptedState")
    if count != name and count.isdecimal():
        return state_type(int(count))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Probe:
    """Calls a module on tiny zeros and draws conclusions."""

    def __init__(
        self,
        module: nn.Module,
        inputs: int,
        initial: Callable[[int], Any] | None,
        output: Pick | None,
        state: Pick | None,
    ):
        self.module = module
        self.name = _name(module)
        self.inputs = inputs
        self.initial = initial
        self.given = (output, state)
        self.like = _like(module)

    def zeros(self, *shape: int) -> Tensor:
        return self.like.new_zeros(*shape)

    def call(self, batch: int, *state: Any) -> Any:
        return self.module(self.zeros(batch, self.inputs), *state)

    def read(self, starts: Sequence[Callable[[int], tuple[Any, ...]]]) -> _Reading:
        """The one way to understand the module that its own calls bear out."""
        refused = []
        for start in starts:
            try:
                returned = [self.call(batch, *start(batch)) for batch in _BATCHES]
            except Exception as error:
                refused.append(f"{type(error).__name__}: {error}")
                continue
            return self._understand(returned, start)
        raise OptionError(
            f"Adapted: {self.name} could not be called on x_t of shape [B, I={self.inputs}]: "
            f"{refused[0]}. If its state is not a tensor [B, H] or two of them, give state_shapes=."
        )

    def _understand(self, returned: list[Any], start: Callable[[int], tuple[Any, ...]]) -> _Reading:
        fitting = [pair for pair in self._candidates(returned[0]) if self._accepts(returned, *pair)]
        if not fitting:
            raise StepError(
                f"Adapted: expected {self.name} to take a state back that it returns; it takes back "
                f"neither all of {_words(returned[1])} (called with {_BATCHES[1]} rows) nor a part. "
                "Say where they stand: output=, state=. A layer that reads whole sequences, such as "
                "torch.nn.LSTM, is no cell."
            )
        if len(fitting) > 1 and fitting[0][1] is None:
            raise OptionError(
                f"Adapted: {self.name} takes back all of {_words(returned[1])} as its state, and also "
                "a part of it. Say which it is: output=, state= (an index, or a function of what is "
                "returned)."
            )
        reading = self._describe(returned, *fitting[0])
        self._check_in_place(returned[0], reading)
        self._check_start(start, reading)
        return reading

    def _candidates(self, returned: Any) -> list[tuple[Pick | None, Pick | None]]:
        """Pairs of (output, state), the likeliest first; None as state is the whole."""
        output, state = self.given
        if isinstance(returned, Tensor):
            return [(output, state)]
        if not isinstance(returned, Sequence) or not returned:
            return [(output, state)] if None not in self.given else []
        last = len(returned) - 1
        if state is not None:
            # A state that is said and an output that is not: the other of a pair, else the first.
            other = 1 if (last == 1 and state in (0, -2)) else 0
            return [(other if output is None else output, state)]
        if output is not None:
            parts = [index for index in range(last + 1) if index != output] if last == 1 else []
            return [(output, None), *((output, part) for part in parts)]
        pairs: list[tuple[Pick | None, Pick | None]] = [(_first_tensor, None)]
        if last == 1:
            pairs += [(0, 1), (1, 0)]
        elif last > 1:
            pairs += [(0, _rest)]
        return pairs

    def _accepts(self, returned: list[Any], output: Pick | None, state: Pick | None) -> bool:
        """Whether the module, given this as its state, returns the same again, at both batch sizes."""
        for batch, first in zip(_BATCHES, returned, strict=True):
            try:
                picked = _pick(state, first)
                if not isinstance(_pick(output, first), Tensor) or not flatten(picked)[0]:
                    return False
                second = self.call(batch, rebuild(flatten(picked)[1], _copies(picked)))
                if _shapes(second) != _shapes(first):
                    return False
            except Exception:
                return False
        return True

    def _describe(self, returned: list[Any], output: Pick | None, state: Pick | None) -> _Reading:
        outputs = [_pick(output, each) for each in returned]
        states = [flatten(_pick(state, each))[0] for each in returned]
        structure = flatten(_pick(state, returned[0]))[1]
        if _batch_axis(*outputs) != 0:
            raise StepError(
                f"Adapted: expected {self.name} to put out [B, …], got shapes {list(outputs[0].shape)} "
                f"for {_BATCHES[0]} rows and {list(outputs[1].shape)} for {_BATCHES[1]}. A layer that "
                "reads whole sequences is no cell; of a cell say which output is meant: output=."
            )
        axes = []
        for few, more in zip(*states, strict=True):
            axis = _batch_axis(few, more)
            if axis is None:
                raise StepError(
                    f"Adapted: expected every tensor of {self.name}'s state to have one row for each "
                    f"of x_t, got shapes {list(few.shape)} for {_BATCHES[0]} rows and "
                    f"{list(more.shape)} for {_BATCHES[1]}. Lengths and resets choose the state row "
                    "by row; keep what is not a row's own in a buffer."
                )
            axes.append(axis)
        shapes = tuple(
            tuple(tensor.movedim(axis, 0).shape[1:])
            for tensor, axis in zip(states[0], axes, strict=True)
        )
        kind = state_type(len(axes))
        if states[0][0] is outputs[0] and len(axes) <= 2:
            kind = HiddenState if len(axes) == 1 else LSTMState
        row = tuple(outputs[0].shape[1:])
        return _Reading(output, state, structure, tuple(axes), shapes, row, kind)

    def _check_in_place(self, returned: Any, reading: _Reading) -> None:
        copies = _copies(_pick(reading.state, returned))
        x = self.zeros(_BATCHES[0], self.inputs)
        before = [tensor._version for tensor in (x, *copies)]
        self.module(x, rebuild(reading.structure, copies))
        if before != [tensor._version for tensor in (x, *copies)]:
            raise StepError(
                f"Adapted: {self.name} changes its input or its state in place; expected a step that "
                "returns new tensors, since the old ones are needed for gradients and for rows that "
                "have ended. Replace x.add_(y) by x = x + y there."
            )

    def _check_start(self, start: Callable[[int], tuple[Any, ...]], reading: _Reading) -> None:
        """A module called without a state must mean zeros by it."""
        if self.initial is not None or start(2):
            return
        rows = _BATCHES[0]
        x = torch.linspace(-1, 1, rows * self.inputs).reshape(rows, self.inputs).to(self.like)
        leaves = [
            self.zeros(rows, *shape).movedim(0, axis)
            for shape, axis in zip(reading.shapes, reading.axes, strict=True)
        ]
        alone, _ = flatten(self.module(x))
        from_zeros, _ = flatten(self.module(x, rebuild(reading.structure, leaves)))
        if not all(
            torch.allclose(a, b, equal_nan=True) for a, b in zip(alone, from_zeros, strict=True)
        ):
            raise StepError(
                f"Adapted: expected {self.name} to begin with zeros where no state is given, but it "
                "does not give what it gives for zeros. Say what it begins with: initial=, a function "
                "of the batch size."
            )


def _starts(
    probe: _Probe, state_shapes: Shapes | None, hidden: int | None
) -> list[Callable[[int], tuple[Any, ...]]]:
    """What may be given to a module's first call, the likeliest first."""
    if probe.initial is not None:
        initial = probe.initial
        return [lambda batch: (initial(batch),)]
    if state_shapes is not None:
        return [lambda batch: (_filled(probe, state_shapes, batch),)]
    starts: list[Callable[[int], tuple[Any, ...]]] = [lambda batch: ()]
    if hidden is not None:
        one, two = (hidden,), ((hidden,), (hidden,))
        starts += [
            lambda batch: (_filled(probe, one, batch),),
            lambda batch: (_filled(probe, two, batch),),
        ]
    return starts


def _filled(probe: _Probe, shapes: Shapes, batch: int) -> Any:
    if all(isinstance(size, int) for size in shapes):
        return probe.zeros(batch, *shapes)
    return tuple(_filled(probe, inner, batch) for inner in shapes)


@contextmanager
def _unnoticed(module: nn.Module) -> Iterator[None]:
    """Calls within leave no gradient, no running statistics and no draw from torch's generator."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    device = _like(module).device
    try:
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def _like(module: nn.Module) -> Tensor:
    """A tensor with the device and dtype that the module computes in."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor
    return torch.empty(0)


def _pick(where: Pick | None, returned: Any) -> Any:
    if where is None:
        return returned
    return returned[where] if isinstance(where, int) else where(returned)


def _first_tensor(returned: Any) -> Tensor:
    return flatten(returned)[0][0]


def _rest(returned: Any) -> Any:
    return tuple(returned[1:])


def _batch_axis(few: Tensor, more: Tensor) -> int | None:
    """The one axis that is as long as the batch, in both."""
    if few.dim() != more.dim():
        return None
    axes = [axis for axis in range(few.dim()) if (few.shape[axis], more.shape[axis]) == _BATCHES]
    return axes[0] if len(axes) == 1 else None


def _moved(tensor: Tensor, source: int, target: int) -> Tensor:
    # Most states have their batch in front, and a step without needless views is easier to trace.
    return tensor if source == target else tensor.movedim(source, target)


def _copies(state: Any) -> list[Tensor]:
    return [tensor.clone() for tensor in flatten(state)[0]]


def _shapes(returned: Any) -> Any:
    leaves, structure = flatten(returned)
    return structure, [tuple(tensor.shape) for tensor in leaves]


def _words(returned: Any) -> str:
    """What a call returned, as shapes."""
    if isinstance(returned, Tensor):
        return str(list(returned.shape))
    if isinstance(returned, Sequence) and not isinstance(returned, str):
        return f"({', '.join(_words(each) for each in returned)})"
    return f"a {type(returned).__name__}"


def _name(module: nn.Module) -> str:
    return type(module).__name__
