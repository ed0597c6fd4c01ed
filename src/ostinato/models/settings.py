"""What a model is made of, as data: validated in a recipe, stored in a model file.

No field has a default: a recipe that holds every choice can be read alone, years later.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Size = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """Strict data: no unknown key, no silent conversion, no change after it was read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ElmanSettings(Settings):
    name: Literal["elman"]
    activation: Literal["tanh", "relu"]


class LSTMSettings(Settings):
    name: Literal["lstm"]
    forget_bias: float


class GRUSettings(Settings):
    name: Literal["gru"]
    reset_after: bool


class SRUSettings(Settings):
    name: Literal["sru"]
    highway: bool


class LayerNormLSTMSettings(Settings):
    name: Literal["layer_norm_lstm"]
    forget_bias: float
    epsilon: Annotated[float, Field(gt=0)]


CellSettings = Annotated[
    ElmanSettings | LSTMSettings | GRUSettings | SRUSettings | LayerNormLSTMSettings,
    Field(discriminator="name"),
]


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
