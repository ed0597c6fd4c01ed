"""What wrappers of cells refuse, and in which words."""

import pytest
import torch

from ostinato.cells import GRU, LSTM, SRU, ConvLSTM, Elman
from ostinato.drivers import Recurrent
from ostinato.errors import OptionError, ShapeError
from ostinato.wrappers import (
    Attention,
    CellStack,
    Dropout,
    Highway,
    Residual,
    Stack,
    WeightDrop,
    Zoneout,
)

WRAP = {
    "Dropout": lambda cell: Dropout(cell, input=0.5),
    "Zoneout": lambda cell: Zoneout(cell, 0.5),
    "WeightDrop": lambda cell: WeightDrop(cell, 0.5, ["W_h"]),
    "Residual": Residual,
    "Highway": Highway,
    "Attention": lambda cell: Attention(cell, 3),
    "CellStack": lambda cell: CellStack([cell]),
}


@pytest.mark.parametrize("name", WRAP)
def test_a_layer_is_no_cell(name):
    layer = Recurrent(LSTM(3, 3))
    said = rf"{name}: expected a cell, got Recurrent\. Wrap what it runs: Recurrent\({name}\(cell"
    with pytest.raises(OptionError, match=said):
        WRAP[name](layer)
    with pytest.raises(OptionError, match=r"got Stack\. Wrap the cells within its layers"):
        WRAP[name](Stack([layer]))
    with pytest.raises(OptionError, match=r"got LSTMCell\. Make a cell of it: Adapted\(module\)"):
        WRAP[name](torch.nn.LSTMCell(3, 3))
    with pytest.raises(OptionError, match=r"expected a cell, got str"):
        WRAP[name]("LSTM")


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan"), "0.5", True, None])
def test_probabilities(p):
    for make in (
        lambda: Dropout(LSTM(3, 4), input=p),
        lambda: Dropout(LSTM(3, 4), output=p),
        lambda: Dropout(LSTM(3, 4), state=p),
        lambda: Dropout(LSTM(3, 4), state={"h": p}),
        lambda: Zoneout(LSTM(3, 4), p),
        lambda: Zoneout(LSTM(3, 4), {"c": p}),
        lambda: WeightDrop(LSTM(3, 4), p, ["W_h"]),
        lambda: Stack([Recurrent(LSTM(3, 4))], dropout=p),
    ):
        with pytest.raises(OptionError, match=r"is a probability, at least 0 and below 1; got "):
            make()


def test_fields_that_are_not_there():
    with pytest.raises(
        OptionError, match=r"Zoneout: probability={'m': …} names no .* LSTM; known: c, h"
    ):
        Zoneout(LSTM(3, 4), {"m": 0.5})
    with pytest.raises(OptionError, match=r'Dropout: state={\'hh\': …} .* GRU; did you mean "h"'):
        Dropout(GRU(3, 4), state={"hh": 0.5})
    with pytest.raises(OptionError, match=r"names no field of the state of Dropout; known: c, h"):
        Zoneout(Dropout(LSTM(3, 4)), {"draw": 0.5})  # a counter is no activation
    with pytest.raises(OptionError, match=r'state of SRU is all memory.* state={"c": 0\.2}'):
        Dropout(SRU(3, 4), state=0.2)
    with pytest.raises(OptionError, match=r"per is \"row\" or \"batch\"; got 'rows'"):
        Dropout(LSTM(3, 4), per="rows")


def test_weights_that_are_not_there():
    with pytest.raises(OptionError, match=r"LSTM has no weight 'weight_hh'; "):
        WeightDrop(LSTM(3, 4), 0.5, ["weight_hh"])
    with pytest.raises(OptionError, match=r"Dropout has no weight 'W_h'; did you mean \"cell\.W_h\""):
        WeightDrop(Dropout(LSTM(3, 4)), 0.5, ["W_h"])
    for wrong in ("W_h", []):
        with pytest.raises(OptionError, match=r"expected a list of names of weights, got"):
            WeightDrop(LSTM(3, 4), 0.5, wrong)


def test_widths_that_do_not_fit():
    with pytest.raises(
        ShapeError, match=r"Residual: .* got GRU from 3 to 4\. .*Residual\(cell, project"
    ):
        Residual(GRU(3, 4))
    with pytest.raises(ShapeError, match=r"Highway: .* got LSTM from 4 to 2\. .*number by number"):
        Highway(LSTM(4, 4, projection=2))
    with pytest.raises(
        ShapeError, match=r"expected GRU to read what the LSTM below .* \[4\]; it reads"
    ):
        CellStack([LSTM(3, 4), GRU(5, 4)])
    with pytest.raises(OptionError, match="CellStack: expected at least one cell, got none"):
        CellStack([])
    for wrong in ({"length": 0}, {"length": 2, "size": 0}, {"length": 2, "vector_size": 1.5}):
        with pytest.raises(ShapeError, match=r"Attention: \w+ must be a whole number of at least 1"):
            Attention(Elman(3, 4), **wrong)
    with pytest.raises(ShapeError, match=r"reads, keeps and puts out vectors, got ConvLSTM"):
        Attention(ConvLSTM(1, 1, 2, 2), 3)
