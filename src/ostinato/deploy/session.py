"""A layer at work on streams: one step at a time, with packed weights and a state that stays."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.deploy.arrays import check_writable, readable
from ostinato.deploy.layers import as_one_cell
from ostinato.deploy.loop import Loop
from ostinato.deploy.optimisers import steps_of_optimisers
from ostinato.drivers.hooks import before_a_walk
from ostinato.errors import (
    DeviceError,
    DtypeError,
    KindError,
    OptionError,
    RowError,
    ShapeError,
    nearest,
)
from ostinato.kernels.core import why_missing
from ostinato.kernels.stepper import Stepper, Watched
from ostinato.programs.compiled import named_tensors, step_program
from ostinato.programs.trace import Unknown, Untraceable

Weights = Literal["float32", "bfloat16"]


class Session:
    """Steps a layer for `streams` independent streams, and remembers their state.

        session = Session(layer.eval(), streams=4)
        y = session.step(x)                  # x [streams, I] → y [streams, H], numpy or torch as x is

    `layer`: a cell, a Recurrent, a Stack of them in any mix, or a layer of `ostinato.nn`, in float32 on
    the CPU. The numbers are those of the layer, evaluated; nothing is kept for a backward pass.
    Weights are packed when the session is made, and the whole step is one call of the native core,
    whatever the number of layers. A change of the layer's weights (in place, by an optimiser, by
    load_state_dict, by another tensor in a weight's place) is seen at the next step, and they are
    packed anew. What is written through `.data` torch does not count: call `refresh()` after it.
    `weights="bfloat16"` packs them in half the memory, by which large layers step faster; sums and
    state stay float32 (a processor that multiplies bfloat16 reads x and h in it too), and outputs
    differ by some thousandths.

    What the core cannot run (`explain()` says what and why) is stepped in torch, and gives the same.
    A session may be used in any one thread at a time; two sessions of one layer share nothing.

    Raises OptionError for a layer that cannot be stepped (it reads from the end, it draws at random),
    DtypeError or DeviceError where its weights are no float32 on the CPU, RowError for bfloat16 weights
    where the core cannot run it, and for two steps at once. `step` and `run` raise KindError,
    ShapeError, DtypeError or DeviceError for an array that does not fit, OptionError for an `out` that
    cannot be written to.

    Differs from torch in: torch.nn has a module for one step of one layer, LSTMCell and its like, which
    is handed the state each time.
    """

    def __init__(self, layer: nn.Module, streams: int = 1, *, weights: Weights = "float32"):
        if not isinstance(streams, int) or isinstance(streams, bool) or streams < 1:
            raise OptionError(f"Session: expected a number of streams of at least 1, got {streams!r}.")
        if weights not in ("float32", "bfloat16"):
            known = nearest(str(weights), ["float32", "bfloat16"])
            raise OptionError(f"Session: there are no weights in {weights!r}; {known}.")
        self.layer, self.streams, self.weights = layer, streams, weights
        self._engine = self._prepared(None)
        self.reset()

    def step(self, x: Any, out: Any = None) -> Any:
        """One step: `x [streams, I] → y [streams, H]`; a new array, unless one is given as `out`.

        x is a numpy array or a torch tensor of float32, laid out in any way; y is of the same kind.
        """
        y = self._step(x, out)
        return self._again("step", x, out) if y is None else y

    def run(self, x: Any, out: Any = None) -> Any:
        """All steps of a chunk: `x [streams, T, I] → y [streams, T, H]`."""
        y = self._run(x, out)
        return self._again("run", x, out) if y is None else y

    @property
    def state(self) -> Any:
        """What the streams remember: a copy, in the form of the layer's state. May be set from one."""
        copies = [each.clone() for each in self._engine.state]
        return self._form.joined(self._form.cell.State(*copies))

    @state.setter
    def state(self, state: Any) -> None:
        self._write(slice(None), self._form.parted(state, self.streams))

    def reset(self, rows: Any = None) -> None:
        """Puts streams back to the layer's initial state: all, or an index, a slice, indices or a mask.

        Raises ShapeError for streams that there are not.
        """
        if self._engine.stale():
            self.refresh()
        which = slice(None) if rows is None else rows
        if isinstance(rows, np.ndarray | list | tuple):
            which = torch.as_tensor(rows) if len(rows) else slice(0)
        with torch.no_grad():
            initial = self._form.cell.initial_state(self.streams)
        try:
            self._write(which, initial)
        except IndexError as cause:
            raise ShapeError(
                f"Session: expected some of {self.streams} streams, as an index, a slice, a list of "
                f"indices or a mask, got {rows!r}: {cause}."
            ) from None

    def refresh(self) -> None:
        """Reads the layer's weights anew, for those written through `.data`; the state stays."""
        before = self._engine
        self._engine = self._prepared(before)
        if self._engine is not before:
            self._write(slice(None), before.state)

    def explain(self) -> None:
        """Prints who runs a step, and why the core does not where it does not."""
        print(f"{self!r}\n{self._who()}")

    def __repr__(self) -> str:
        cell = self._form.cell
        words = [type(self.layer).__name__, f"{_axes(cell.input_shape)} → {_axes(cell.output_shape)}"]
        words += [f"streams={self.streams}"]
        words += [f"weights={self.weights!r}"] if self.weights != "float32" else []
        return f"Session({', '.join(words)}; {'native' if self._why_not is None else 'torch'})"

    def _who(self) -> str:
        if not isinstance(self._engine, Stepper):
            return f"torch steps the cell: {self._why_not}"
        count = sum(len(stage.instructions) for stage in self._engine.lowered.stages)
        packed = self._engine.packed_bytes / 1024
        return f"the core steps it: {count} instructions, {packed:.0f} KB of packed weights"

    # Weights.

    def _prepared(self, known: Stepper | Loop | None) -> Stepper | Loop:
        """What steps the layer, with the weights as they are now: the known one if it still can."""
        self._form = as_one_cell(self.layer)
        # Not within inference mode, whose tensors nobody could write into afterwards.
        with torch.inference_mode(False), torch.no_grad():
            before_a_walk(self.layer)
            watched = _watched(self.layer)
            _check(self._form.cell)
            stepper = self._stepper(known)
            if stepper is None:
                return self._loop(known, watched)
            stepper.load(stepper.steps.weights_of(self._form.cell), watched)
        self._step, self._run = stepper.step, stepper.run
        return stepper

    def _stepper(self, known: Stepper | Loop | None) -> Stepper | None:
        """The core's, or None and why there is none."""
        self._why_not = why_missing()
        if self._why_not is not None:
            return None
        cell = self._form.cell
        try:
            steps = step_program(cell)
            if isinstance(known, Stepper) and known.steps is steps:
                return known
            return Stepper(steps, cell.input_shape, self.streams, self.weights == "bfloat16")
        except (Untraceable, Unknown) as reason:
            self._why_not = str(reason)
        return None

    def _loop(self, known: Stepper | Loop | None, watched: Sequence[Watched]) -> Loop:
        if self.weights != "float32":
            raise RowError(
                f"Session: weights in {self.weights} are read by the native core alone, which cannot "
                f'step this layer: {self._why_not}. Use weights="float32".'
            )
        loop = known if isinstance(known, Loop) else Loop(self._form.cell, self.streams)
        loop.load(self._form.cell, watched)
        self._step = self._run = _not_at_once
        return loop

    # Arrays and state.

    def _again(self, what: Literal["step", "run"], x: Any, out: Any) -> Any:
        """What the machine does at once only if all is as it was and the arrays fit."""
        cell, axes = self._form.cell, ("streams", "T")[: 1 + (what == "run")]
        x = readable(x, "x", (self.streams, *cell.input_shape), axes)
        if out is not None:
            time = x.shape[1:2] if what == "run" else ()
            check_writable(out, (self.streams, *time, *cell.output_shape))
        if self._engine.stale():
            self.refresh()
        y = getattr(self._engine, what)(x, out)
        if y is None:
            raise KindError(
                f"Session: expected plain arrays, got a {type(x).__name__} without numbers of its own, "
                "as transforms and modes of torch make them. Call the layer there."
            )
        return y

    def _write(self, rows: Any, state: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for own, given in zip(self._engine.state, state, strict=True):
                own[rows] = given[rows]


def _not_at_once(x: Any, out: Any) -> None:
    """For a loop, which looks at nothing before it steps."""


def _axes(shape: Sequence[int]) -> str:
    return "·".join(map(str, shape))


def _watched(layer: nn.Module) -> list[Watched]:
    """All that weights are made of."""
    kept = [held for part in layer.modules() for held in (part._parameters, part._buffers)]
    watched: list[Watched] = [
        (held, name, each) for held in kept for name, each in held.items() if each is not None
    ]
    if any(each.is_inference() for _, _, each in watched):
        raise OptionError(
            "Session: expected weights that can be watched for changes, got some that were made in "
            "inference mode, where torch counts none. Make or load the layer outside of it."
        )
    return [*watched, steps_of_optimisers()]


def _check(cell: Cell) -> None:
    """Raises DtypeError or DeviceError unless the weights are float32 on the CPU."""
    for name, each in named_tensors(cell).items():
        if each.is_floating_point() and each.dtype != torch.float32:
            raise DtypeError(
                f"Session: expected weights in torch.float32, got {name} in {each.dtype}. Convert the "
                "layer: layer.float()."
            )
        if each.device.type != "cpu":
            raise DeviceError(
                f"Session: expected weights on the CPU, got {name} on {each.device}. Move the layer: "
                "layer.cpu()."
            )
