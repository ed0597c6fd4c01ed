"""A digit as a network reads it: gates and state of each layer over the rows, and what it then says."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ostinato.drivers import Static
from ostinato.lab.report.answers import Answers
from ostinato.lab.report.gates import Walked, walked_layers
from ostinato.lab.report.pictures import grey, opened, signed
from ostinato.models import SequenceClassifier


@dataclass(frozen=True)
class Map:
    """One gate or one part of the state as a picture `[rows, units]`."""

    name: str
    picture: str
    full: float
    """what the strongest colour stands for"""
    gate: bool
    width: int


@dataclass(frozen=True)
class Layer:
    """The maps of one layer."""

    name: str
    maps: list[Map]


@dataclass(frozen=True)
class Digit:
    """A picture, what it is, what is said after each row `[rows][classes]`, and what goes on inside."""

    picture: str
    true: int
    said: int
    after: list[list[float]]
    layers: list[Layer]


@dataclass(frozen=True)
class Reading:
    """Digits to choose from, and a slider that walks the rows."""

    digits: list[Digit]
    rows: int
    both_directions: bool
    template: ClassVar[str] = "reading.html"
    wide: ClassVar[bool] = True


@torch.no_grad()
def reading(network: SequenceClassifier, answers: Answers) -> Reading:
    """A few of the test images, read by a network in evaluation mode."""
    which = _choice(answers)
    images = answers.images
    x, _ = images.batch(torch.from_numpy(which), torch.device("cpu"))
    encoder = network.encoder.layer if isinstance(network.encoder, Static) else network.encoder
    said = _after_each_row(network, encoder, x)
    walked = walked_layers(encoder, x)
    layers = [_maps(layer) for layer in walked]
    digits = [
        Digit(
            grey(images.pixels[index].numpy()),
            int(answers.true[index]),
            int(answers.said[index]),
            np.round(said[place], 4).tolist(),
            [layer[place] for layer in layers],
        )
        for place, index in enumerate(which)
    ]
    return Reading(digits, x.shape[1], any(layer.reverse for layer in walked))


def _choice(answers: Answers) -> np.ndarray:
    """The surest mistake, and of three classes the image that is told most clearly."""
    certain = answers.probabilities.max(-1) * (answers.said == answers.true)
    classes = [each for each in np.unique(answers.true) if certain[answers.true == each].any()]
    shown = classes[:: max(1, len(classes) // 3)][:3]
    clearest = [np.where(answers.true == each, certain, -1).argmax() for each in shown]
    return np.array([*clearest, *answers.surest_mistakes(1)], dtype=np.int64)


def _after_each_row(network: SequenceClassifier, encoder: torch.nn.Module, x: Tensor) -> np.ndarray:
    """`[B, T, classes]`: probabilities as if the picture ended there."""
    said = []
    for end in range(1, x.shape[1] + 1):
        outputs, _ = encoder(x[:, :end])
        seen = outputs[:, -1] if network.readout == "last" else outputs.mean(1)
        said.append(network.head(seen).softmax(-1))
    return torch.stack(said, 1).numpy()


def _maps(walked: Walked) -> list[Layer]:
    """Of each row of the batch."""
    first = next(iter(walked.state.values()))
    order = first.mean((0, 1)).argsort()
    shown = [*walked.gates.items(), *walked.state.items()]
    # One scale for all digits, so that they can be compared.
    fulls = [1.0 if name in walked.gates else float(value.abs().max()) for name, value in shown]
    maps = []
    for place in range(len(first)):
        each = [
            Map(
                name,
                _picture(value[place], order, None if name in walked.gates else full),
                full,
                name in walked.gates,
                value.shape[-1],
            )
            for (name, value), full in zip(shown, fulls, strict=True)
        ]
        maps.append(Layer(f"{walked.name}, {walked.cell}", each))
    return maps


def _picture(values: Tensor, order: Tensor, full: float | None) -> str:
    """`full` None: of a gate."""
    shown = (values[:, order] if values.shape[-1] == len(order) else values).numpy()
    return opened(shown) if full is None else signed(shown, full)
