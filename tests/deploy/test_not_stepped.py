"""What a session refuses: layers that cannot be stepped, and options there are not."""

import pytest
import torch
from torch import nn

from ostinato import nn as layers
from ostinato.cells import GRU, LSTM
from ostinato.deploy import Session
from ostinato.drivers import Recurrent
from ostinato.errors import (
    DeviceError,
    DtypeError,
    OptionError,
)
from ostinato.models import SequenceClassifier
from ostinato.wrappers import (
    Bidirectional,
    Dropout,
    Stack,
    WeightDrop,
    Zoneout,
)
from tests.deploy.sessions import I, agrees


@pytest.mark.parametrize(
    "make",
    [
        lambda: Recurrent(GRU(I, 4), reverse=True),
        lambda: Bidirectional(Recurrent(GRU(I, 4)), Recurrent(GRU(I, 4), reverse=True)),
        lambda: Stack([Bidirectional(Recurrent(GRU(I, 4)), Recurrent(GRU(I, 4), reverse=True))]),
        lambda: layers.LSTM(I, 4, bidirectional=True),
    ],
)
def test_what_reads_from_the_end_is_refused(make):
    with pytest.raises(OptionError, match="reads from the start, got .*A stream has none"):
        Session(make())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dropout(LSTM(I, 4), input=0.5),
        lambda: Recurrent(Zoneout(LSTM(I, 4), 0.5)),
        lambda: WeightDrop(LSTM(I, 4), 0.5, ["W_h"]),
        lambda: Stack([Recurrent(GRU(I, 4)), Recurrent(GRU(4, 4))], dropout=0.1),
        lambda: layers.GRU(I, 4, 2, dropout=0.1),
    ],
)
def test_what_draws_in_training_is_refused(make):
    layer = make()
    with pytest.raises(OptionError, match=r"in training. Call layer.eval\(\) first"):
        Session(layer)
    agrees(layer.eval(), 1)


def test_what_is_no_recurrent_layer_is_refused():
    with pytest.raises(OptionError, match=r"got SequenceClassifier.*Session\(model.encoder\)"):
        Session(SequenceClassifier(Recurrent(GRU(I, 4)), 2))
    with pytest.raises(OptionError, match=r"got LSTM\. ostinato.nn.LSTM takes the same"):
        Session(nn.LSTM(I, 4))
    with pytest.raises(OptionError, match="got Linear. Layers are Recurrent, Stack"):
        Session(nn.Linear(I, 4))


def test_weights_of_another_kind_are_refused():
    with pytest.raises(DtypeError, match=r"expected weights in torch.float32, got W_x in .*float64"):
        Session(LSTM(I, 4).double())
    with pytest.raises(DeviceError, match="expected weights on the CPU, got W_x on meta"):
        Session(LSTM(I, 4).to("meta"))
    with torch.inference_mode():
        made_there = GRU(I, 4)
    with pytest.raises(OptionError, match="made in inference mode, where torch counts none"):
        Session(made_there)


@pytest.mark.parametrize("streams", [0, -1, 1.5, True])
def test_streams_are_counted(streams):
    with pytest.raises(OptionError, match="expected a number of streams of at least 1"):
        Session(GRU(I, 4), streams)


def test_kinds_of_weights_are_known():
    with pytest.raises(OptionError, match="no weights in 'bfloat'; did you mean \"bfloat16\""):
        Session(GRU(I, 4), weights="bfloat")
