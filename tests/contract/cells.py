"""Every cell that must keep the contract, with every option: a new cell adds a line here."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from ostinato.cells import (
    GRU,
    LRU,
    LSTM,
    QRNN,
    SRU,
    SRU2,
    UGRNN,
    Adapted,
    Cell,
    ConvLSTM,
    Elman,
    IndRNN,
    LayerNormGRU,
    LayerNormLSTM,
    MinGRU,
    MinLSTM,
    SplitLayerNormLSTM,
)
from ostinato.wrappers import (
    Attention,
    CellStack,
    Dropout,
    Highway,
    Residual,
    WeightDrop,
    Zoneout,
)

CASES: dict[str, Callable[[int, int], Cell]] = {
    "elman": lambda i, h: Elman(i, h),
    "elman-relu": lambda i, h: Elman(i, h, activation="relu"),
    "elman-own-function": lambda i, h: Elman(i, h, activation=torch.sin),
    "lstm": lambda i, h: LSTM(i, h),
    "lstm-forget-0": lambda i, h: LSTM(i, h, forget_bias=0.0),
    "lstm-forget-stored": lambda i, h: LSTM(i, h, forget_bias_stored=True),
    "lstm-peepholes": lambda i, h: LSTM(i, h, peepholes=True),
    "lstm-coupled": lambda i, h: LSTM(i, h, coupled=True),
    "lstm-cell-clip": lambda i, h: LSTM(i, h, cell_clip=0.7),
    "lstm-projection": lambda i, h: LSTM(i, h, projection=2),
    "lstm-projection-clip": lambda i, h: LSTM(i, h, projection=5, projection_clip=0.4),
    "lstm-activations": lambda i, h: LSTM(
        i, h, activation="softsign", gate_activation="hard_sigmoid", output_activation="elu"
    ),
    "lstm-coupled-peepholes": lambda i, h: LSTM(i, h, coupled=True, peepholes=True, cell_clip=2.0),
    "lstm-everything": lambda i, h: LSTM(
        i, h, 0.5, peepholes=True, cell_clip=0.7, projection=2, projection_clip=0.4
    ),
    "gru": lambda i, h: GRU(i, h),
    "gru-reset-after": lambda i, h: GRU(i, h, reset_after=True),
    "gru-activations": lambda i, h: GRU(i, h, activation="silu", gate_activation="hard_sigmoid"),
    "sru": lambda i, h: SRU(i, h),
    "sru-highway": lambda i, h: SRU(i, h, highway=True),
    "layer-norm-lstm": lambda i, h: LayerNormLSTM(i, h, epsilon=1e-5),
    "split-layer-norm-lstm": lambda i, h: SplitLayerNormLSTM(i, h),
    "layer-norm-gru": lambda i, h: LayerNormGRU(i, h),
    "sru2": lambda i, h: SRU2(h, h),
    "sru2-projected": lambda i, h: SRU2(i, h, highway_bias=-1.0),
    "sru2-unscaled": lambda i, h: SRU2(h, h, rescale=False),
    "qrnn-f": lambda i, h: QRNN(i, h, "f"),
    "qrnn-fo": lambda i, h: QRNN(i, h),
    "qrnn-ifo": lambda i, h: QRNN(i, h, "ifo"),
    "qrnn-f-window-2": lambda i, h: QRNN(i, h, "f", window=2),
    "qrnn-ifo-window-2": lambda i, h: QRNN(i, h, "ifo", window=2),
    "indrnn": lambda i, h: IndRNN(i, h),
    "indrnn-tanh": lambda i, h: IndRNN(i, h, activation="tanh"),
    "min-gru": lambda i, h: MinGRU(i, h),
    "min-lstm": lambda i, h: MinLSTM(i, h),
    "ugrnn": lambda i, h: UGRNN(i, h),
    "ugrnn-relu": lambda i, h: UGRNN(i, h, forget_bias=0.0, activation="relu"),
    "lru": lambda i, h: LRU(i, h),
    "lru-state": lambda i, h: LRU(i, h, state_size=2, r_min=0.5, r_max=0.9, max_phase=1.0),
    "conv-lstm": lambda i, h: ConvLSTM(i, h, height=1, width=2),
    "conv-lstm-peepholes": lambda i, h: ConvLSTM(i, h, 2, 2, kernel=1, peepholes=True),
    "adapted-lstm": lambda i, h: Adapted(nn.LSTMCell(i, h)),  # two biases on one sum
    "adapted-gru": lambda i, h: Adapted(
        nn.GRUCell(i, h)
    ),  # biases that share a part of their gradients
}


def masked(i: int, h: int) -> Cell:
    """Masks within masks: before, inside and after."""
    return Zoneout(Dropout(LSTM(i, h), input=0.3, output=0.4, state=0.2), 0.3)


CASES |= {
    "zoneout-dropout-lstm": masked,
    "zoneout-dropout-lstm-evaluated": lambda i, h: masked(i, h).eval(),
    "dropout-zoneout-lstm": lambda i, h: Dropout(
        Zoneout(LSTM(i, h), {"h": 0.2, "c": 0.5}), input=0.3, output=0.4, variational=True
    ),
    "dropout-gru-batch": lambda i, h: Dropout(
        GRU(i, h), input=0.3, state={"h": 0.3}, variational=True, per="batch"
    ),
    "zoneout-sru": lambda i, h: Zoneout(SRU(i, h), 0.4),
    "residual-dropout-gru": lambda i, h: Residual(Dropout(GRU(h, h), input=0.3)),
    "residual-projected": lambda i, h: Residual(Elman(i, h), project=True),
    "highway-zoneout-gru": lambda i, h: Highway(Zoneout(GRU(h, h), 0.4)),
    "highway-uncoupled-sru": lambda i, h: Highway(SRU(h, h), coupled=False),
    "weight-drop-lstm": lambda i, h: WeightDrop(LSTM(i, h), 0.4, ["W_h", "b"]),
    "attention-layer-norm-lstm": lambda i, h: Attention(LayerNormLSTM(i, h, epsilon=1e-5), 3),
    "attention-cell-stack": lambda i, h: Attention(
        CellStack([Dropout(LSTM(2, h), output=0.4), GRU(h, 3)]), 2, 4, 5, input_size=i
    ),
}

every_cell = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())

ROWS = {"reference": torch.float64, "program": torch.float64, "native": torch.float32}
"""The rows of the contract, and the kind of number in which each is held to it."""

every_row = pytest.mark.parametrize("row", ROWS)


def on(rows):
    """Every cell on each of some rows, in the row's kind of number."""
    pairs = [
        pytest.param(row, make, id=f"{name}-{row}") for name, make in CASES.items() for row in rows
    ]
    return pytest.mark.parametrize(("row", "make"), pairs)


every_cell_on_every_row = on(ROWS)
