"""From settings to a network."""

from torch import nn

from ostinato.cells import CELLS
from ostinato.drivers import Recurrent, Static
from ostinato.models.classifier import SequenceClassifier
from ostinato.models.cnn import CNN
from ostinato.models.settings import CNNSettings, ImageShape, RecurrentSettings
from ostinato.wrappers import Bidirectional, Stack


def build(settings: RecurrentSettings | CNNSettings, shape: ImageShape) -> nn.Module:
    """The network that the settings describe, its weights drawn from torch's generator.

    It takes images `[B, rows, columns]` of floats in 0…1 and gives logits `[B, classes]`; a recurrent
    one reads a row a step, with either driver.
    """
    if isinstance(settings, CNNSettings):
        options = settings.model_dump(exclude={"kind"})
        return CNN(shape.rows, shape.columns, shape.classes, **options)
    layers: list[nn.Module] = []
    width = shape.columns
    for _ in range(settings.layers):
        layer = _layer(settings, width)
        layers.append(layer)
        width = layer.output_size  # type: ignore[assignment]
    encoder: nn.Module = Stack(layers, settings.dropout)
    if settings.driver == "static":
        encoder = Static(encoder, shape.rows)
    return SequenceClassifier(encoder, shape.classes, settings.readout, settings.output_dropout)


def _layer(settings: RecurrentSettings, width: int) -> nn.Module:
    options = settings.cell.model_dump(exclude={"name"})
    make = CELLS[settings.cell.name]
    forward = Recurrent(make(width, settings.hidden, **options))
    if not settings.bidirectional:
        return forward
    backward = Recurrent(make(width, settings.hidden, **options), reverse=True)
    return Bidirectional(forward, backward)
