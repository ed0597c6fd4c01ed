"""One file a cell: weights, initial state, one step."""

from ostinato.cells.adapted import Adapted
from ostinato.cells.cell import Cell, HiddenState
from ostinato.cells.elman import Elman
from ostinato.cells.gru import GRU
from ostinato.cells.layer_norm_lstm import LayerNormLSTM
from ostinato.cells.lstm import LSTM, LSTMState
from ostinato.cells.sru import SRU, SRUState

CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "lstm": LSTM,
    "gru": GRU,
    "sru": SRU,
    "layer_norm_lstm": LayerNormLSTM,
}
"""The name of each cell in recipes and model files."""

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "SRU",
    "Adapted",
    "Cell",
    "Elman",
    "HiddenState",
    "LSTMState",
    "LayerNormLSTM",
    "SRUState",
]
