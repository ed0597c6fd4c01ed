"""Ready-made layers in torch.nn's own form: change one import, and nothing else changes."""

from ostinato.nn.layers import RecurrentLayers
from ostinato.nn.other_layers import (
    LRU,
    QRNN,
    SRU,
    SRU2,
    UGRNN,
    IndRNN,
    LayerNormGRU,
    LayerNormLSTM,
    MinGRU,
    MinLSTM,
    SplitLayerNormLSTM,
)
from ostinato.nn.torch_layers import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "QRNN",
    "RNN",
    "SRU",
    "SRU2",
    "UGRNN",
    "IndRNN",
    "LayerNormGRU",
    "LayerNormLSTM",
    "MinGRU",
    "MinLSTM",
    "RecurrentLayers",
    "SplitLayerNormLSTM",
]
