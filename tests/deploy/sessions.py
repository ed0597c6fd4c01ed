"""What tests of sessions share: a layer stepped, and called as a whole."""

import pytest
import torch

from ostinato import nn as layers
from ostinato.cells import GRU, LSTM, QRNN, SRU, Cell, ConvLSTM, Elman, LayerNormLSTM
from ostinato.deploy import Session
from ostinato.drivers import Recurrent
from ostinato.kernels.core import why_missing
from ostinato.wrappers import (
    Around,
    Device,
    Dropout,
    Gates,
    Stack,
    Sum,
    Zoneout,
)
from tests.contract.tolerances import TOLERANCES

I, T = 3, 5  # noqa: E741
needs_core = pytest.mark.skipif(why_missing() is not None, reason="there is no native core")


class Ranked(ConvLSTM):
    """No program has a sort: torch steps it."""

    def step(self, x, state):
        h, after = super().step(x, state)
        return h.sort(1).values, after


def close(got, expected):
    rtol, atol = TOLERANCES[torch.float32]
    torch.testing.assert_close(torch.as_tensor(got), torch.as_tensor(expected), rtol=rtol, atol=atol)


def leaves(state):
    return [state] if isinstance(state, torch.Tensor) else [b for a in state for b in leaves(a)]


def stepped(session, x):
    """Outputs of all steps, one by one."""
    return torch.stack([session.step(each) for each in x.unbind(1)], 1)


@torch.no_grad()
def called(layer, x, state=None):
    if isinstance(layer, Cell):
        layer = Recurrent(layer, row="reference")
    if isinstance(layer, layers.RecurrentLayers) and not layer.batch_first:
        y, state = layer(x.transpose(0, 1), state)
        return y.transpose(0, 1), state
    return layer(x, state)


def agrees(layer, streams=2, **options):
    """A session over two chunks gives what the layer gives, state too; returns the session."""
    session = Session(layer, streams, **options)
    width = session._form.cell.input_shape
    x = torch.randn(streams, 2 * T, *width)
    y, state = called(layer, x[:, :T])
    close(stepped(session, x[:, :T]), y)
    y, state = called(layer, x[:, T:], state)
    close(session.run(x[:, T:]), y)
    got = session.state
    assert type(got) is type(state)
    for a, b in zip(leaves(got), leaves(state), strict=True):
        assert a.dtype == b.dtype
        close(a, b)
    return session


MIXED = {
    "mixed": lambda: Stack([Recurrent(LSTM(I, 5)), Recurrent(GRU(5, 4)), Recurrent(SRU(4, 6))]),
    "alike": lambda: Stack([Recurrent(LSTM(4, 4)), Recurrent(LSTM(4, 4))], dropout=0.5),
    "nested": lambda: Stack([Stack([Recurrent(LSTM(I, 4))]), Recurrent(LayerNormLSTM(4, 4))]),
    "delayed": lambda: Stack([Recurrent(QRNN(I, 5, window=2)), Recurrent(Elman(5, 4))]),
    "masked": lambda: Stack([Recurrent(Zoneout(Dropout(LSTM(I, 4), input=0.3), 0.2))]),
    "around": lambda: Around(Stack([Recurrent(GRU(4, 6)), Recurrent(SRU(6, 4))]), Gates(4)),
    "projected": lambda: Stack([Around(Recurrent(GRU(I, 6)), Sum(I, 6)), Recurrent(GRU(6, 2))]),
    "device": lambda: Device(Recurrent(GRU(I, 6)), "cpu"),
    "with-a-loop": lambda: Stack(
        [Recurrent(Ranked(1, 2, 2, 2)), Recurrent(Ranked(2, 1, 2, 2, kernel=1))]
    ),
}
