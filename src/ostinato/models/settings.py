"""What a model is made of, as data: validated in a recipe, stored in a model file.

No field has a default, so that a recipe holds every choice and can be read alone, years later; but for
those that came after the first models were saved, whose default is what those models meant, and for
what is off, or as its paper has it, unless asked for.
"""

from math import pi
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ostinato.cells.activations import ActivationName
from ostinato.cells.qrnn import Pooling

Size = Annotated[int, Field(ge=1)]
Clip = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Epsilon = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """Strict data: no unknown key, no silent conversion, no change after it was read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ElmanSettings(Settings):
    name: Literal["elman"]
    activation: ActivationName


class LSTMSettings(Settings):
    name: Literal["lstm"]
    forget_bias: float
    forget_bias_stored: bool = False
    peepholes: bool = False
    coupled: bool = False
    cell_clip: Clip | None = None
    projection: Size | None = None
    projection_clip: Clip | None = None
    activation: ActivationName = "tanh"
    gate_activation: ActivationName = "sigmoid"
    output_activation: ActivationName = "tanh"


class GRUSettings(Settings):
    name: Literal["gru"]
    reset_after: bool
    activation: ActivationName = "tanh"
    gate_activation: ActivationName = "sigmoid"


class SRUSettings(Settings):
    name: Literal["sru"]
    highway: bool


class LayerNormLSTMSettings(Settings):
    name: Literal["layer_norm_lstm"]
    forget_bias: float
    epsilon: Epsilon


class SplitLayerNormLSTMSettings(Settings):
    name: Literal["split_layer_norm_lstm"]
    forget_bias: float
    epsilon: Epsilon


class LayerNormGRUSettings(Settings):
    name: Literal["layer_norm_gru"]
    epsilon: Epsilon


class SRU2Settings(Settings):
    name: Literal["sru2"]
    highway_bias: float
    rescale: bool


class QRNNSettings(Settings):
    name: Literal["qrnn"]
    pooling: Pooling
    window: Annotated[int, Field(ge=1, le=2)]


class IndRNNSettings(Settings):
    name: Literal["indrnn"]
    activation: ActivationName


class MinGRUSettings(Settings):
    name: Literal["min_gru"]


class MinLSTMSettings(Settings):
    name: Literal["min_lstm"]


class UGRNNSettings(Settings):
    name: Literal["ugrnn"]
    forget_bias: float
    activation: ActivationName = "tanh"


class LRUSettings(Settings):
    name: Literal["lru"]
    state_size: Size | None = None
    """the layer's width unless given"""
    r_min: Annotated[float, Field(ge=0, lt=1)]
    r_max: Annotated[float, Field(gt=0, le=1)]
    max_phase: Annotated[float, Field(gt=0, le=2 * pi)]


CellSettings = Annotated[
    ElmanSettings
    | LSTMSettings
    | GRUSettings
    | SRUSettings
    | SRU2Settings
    | LayerNormLSTMSettings
    | SplitLayerNormLSTMSettings
    | LayerNormGRUSettings
    | QRNNSettings
    | IndRNNSettings
    | MinGRUSettings
    | MinLSTMSettings
    | UGRNNSettings
    | LRUSettings,
    Field(discriminator="name"),
]
"""Every cell that reads rows of numbers. ConvLSTM reads films, an image a step; no model here does."""


class RecurrentSettings(Settings):
    """Layers of one cell read the image row by row; a linear layer reads what they say."""

    kind: Literal["recurrent"]
    cell: CellSettings
    hidden: Size
    layers: Size
    bidirectional: bool
    dropout: Probability
    """dropped from the outputs of every layer but the last"""
    output_dropout: Probability
    """dropped from the outputs of the last layer, before the readout"""
    readout: Literal["last", "mean"]
    driver: Literal["dynamic", "static"] = "dynamic"
    """the walk over the rows: a loop of any length, or unrolled for one length and compiled"""


class CNNSettings(Settings):
    """Convolutions with max pooling, then a hidden layer: no recurrence, for comparison."""

    kind: Literal["cnn"]
    channels: Annotated[list[Size], Field(min_length=1)]
    kernel: Annotated[int, Field(ge=1, multiple_of=1)]
    hidden: Size
    dropout: Probability


ModelSettings = Annotated[RecurrentSettings | CNNSettings, Field(discriminator="kind")]


class ImageShape(Settings):
    """What a classifier of images reads and what it tells apart."""

    rows: Size
    columns: Size
    classes: Annotated[int, Field(ge=2)]
