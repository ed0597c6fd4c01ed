"""The static driver: the loop over one fixed number of steps, unrolled and compiled."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.drivers import reference
from ostinato.drivers.hooks import before_a_walk
from ostinato.drivers.recurrent import Recurrent
from ostinato.drivers.sequence import beside, check_sequence
from ostinato.errors import OptionError, ShapeError, StateError
from ostinato.kernels.dispatch import choose_row
from ostinato.programs.compiled import step_program
from ostinato.wrappers import Bidirectional, BothStates, Stack

log = logging.getLogger(__name__)

Walk = Callable[..., tuple[Tensor, Any]]


class Static(nn.Module):
    """Runs a layer over sequences of exactly `steps` steps, as one compiled piece without a loop.

    `layer` is a Recurrent, or a Stack or Bidirectional of them; its weights are shared, not copied, and
    it can be used beside this for any other T. Takes and returns what the layer does:
    `(x [B, T, I], state=None, lengths=None, resets=None) → (outputs [B, T, H], state)`.

    Each layer's `row` says what is unrolled: its program, with all that can stand outside the walk, or
    the plain loop over its step.

    The first training call compiles, forwards and backwards, which takes long and grows with `steps`;
    so does every later call with another batch size, dtype or device, or with other arguments given.
    `compile_seconds` sums the time and each compilation is a line of Python's logging. In evaluation
    mode the layer itself runs, since batches are then of another size and no gradient is wanted: two
    more reasons to compile, for a pass or two. `compile_evaluation=True` compiles there too.

    `backend` is one of torch.compile's. Where it cannot work (Inductor needs a C++ compiler), the loop
    runs unrolled but uncompiled; a warning says so once, `compiled` is False and `reason` says why.

    Raises OptionError for another kind of layer or steps below 1; ShapeError for another T; and what
    the layer raises.

    Differs from TensorFlow's static_rnn: x is one tensor, not a list of steps, lengths do not end the
    walk early, and the graph belongs to a batch size. From torch.compile on the layer: lengths are
    checked before the compiled part and may differ from call to call.
    """

    def __init__(
        self,
        layer: nn.Module,
        steps: int,
        *,
        backend: str | Callable[..., Any] = "inductor",
        compile_evaluation: bool = False,
    ):
        super().__init__()
        _check_kind(layer)
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise OptionError(f"Static: steps must be a whole number of at least 1, got {steps!r}.")
        self.layer = layer
        self.steps = steps
        self.backend = backend
        self.compile_evaluation = compile_evaluation
        self.compile_seconds = 0.0
        self.compiled = False
        self.reason: str | None = None
        self._graphs: dict[Any, Walk] = {}

    @property
    def output_size(self) -> int:
        return self.layer.output_size  # type: ignore[return-value]

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        _check(self.layer, x, state, lengths, resets)
        if x.shape[1] != self.steps:
            raise ShapeError(
                f"Static: expected T = {self.steps}, for which the loop is unrolled, got {x.shape[1]}. "
                "The layer within, .layer, runs any T with the same weights."
            )
        if not self.training and not self.compile_evaluation:
            outputs, state = self.layer(x, state, lengths=lengths, resets=resets)
            return outputs, state
        # Moved here, since a compiled graph would be another one for lengths on another device.
        lengths, resets = (None if each is None else each.to(x.device) for each in (lengths, resets))
        before_a_walk(self.layer, x, state)
        # What is drawn at random is drawn out here: a compiler would draw other numbers.
        prepared: list[Any] = []
        state = _prepare(self.layer, x, state, resets is not None, prepared)
        given = (self.layer, x, state, lengths, resets, prepared)
        return self._graph(*given)(*given)

    def _graph(self, layer: nn.Module, x: Tensor, *rest: Any) -> Walk:
        if self.reason is not None:
            return _walk
        key = (
            tuple(x.shape),
            x.dtype,
            x.device,
            self.training,
            torch.is_grad_enabled(),
            torch.is_autocast_enabled(x.device.type),
            tuple(each.requires_grad for each in (x, *_leaves(rest[0]))),
            *(None if each is None else each.dtype for each in rest[1:3]),
            tuple(isinstance(each, tuple) and each[0] is None for each in rest[3]),
        )
        if key not in self._graphs:
            graph: Walk = torch.compile(
                _own(_walk), backend=self.backend, fullgraph=True, dynamic=False
            )
            began = time.perf_counter()
            try:
                _compile_now(graph, layer, x, *rest)
            except Exception as error:
                return self._go_without(error)
            seconds = time.perf_counter() - began
            self.compiled = True
            self.compile_seconds += seconds
            self._graphs[key] = graph
            log.info("%d steps compiled for %d rows in %.1f s", self.steps, x.shape[0], seconds)
        return self._graphs[key]

    def _go_without(self, error: Exception) -> Walk:
        # Two lines say which backend and what; after them torch explains how to report a bug.
        words = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
        self.compiled = False
        self.reason = f"{type(error).__name__}: {words}"
        warnings.warn(
            f"Static: the loop runs unrolled but uncompiled, as the backend {self.backend!r} failed "
            f"({self.reason}). Results are the same. Install a C++ compiler, or use the layer itself.",
            stacklevel=6,
        )
        return _walk

    def __getstate__(self) -> dict[str, Any]:
        # What was compiled belongs to this process; a copy compiles for itself.
        return self.__dict__ | {"_graphs": {}, "compiled": False, "compile_seconds": 0.0}

    def extra_repr(self) -> str:
        return f"steps={self.steps}, backend={self.backend!r}"


def _prepare(layer: nn.Module, x: Tensor, state: Any, fresh: bool, given: list[Any]) -> Any:
    """The state before the first step of all that the layer is made of.

    Puts into `given`, in the order of the walk: of each Recurrent its program and weights, None for a
    loop, and what resets put back; and the draws of each mask between two layers.
    """
    batch = x.shape[0]
    if isinstance(layer, Recurrent):
        cell = layer.cell
        if state is None:
            cell.begin()
            state = cell.initial_state(batch)
        row, _ = choose_row(cell, x, layer.row)
        steps = step_program(cell) if row.name != "reference" else None
        program = None if steps is None else (steps.unrolled, steps.weights_of(cell))
        given.append((program, cell.initial_state(batch) if fresh else None))
        return state
    if isinstance(layer, Bidirectional):
        first, second = state or (None, None)
        first = _prepare(layer.forward_layer, x, first, fresh, given)
        return BothStates(first, _prepare(layer.backward_layer, x, second, fresh, given))
    begun = []
    for index, part in enumerate(layer.layers):  # type: ignore[arg-type]
        if index:
            given.append(layer.draws(x))  # type: ignore[operator]
        begun.append(_prepare(part, x, None if state is None else state[index], fresh, given))
    return tuple(begun)


def _walk(
    layer: nn.Module,
    x: Tensor,
    state: Any,
    lengths: Tensor | None,
    resets: Tensor | None,
    prepared: list[Any],
) -> tuple[Tensor, Any]:
    """The loop through all that the layer is made of."""
    return _walk_part(layer, x, state, lengths, resets, list(prepared))


def _walk_part(
    layer: nn.Module,
    x: Tensor,
    state: Any,
    lengths: Tensor | None,
    resets: Tensor | None,
    prepared: list[Any],
) -> tuple[Tensor, Any]:
    if isinstance(layer, Recurrent):
        program, fresh = prepared.pop(0)
        loop = None if program is None else partial(_walk_program, *program)
        return reference.walk(layer.cell, x, state, fresh, lengths, resets, layer.reverse, loop=loop)
    if isinstance(layer, Bidirectional):
        ahead, first = _walk_part(layer.forward_layer, x, state[0], lengths, resets, prepared)
        behind, second = _walk_part(layer.backward_layer, x, state[1], lengths, resets, prepared)
        return layer.merge(ahead, behind), BothStates(first, second)
    after = []
    for index, part in enumerate(layer.layers):  # type: ignore[arg-type]
        x = layer.thinned(x, prepared.pop(0)) if index else x  # type: ignore[operator]
        x, own = _walk_part(part, x, state[index], lengths, resets, prepared)
        after.append(own)
    return x, tuple(after)


def _walk_program(
    run: Any,
    weights: list[Tensor],
    cell: Cell,
    x: Tensor,
    state: Any,
    fresh: Any,
    valid: Tensor | None,
    resets: Tensor | None,
) -> tuple[Tensor, Any]:
    """The program's steps written out, in the place of the plain loop."""
    batch, time = x.shape[:2]
    rows = x.transpose(0, 1).reshape(time * batch, *x.shape[2:])
    masks = [None if each is None else each.unbind(1) for each in (valid, resets)]
    anew = [None] * len(state) if fresh is None else list(fresh)
    outputs, last = run(time, rows, *weights, *state, *anew, *masks)
    outputs = outputs.reshape(time, batch, *outputs.shape[1:]).transpose(0, 1)
    if valid is not None:
        outputs = torch.where(beside(valid, outputs), outputs, 0)
    return outputs, type(state)(*last)


