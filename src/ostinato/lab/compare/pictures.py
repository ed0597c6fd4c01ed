"""A comparison as pictures: time and batches, accuracy over both, loss; one colour a recipe."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ostinato.files import write_atomically
from ostinato.lab.colours import colours
from ostinato.lab.compare.figures import Measured
from ostinato.training.curves import logarithmic, running_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.2, 3.6
"""Inches of one diagram."""

Runs = Mapping[str, Sequence[Measured]]


class Diagram(NamedTuple):
    """Which column of the metrics is drawn over which."""

    x: str
    y: str
    caption: str
    smooth: bool = True
    log: bool = False


TIME_BATCH = Diagram("seconds", "steps", "Batches over time, compiling included.", smooth=False)
TIME_ACCURACY = Diagram("seconds", "accuracy", "Accuracy of the training batches over time.")
BATCH_ACCURACY = Diagram("steps", "accuracy", "Accuracy of the training batches.")
LOSS = Diagram("steps", "loss", "Loss of the training batches.", log=True)

DIAGRAMS = (TIME_BATCH, TIME_ACCURACY, BATCH_ACCURACY, LOSS)

WORDS = {"seconds": "seconds of its own", "steps": "batches"}


def draw(diagram: Diagram, runs: Runs) -> "Figure":
    """One diagram as a figure."""
    # Imported here: it takes half a second; the object interface needs no display and no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    _draw(diagram, runs, figure.subplots())
    return figure


def draw_all(runs: Runs, path: Path) -> None:
    """All diagrams in one PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * WIDTH, 2 * HEIGHT), layout="constrained", dpi=120)
    for diagram, axes in zip(DIAGRAMS, figure.subplots(2, 2).flat, strict=True):
        _draw(diagram, runs, axes)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_atomically(path, image.getvalue())


def _draw(diagram: Diagram, runs: Runs, axes: "Axes") -> None:
    """Each seed faint, their mean over it as far as all of them go."""
    colour = colours(runs)
    for name, measured in runs.items():
        lines = [_line(diagram, each) for each in measured]
        if not lines:
            continue
        for x, y in lines if len(lines) > 1 else ():
            axes.plot(x, y, color=colour[name], alpha=0.3, linewidth=0.8)
        both = min(len(x) for x, _ in lines)
        x, y = (np.mean([line[axis][:both] for line in lines], axis=0) for axis in (0, 1))
        axes.plot(x, y, color=colour[name], linewidth=1.8, label=name)
    axes.set_xlabel(WORDS[diagram.x])
    axes.set_ylabel(WORDS.get(diagram.y, diagram.y))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if diagram.log:
        logarithmic(axes)
    axes.legend(frameon=False)


def _line(diagram: Diagram, run: Measured) -> tuple[np.ndarray, np.ndarray]:
    x, y = getattr(run, diagram.x), getattr(run, diagram.y)
    return x, running_mean(y) if diagram.smooth else y
