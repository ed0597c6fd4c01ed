"""What the streams of a session remember, handed on, set and put back."""

import numpy as np
import pytest
import torch
from torch import nn

from ostinato import nn as layers
from ostinato.cells import GRU, LSTM
from ostinato.cells.cell import HiddenState
from ostinato.deploy import Session
from ostinato.drivers import Recurrent
from ostinato.errors import (
    ShapeError,
    StateError,
)
from ostinato.wrappers import (
    Stack,
)
from tests.deploy.sessions import MIXED, I, Ranked, T, called, close


@pytest.mark.parametrize("name", [*MIXED, "torch-form"])
def test_a_state_that_is_handed_on_continues_the_stream(name):
    make = MIXED.get(name, lambda: layers.LSTM(I, 4, 2))
    layer = make().eval()
    first, second = Session(layer, 2), Session(layer, 2)
    x = torch.randn(2, T, *first._form.cell.input_shape)
    first.run(x)
    second.step(x[:, 0])  # the places of its state are turned the other way
    second.state = first.state
    close(second.run(x), first.run(x))


def test_a_state_comes_from_the_layer_and_goes_to_it():
    layer = Recurrent(LSTM(I, 4))
    x = torch.randn(2, 2 * T, I)
    y, _ = called(layer, x)
    _, state = called(layer, x[:, :T])
    session = Session(layer, 2)
    session.state = state
    close(session.run(x[:, T:]), y[:, T:])
    session.reset()
    session.run(x[:, :T])
    close(called(layer, x[:, T:], session.state)[0], y[:, T:])


def test_states_that_do_not_fit():
    session = Session(Stack([Recurrent(LSTM(I, 4)), Recurrent(GRU(4, 4))]), 2)
    good = session.state
    with pytest.raises(StateError, match=r"expected one state a layer \(2\), got 1"):
        session.state = good[:1]
    with pytest.raises(StateError, match="expected one state a layer .*, got Tensor"):
        session.state = good[0].h
    with pytest.raises(StateError, match="expected a state of type LSTMState, got HiddenState"):
        session.state = good[::-1]
    with pytest.raises(StateError, match=r"HiddenState.h of shape \[2, 4\], got \[3, 4\]"):
        session.state = (good[0], HiddenState(torch.zeros(3, 4)))
    with pytest.raises(StateError, match="expected a state of type"):
        session.state = (good[0], None)
    with pytest.raises(StateError, match="LSTM: expected h_0 of shape"):
        Session(layers.LSTM(I, 4), 2).state = (torch.zeros(1, 3, 4), torch.zeros(1, 3, 4))


RESETS = {
    "all": (None, [True, True, True]),
    "one": (1, [False, True, False]),
    "last": (-1, [False, False, True]),
    "slice": (slice(1, 3), [False, True, True]),
    "indices": ([0, 2], [True, False, True]),
    "nothing": ([], [False, False, False]),
    "list-mask": ([True, False, False], [True, False, False]),
    "mask": (torch.tensor([False, True, True]), [False, True, True]),
    "numpy-mask": (np.array([True, False, True]), [True, False, True]),
}


@pytest.mark.parametrize("name", RESETS)
@pytest.mark.parametrize("cell", [LSTM, lambda i, h: Ranked(i, h, 1, 1)])
def test_some_streams_begin_anew(name, cell):
    rows, mask = RESETS[name]
    layer = Recurrent(cell(I, 4).learn_initial_state())
    for weight in layer.parameters():
        nn.init.normal_(weight)
    width = layer.cell.input_shape
    x = torch.randn(3, 2 * T, *width)
    resets = torch.zeros(3, 2 * T, dtype=torch.bool)
    resets[:, T] = torch.tensor(mask)
    with torch.no_grad():
        y, _ = layer(x, resets=resets)
    session = Session(layer, 3)
    close(session.run(x[:, :T]), y[:, :T])
    session.reset(rows)
    close(session.run(x[:, T:]), y[:, T:])


@pytest.mark.parametrize("rows", [3, [0, 7], torch.ones(2, dtype=torch.bool), [0.5]])
def test_streams_that_there_are_not(rows):
    with pytest.raises(ShapeError, match="expected some of 3 streams, as an index, a slice"):
        Session(GRU(I, 4), 3).reset(rows)
