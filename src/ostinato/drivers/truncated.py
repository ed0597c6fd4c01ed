"""Truncated back-propagation: a long sequence in chunks, each with a backward pass of its own."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from ostinato import states
from ostinato.drivers.ahead import only_ahead
from ostinato.drivers.sequence import check_marks
from ostinato.errors import OptionError, ShapeError


def truncated(
    layer: nn.Module,
    x: Tensor,
    chunk: int,
    state: Any = None,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
) -> Iterator[tuple[Tensor, Any, slice]]:
    """Walks a Recurrent layer or a Stack over `x [B, T, I]`, `chunk` steps at a time.

        for outputs, state, time in truncated(layer, x, 50):
            loss(outputs, targets[:, time]).backward()

    Yields `(outputs [B, ≤ chunk, H], state, time)`: `time` is the slice of T that the chunk covers, the
    state is the one after it, as a loss may want it. The next chunk starts from that state detached, so
    gradients reach back to the start of their own chunk; the memory of one chunk is all that is held.
    Gradients do flow from the first chunk into a given `state`, and into x.

    `lengths [B]` and `resets [B, T]` are those of the whole sequence. A row that has ended puts out
    zeros and keeps its state in all later chunks. Outputs and states equal those of one run over the
    whole sequence. With T = 0 there is one chunk, of no steps.

    Raises, before the first chunk, OptionError for a chunk below 1 or a layer that reads from the end;
    ShapeError and LengthsError where x, lengths and resets do not fit; and what the layer raises.

    Torch and TensorFlow have no such function; there it is a loop with a forgotten detach.
    """
    if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1:
        raise OptionError(f"truncated: chunk must be a whole number of at least 1, got {chunk!r}.")
    only_ahead(layer, "truncated", "its first chunk would need the state after its last")
    if x.dim() < 2:
        raise ShapeError(
            f"truncated: expected x of shape [B, T, I], got {list(x.shape)}. Sequences are batch-first."
        )
    check_marks("truncated", x, lengths, resets)
    return _chunks(layer, x, chunk, state, lengths, resets)


def _chunks(
    layer: nn.Module, x: Tensor, chunk: int, state: Any, lengths: Tensor | None, resets: Tensor | None
) -> Iterator[tuple[Tensor, Any, slice]]:
    steps = x.shape[1]
    for start in range(0, max(steps, 1), chunk):
        time = slice(start, min(start + chunk, steps))
        outputs, state = layer(
            x[:, time],
            state,
            lengths=None if lengths is None else (lengths - start).clamp(0, time.stop - start),
            resets=None if resets is None else resets[:, time],
        )
        yield outputs, state, time
        state = states.detach(state)
