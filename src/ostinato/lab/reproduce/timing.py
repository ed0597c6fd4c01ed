"""Training steps on the clock: networks take turns, and each step is cut where its layers end."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median, quantiles
from typing import NamedTuple

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from ostinato.data import ImageData
from ostinato.drivers import Recurrent
from ostinato.interchange import layer_to_torch
from ostinato.lab.bench.turns import by_turns, compared, in_short, significant
from ostinato.lab.reproduce.tutorials import Side, Timing
from ostinato.models.build import build
from ostinato.models.classifier import SequenceClassifier
from ostinato.models.cnn import CNN
from ostinato.models.settings import ImageShape
from ostinato.training.learning import make_optimizer
from ostinato.training.order import Order

PARTS = ("layers forward", "readout and loss", "their backward", "layers backward", "optimiser")
"""Of a training step, in order."""


class Timed(BaseModel):
    """A side's training step, in milliseconds."""

    ms: float
    quartiles: tuple[float, float]
    parts: dict[str, float]
    turns: int

    @property
    def seconds_per_500_steps(self) -> float:
        return significant(self.ms / 2)


class Measured(BaseModel):
    """What a timing came to."""

    sides: dict[str, Timed] = Field(default_factory=dict)
    ratios: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    """of medians, and the middle half of those of single turns"""
    why_not: dict[str, str] = Field(default_factory=dict)
    """of each side that could not run"""


class Cut(NamedTuple):
    """A network in two: its layers, and what reads their outputs."""

    layers: Callable[[Tensor], Tensor]
    read: Callable[[Tensor], Tensor]


def measure(timing: Timing, images: ImageData, seconds: float) -> Measured:
    """Steps of every side, each in turn, for so many seconds a side and three turns at least.

    A side that cannot run is told in its place, and the rest goes on.
    """
    parts: dict[str, list[list[float]]] = defaultdict(list)
    found, steps = Measured(), {}
    for side in timing.sides:
        try:
            step = _step(side, images, parts[side.name].append)
            step()  # compiles what is to be compiled
        except Exception as error:
            found.why_not[side.name] = in_short(error)
        else:
            steps[side.name] = step
    taken = by_turns(steps, seconds)
    for name, times in taken.items():
        found.sides[name] = _timed(times, parts[name][-len(times) :])
    for each in timing.ratios:
        if each.above in taken and each.below in taken:
            found.ratios[f"{each.above} / {each.below}"] = compared(taken, each.above, each.below)
    return found


def _timed(times: Sequence[float], parts: Sequence[Sequence[float]]) -> Timed:
    low, middle, high = (significant(1e3 * each) for each in quantiles(times, n=4))
    each = [significant(1e3 * median(column)) for column in zip(*parts, strict=True)]
    return Timed(
        ms=middle,
        quartiles=(low, high),
        parts=dict(zip(PARTS, each, strict=True)),
        turns=len(times),
    )


def _step(side: Side, images: ImageData, tell: Callable[[list[float]], None]) -> Callable[[], None]:
    """A training step of the side's network on one batch; it tells the seconds of its parts."""
    recipe = side.settings()
    rows, columns = images.size
    torch.manual_seed(recipe.training.seed)
    network = build(recipe.model, ImageShape(rows=rows, columns=columns, classes=images.classes))
    _run_by(side.run_by, network)
    network.train()
    layers, read = _cut(network)
    optimizer = make_optimizer(recipe.optimizer, network)
    order = Order(len(images.train), recipe.training.batch, recipe.training.seed)
    x, labels = images.train.batch(order.batch(1), torch.device("cpu"))
    clip = recipe.training.clip_norm

    def step() -> None:
        optimizer.zero_grad()
        borders = [time.perf_counter()]
        outputs = layers(x)
        borders.append(time.perf_counter())
        seen = outputs.detach().requires_grad_()
        loss = cross_entropy(read(seen), labels)
        borders.append(time.perf_counter())
        loss.backward()  # type: ignore[no-untyped-call]
        borders.append(time.perf_counter())
        outputs.backward(seen.grad)  # type: ignore[no-untyped-call]
        borders.append(time.perf_counter())
        if clip:
            clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        borders.append(time.perf_counter())
        tell([after - before for before, after in pairwise(borders)])

    return step


def _run_by(who: str, network: nn.Module) -> None:
    if who == "ours":
        return
    if not isinstance(network, SequenceClassifier):
        raise TypeError(f"a {type(network).__name__} has no layer that {who} could run")
    if who == "torch.nn":
        network.encoder = layer_to_torch(network.encoder)
        return
    for layer in network.modules():
        if isinstance(layer, Recurrent):
            layer.row = who  # type: ignore[assignment]


def _cut(network: nn.Module) -> Cut:
    if isinstance(network, CNN):
        return Cut(lambda x: network.features(x.unsqueeze(1)), network.head)
    if isinstance(network, SequenceClassifier):
        return Cut(lambda x: network.encoder(x)[0], network.read)
    raise TypeError(f"{type(network).__name__}: expected a SequenceClassifier or a CNN")
