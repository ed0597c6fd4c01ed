"""torch.nn's own layers, with our weights.

They get their data in the order they like best: time first, or packed beforehand, longest row first;
a reader of data can see to that. Ours takes them batch first and padded, and packed in cases of these.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from ostinato.interchange import from_torch, layer_to_torch
from ostinato.lab.bench.harness import Side
from ostinato.lab.bench.sides import Weights, inferred, trained, trained_packed
from ostinato.lab.bench.work import Work


def layer(work: Work) -> Side:
    """A training step."""
    module, x = _time_first(work.layer), _turned(work.x)
    side = trained(lambda: module(x)[0], _weights(module), _turned(work.gradient))
    return _as_ours(side, work.layer, _turned)


def inferring(work: Work) -> Side:
    """Forwards alone."""
    module, x = _time_first(work.layer).eval(), _turned(work.x)
    side = inferred(lambda: module(x)[0])
    return Side(side.run, lambda: {"outputs": _turned(side.numbers()["outputs"])})


def packed(work: Work) -> Side:
    """A training step on a PackedSequence; its outputs stay packed."""
    module = _time_first(work.layer)
    side, padded = trained_packed(work, lambda x: module(x)[0], _weights(module))
    return _as_ours(side, work.layer, padded)


def padded(work: Work) -> Side:
    """A training step on all of the padding too, whose outputs are put to zero afterwards."""
    assert work.lengths is not None
    module, x = _time_first(work.layer), _turned(work.x)
    steps = torch.arange(work.sizes.time)
    keep = (steps[:, None] < work.lengths).to(x.dtype)[..., None]
    side = trained(lambda: module(x)[0] * keep, _weights(module), _turned(work.gradient))
    return _as_ours(side, work.layer, _turned)


def by_steps(work: Work) -> Side:
    """A training step of an LSTM with resets: a call for each time step."""
    return _in_pieces(work, range(work.sizes.time))


def by_segments(work: Work) -> Side:
    """The same with a call from each step before which any row starts anew to the next."""
    assert work.resets is not None
    starts = {0, *work.resets.any(0).nonzero().flatten().tolist()}
    return _in_pieces(work, sorted(starts))


def some_lstm(work: Work) -> Side:
    """A training step of torch.nn.LSTM in the same sizes: another network, with weights of its own."""
    sizes = work.sizes
    module, x = nn.LSTM(sizes.inputs, sizes.hidden, sizes.layers), _turned(work.x)
    return trained(lambda: module(x)[0], _weights(module), _turned(work.gradient))


def _in_pieces(work: Work, starts: "range | list[int]") -> Side:
    """An LSTM called piece by piece, its state put back in between where a row starts anew."""
    assert work.resets is not None
    module = _time_first(work.layer)
    ends = [*starts[1:], work.sizes.time]
    pieces = _turned(work.x).split([e - s for s, e in zip(starts, ends, strict=True)])  # type: ignore[no-untyped-call]
    # A factor of 0 for a row that starts anew; None where none does, and nothing need be done.
    kept = [
        None if not reset.any() else (~reset).to(work.x.dtype)[None, :, None]
        for reset in work.resets[:, list(starts)].unbind(1)
    ]

    def run() -> Tensor:
        state, outputs = None, []
        for piece, keep in zip(pieces, kept, strict=True):
            if state is not None and keep is not None:
                state = (state[0] * keep, state[1] * keep)
            made, state = module(piece, state)
            outputs.append(made)
        return torch.cat(outputs)

    return _as_ours(trained(run, _weights(module), _turned(work.gradient)), work.layer, _turned)


def _time_first(ours: nn.Module) -> nn.RNNBase:
    module = layer_to_torch(ours)
    module.batch_first = False
    return module


def _turned(a: Tensor) -> Tensor:
    """From batch first to time first, or back."""
    return a.transpose(0, 1).contiguous()


def _weights(module: nn.Module) -> Weights:
    return dict(module.named_parameters())


def _as_ours(side: Side, ours: nn.Module, outputs: Callable[[Tensor], Tensor]) -> Side:
    """The same numbers in the order and under the names that ours have."""
    return Side(side.run, partial(_renamed, side, ours, outputs))


def _renamed(side: Side, ours: nn.Module, outputs: Callable[[Tensor], Tensor]) -> Weights:
    numbers = dict(side.numbers())
    made = outputs(numbers.pop("outputs"))
    # Gradients go through the door for weights. Torch adds two biases, so that each has the gradient
    # of the one that is ours: the second counts only where it stands alone, in a GRU's last third.
    for name, each in numbers.items():
        if "bias_hh" in name:
            alone = torch.zeros_like(each)
            if _is_gru(numbers, name):
                third = each.numel() // 3
                alone[2 * third :] = each[2 * third :]
            numbers[name] = alone
    holder = deepcopy(ours)
    from_torch(holder, numbers)
    return {"outputs": made, **_weights(holder)}


def _is_gru(numbers: Weights, bias: str) -> bool:
    gates, hidden = numbers[bias.replace("bias", "weight")].shape
    return gates == 3 * hidden
