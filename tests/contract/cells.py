"""Every cell that must keep the contract, with every option: a new cell adds a line here."""

from collections.abc import Callable

import pytest

from ostinato.cells import GRU, LSTM, SRU, Cell, Elman, LayerNormLSTM

CASES: dict[str, Callable[[int, int], Cell]] = {
    "elman": lambda i, h: Elman(i, h),
    "elman-relu": lambda i, h: Elman(i, h, activation="relu"),
    "lstm": lambda i, h: LSTM(i, h),
    "lstm-forget-0": lambda i, h: LSTM(i, h, forget_bias=0.0),
    "gru": lambda i, h: GRU(i, h),
    "gru-reset-after": lambda i, h: GRU(i, h, reset_after=True),
    "sru": lambda i, h: SRU(i, h),
    "sru-highway": lambda i, h: SRU(i, h, highway=True),
    "layer-norm-lstm": lambda i, h: LayerNormLSTM(i, h, epsilon=1e-5),
}

every_cell = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
