"""The layers that are put inside PyTorch's own machinery, small, in float64, their weights random."""

from functools import partial

import torch

from ostinato import nn as layers
from ostinato.cells import GRU, LRU, LSTM, SRU, LayerNormLSTM
from ostinato.drivers import Recurrent
from ostinato.wrappers import Bidirectional, Stack
from tests.contract.agree import draw, randomise

B, T, I, H = 3, 5, 3, 4  # noqa: E741

LENGTHS = torch.tensor([5, 0, 3])
RESETS = torch.tensor([[0, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 1]]).bool()
MARKS = {"plain": {}, "lengths": {"lengths": LENGTHS}, "both": {"lengths": LENGTHS, "resets": RESETS}}

ROWS = ("auto", "program", "reference")

CELLS = {
    "lstm": LSTM,
    "gru": GRU,
    "sru": SRU,
    "layer-norm-lstm": partial(LayerNormLSTM, epsilon=1e-3),
    "lru": LRU,
}
"""Two states, one state, a scan, reductions, complex numbers."""

LAYERS = {
    **{name: lambda row, make=make: Recurrent(make(I, H), row=row) for name, make in CELLS.items()},
    "reverse": lambda row: Recurrent(GRU(I, H), reverse=True, row=row),
    "stack": lambda row: Stack([Recurrent(LSTM(I, 5), row=row), Recurrent(SRU(5, H), row=row)]),
    "pair": lambda row: Bidirectional(
        Recurrent(GRU(I, 2), row=row), Recurrent(LSTM(I, 2), reverse=True, row=row)
    ),
    "nn": lambda row: layers.LSTM(I, 2, bidirectional=True, batch_first=True, row=row),
}


def layer_of(name, row="auto", seed=1, dtype=torch.float64):
    return randomise(LAYERS[name](row), seed, dtype=dtype)


def some_input(*axes, seed=2, dtype=torch.float64):
    return draw(seed, *(axes or (B, T)), I, dtype=dtype)


def flat(state):
    """Every tensor of a state, however deep."""
    return (
        [state] if isinstance(state, torch.Tensor) else [leaf for each in state for leaf in flat(each)]
    )


def outcome(layer, x, state=None, **marks):
    """Outputs, last states, and the gradient of x and of every weight."""
    x = x.detach().clone().requires_grad_()
    outputs, last = layer(x, state, **marks)
    loss = outputs.sin().sum() + sum(each.cos().sum() for each in flat(last))
    grads = torch.autograd.grad(loss, [x, *layer.parameters()])
    return [each.detach() for each in (outputs, *flat(last), *grads)]


def close(got, expected, **tolerance):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance)
