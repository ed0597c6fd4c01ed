"""What wraps a layer, such as direction and depth; and what wraps a cell, such as dropout."""

from ostinato.wrappers.attention import Attention
from ostinato.wrappers.bidirectional import Bidirectional, BothStates
from ostinato.wrappers.cell_stack import CellStack
from ostinato.wrappers.device import Device
from ostinato.wrappers.dropout import Dropout
from ostinato.wrappers.shortcut import Around, Gates, Highway, Residual, Sum
from ostinato.wrappers.stack import Stack
from ostinato.wrappers.weight_drop import WeightDrop
from ostinato.wrappers.wrapped import Drawing, Wrapped
from ostinato.wrappers.zoneout import Zoneout

__all__ = [
    "Around",
    "Attention",
    "Bidirectional",
    "BothStates",
    "CellStack",
    "Device",
    "Drawing",
    "Dropout",
    "Gates",
    "Highway",
    "Residual",
    "Stack",
    "Sum",
    "WeightDrop",
    "Wrapped",
    "Zoneout",
]
