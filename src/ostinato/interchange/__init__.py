"""The one door for foreign weights: to and from the layers of other frameworks, a file each."""

from ostinato.interchange.checkpoint import read_tensorflow
from ostinato.interchange.keras import from_keras, layer_from_keras, read_keras, to_keras
from ostinato.interchange.tensorflow import from_tensorflow, layer_from_tensorflow, to_tensorflow
from ostinato.interchange.torch import from_torch, layer_from_torch, layer_to_torch, to_torch

__all__ = [
    "from_keras",
    "from_tensorflow",
    "from_torch",
    "layer_from_keras",
    "layer_from_tensorflow",
    "layer_from_torch",
    "layer_to_torch",
    "read_keras",
    "read_tensorflow",
    "to_keras",
    "to_tensorflow",
    "to_torch",
]
