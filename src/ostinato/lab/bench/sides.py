"""Ours as sides, and what any side that torch's autograd runs is made of."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ostinato.lab.bench.harness import Side
from ostinato.lab.bench.work import Work, on_row

Weights = Mapping[str, Tensor]


def trained(run: Callable[[], Tensor], weights: Weights, gradient: Tensor) -> Side:
    """A training step without the optimiser: forwards, and backwards from a gradient of the outputs.

    Gradients of weights are set to None before each, as `zero_grad` does. The input is data and has no
    gradient.
    """

    def outputs() -> Tensor:
        for each in weights.values():
            each.grad = None
        made = run()
        made.backward(gradient)  # type: ignore[no-untyped-call]
        return made

    def numbers() -> Weights:
        made = outputs()
        return {"outputs": made, **{name: _gradient(each) for name, each in weights.items()}}

    return Side(outputs, numbers)


def _gradient(weight: Tensor) -> Tensor:
    """A weight that nothing depends on has none, whichever way its owner says so."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def inferred(run: Callable[[], Tensor]) -> Side:
    """Forwards alone."""

    @torch.no_grad()
    def outputs() -> Tensor:
        return run()

    return Side(outputs, lambda: {"outputs": outputs()})


def ours(work: Work) -> Side:
    """A training step of our layer."""
    weights = dict(work.layer.named_parameters())
    return trained(lambda: work.layer(work.x, **work.marks)[0], weights, work.gradient)


def trained_packed(
    work: Work, call: Callable[[PackedSequence], PackedSequence], weights: Weights
) -> tuple[Side, Callable[[Tensor], Tensor]]:
    """A training step on a PackedSequence, whose outputs stay packed; and what pads such outputs."""
    assert work.lengths is not None
    x, gradient = (pack_padded_sequence(each, work.lengths, True) for each in (work.x, work.gradient))

    def padded(data: Tensor) -> Tensor:
        again = PackedSequence(data, x.batch_sizes)
        return pad_packed_sequence(again, batch_first=True, total_length=work.sizes.time)[0]

    return trained(lambda: call(x).data, weights, gradient.data), padded


def ours_packed(work: Work) -> Side:
    """A training step of our layer on a PackedSequence."""
    weights = dict(work.layer.named_parameters())
    side, padded = trained_packed(work, lambda x: work.layer(x)[0], weights)

    def numbers() -> Weights:
        made = side.numbers()
        return {**made, "outputs": padded(made["outputs"])}

    return Side(side.run, numbers)


def ours_inferring(work: Work) -> Side:
    layer = work.layer.eval()
    return inferred(lambda: layer(work.x, **work.marks)[0])


def ours_on(row: str, work: Work) -> Side:
    """The same weights on a row that is named."""
    return ours(replace(work, layer=on_row(twin(work.layer), row)))


def twin(layer: nn.Module) -> nn.Module:
    """Another layer with the very same weights."""
    return deepcopy(layer, {id(each): each for each in layer.parameters()})


def with_other(change: Callable[[Work], Work], make: Callable[[Work], Side]) -> Callable[[Work], Side]:
    """A side of other work than the rest: the same sizes in both directions, another cell."""
    return lambda work: make(change(work))
