"""One file a cell: weights, initial state, one step."""

from ostinato.cells.adapted import Adapted
from ostinato.cells.cell import Cell, HiddenState
from ostinato.cells.conv_lstm import ConvLSTM
from ostinato.cells.elman import Elman
from ostinato.cells.gru import GRU
from ostinato.cells.indrnn import IndRNN
from ostinato.cells.layer_norm_gru import LayerNormGRU
from ostinato.cells.layer_norm_lstm import LayerNormLSTM
from ostinato.cells.lru import LRU, LRUState
from ostinato.cells.lstm import LSTM, LSTMState
from ostinato.cells.min_gru import MinGRU
from ostinato.cells.min_lstm import MinLSTM
from ostinato.cells.qrnn import QRNN, QRNNState, QRNNWindowState
from ostinato.cells.split_layer_norm_lstm import SplitLayerNormLSTM
from ostinato.cells.sru import SRU, SRUState
from ostinato.cells.sru2 import SRU2
from ostinato.cells.ugrnn import UGRNN

CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "lstm": LSTM,
    "gru": GRU,
    "sru": SRU,
    "sru2": SRU2,
    "layer_norm_lstm": LayerNormLSTM,
    "split_layer_norm_lstm": SplitLayerNormLSTM,
    "layer_norm_gru": LayerNormGRU,
    "qrnn": QRNN,
    "indrnn": IndRNN,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
    "ugrnn": UGRNN,
    "lru": LRU,
    "conv_lstm": ConvLSTM,
}
"""The name of each cell in recipes and model files; `conv_lstm` reads images, so neither has it."""

__all__ = [
    "CELLS",
    "GRU",
    "LRU",
    "LSTM",
    "QRNN",
    "SRU",
    "SRU2",
    "UGRNN",
    "Adapted",
    "Cell",
    "ConvLSTM",
    "Elman",
    "HiddenState",
    "IndRNN",
    "LRUState",
    "LSTMState",
    "LayerNormGRU",
    "LayerNormLSTM",
    "MinGRU",
    "MinLSTM",
    "QRNNState",
    "QRNNWindowState",
    "SRUState",
    "SplitLayerNormLSTM",
]