def _own(function: Walk) -> Walk:
    """The same function on code of its own.

    Torch keeps what it compiled with the code, and gives up after eight versions; so that a program
    may hold more static layers and batch sizes than that, each brings its own.
    """
    code = function.__code__.replace()
    return FunctionType(code, globals())


def _compile_now(graph: Walk, *given: Any) -> None:
    """One run, backwards too: the backward graph is compiled no earlier than it is first used."""
    device = given[1].device
    with (
        warnings.catch_warnings(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
    ):
        # The compiler's own modules are imported here, and use what torch has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        # It looks at the gradient of each input, and finds weights that were made from others.
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
        outputs, state = graph(*given)
        results = [each for each in (outputs, *_leaves(state)) if each.requires_grad]
        if results and torch.is_grad_enabled():
            layer, x, before = given[:3]
            reached = [
                each for each in (x, *_leaves(before), *layer.parameters()) if each.requires_grad
            ]
            total = torch.stack([each.real.sum() for each in results]).sum()
            torch.autograd.grad(total, reached, allow_unused=True)


def _leaves(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif state is not None:
        for part in state:
            yield from _leaves(part)


def _check_kind(layer: nn.Module) -> None:
    if isinstance(layer, Stack):
        for part in layer.layers:
            _check_kind(part)
    elif isinstance(layer, Bidirectional):
        _check_kind(layer.forward_layer)
        _check_kind(layer.backward_layer)
    elif not isinstance(layer, Recurrent):
        raise OptionError(
            f"Static: expected a Recurrent layer, or a Stack or Bidirectional of them, got "
            f"{type(layer).__name__}. A cell becomes a layer by Recurrent(cell)."
        )


def _check(
    layer: nn.Module, x: Tensor, state: Any, lengths: Tensor | None, resets: Tensor | None
) -> None:
    """The checks of every layer within, which look into lengths and so cannot be compiled."""
    if isinstance(layer, Recurrent):
        check_sequence(layer.cell, x, state, lengths, resets)
        return
    both = isinstance(layer, Bidirectional)
    parts: list[Any] = (
        [layer.forward_layer, layer.backward_layer] if both else list(layer.layers)  # type: ignore[arg-type]
    )
    states = [None] * len(parts) if state is None else list(state)
    if len(states) != len(parts):
        raise StateError(f"Static: expected one state a layer ({len(parts)}), got {len(states)}.")
    for part, own in zip(parts, states, strict=True):
        _check(part, x, own, lengths, resets)
        if not both:
            # Stands for what the layer will put out: the shape, without the memory.
            x = x.new_zeros(()).expand(*x.shape[:2], part.output_size)
