"""A network that writes: each of its outputs becomes its next input."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.drivers.ahead import only_ahead
from ostinato.drivers.recurrent import Recurrent
from ostinato.errors import DeviceError, DtypeError, OptionError, ShapeError

Feed = Callable[[Tensor], Tensor]
Stop = Callable[[Tensor, int], Tensor]


def generate(
    layer: nn.Module,
    first_input: Tensor,
    state: Any = None,
    *,
    feed: Feed,
    steps: int,
    stop: Stop | None = None,
) -> tuple[Tensor, Any, Tensor]:
    """Lets a network write at most `steps` steps, starting from `first_input [B, I]`.

    `layer` is a cell, a Recurrent layer, or a Stack of them; `state` is what it would be given for a
    sequence, a cell's own state for a cell.
    `feed(output_t [B, H]) → x_{t+1} [B, I]` says what is read next: a projection, a sample, its
    embedding. It is not called after the last step.
    `stop(output_t, t) → bool [B]` says which rows end with this step, whose output they keep. From then
    on a row puts out zeros and its state stays, whatever feed makes of those zeros; once every row has
    ended, so does the walk.

    Returns `(outputs [B, T', H], state, lengths [B])`: lengths are the steps that each row made. T' is
    `steps`, or, with `stop`, the longest of the lengths. Gradients flow through every step, feed
    included. With steps = 0 the state is the one given, or the initial state.

    Raises OptionError for a layer that reads from the end, or for steps below 0; ShapeError, DtypeError
    or DeviceError where feed or stop return what does not fit; and what the layer raises for
    first_input and state.

    Differs from TensorFlow's raw_rnn: one function says what comes next and one when to end, where
    raw_rnn's loop_fn says everything, the first input and state and the outputs' shape included.
    `stop` is asked about steps that were made, so each row makes at least one. Each asking waits for
    the device.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        raise OptionError(f"generate: steps must be a whole number of at least 0, got {steps!r}.")
    only_ahead(layer, "generate", "what is being written has no end yet")
    if isinstance(layer, Cell):
        layer = Recurrent(layer)
    batch = first_input.shape[0] if first_input.dim() else 0
    empty, state = layer(first_input.unsqueeze(1)[:, :0], state)
    lengths = torch.zeros(batch, dtype=torch.long, device=first_input.device)
    going = torch.ones_like(lengths, dtype=torch.bool)

    outputs: list[Tensor] = []
    x = first_input
    for t in range(steps):
        if stop is not None and not going.any():
            break
        if t:
            x = _fed(feed(outputs[-1]), first_input)
        # A row that has ended is a row of length 0: the layer's own lengths do all that it needs.
        walked, state = layer(x.unsqueeze(1), state, lengths=going.long() if stop is not None else None)
        output = walked.squeeze(1)
        outputs.append(output)
        lengths = lengths + going
        if stop is not None:
            going = going & ~_stopped(stop(output, t), going)
    return (torch.stack(outputs, dim=1) if outputs else empty), state, lengths


def _fed(x: Tensor, first: Tensor) -> Tensor:
    expected = f"feed to return x_t as first_input is, {list(first.shape)}"
    if not isinstance(x, Tensor) or x.shape != first.shape:
        got = list(x.shape) if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise ShapeError(
            f"generate: expected {expected}, got {got}. It gets output_t [B, H] and makes the next "
            "input of it; where H is not I, project."
        )
    if x.dtype != first.dtype:
        raise DtypeError(f"generate: expected {expected} in {first.dtype}, got {x.dtype}.")
    if x.device != first.device:
        raise DeviceError(f"generate: expected {expected} on {first.device}, got it on {x.device}.")
    return x


def _stopped(rows: Tensor, going: Tensor) -> Tensor:
    if not isinstance(rows, Tensor) or rows.dtype != torch.bool:
        got = rows.dtype if isinstance(rows, Tensor) else f"a {type(rows).__name__}"
        raise DtypeError(
            f"generate: expected stop to return a bool tensor, True for each row that ends, got {got}."
        )
    if rows.shape != going.shape:
        raise ShapeError(
            f"generate: expected stop to return one value a row, [B={going.shape[0]}], got "
            f"{list(rows.shape)}."
        )
    return rows.to(going.device)
