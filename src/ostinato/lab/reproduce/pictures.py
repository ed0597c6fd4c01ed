"""A reproduction as pictures: where a training step spends its time, and accuracy over steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ostinato.lab.colours import COLOURS, colours
from ostinato.lab.reproduce.description import Trained
from ostinato.lab.reproduce.timing import PARTS, Measured
from ostinato.training.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 150
"""Of a curve: as many as one sees."""


def steps(measured: Measured) -> "Figure":
    """A bar for each side, made of the parts of its training step."""
    from matplotlib.figure import Figure

    names = list(measured.sides)
    figure = Figure(figsize=(8.5, 1.2 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(names))
    for part, colour in zip(PARTS, COLOURS, strict=False):
        widths = np.array([measured.sides[name].parts[part] for name in names])
        axes.barh(names, widths, left=left, color=colour, label=part, height=0.7)
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a training step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)
    return figure


def accuracies(trained: Mapping[str, Sequence[Trained]], folder: Path) -> "Figure":
    """The batches' running mean over the steps, a line for each recipe, of its first seed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    colour = colours(trained)
    for recipe, runs in trained.items():
        rows = read_metrics(folder / runs[0].run / "metrics.csv")
        numbers = np.array([int(row["step"]) for row in rows])
        values = np.array([float(row["accuracy"]) for row in rows])
        ends, means = _thinned(numbers, values)
        axes.plot(ends, means, color=colour[recipe], linewidth=1.6, label=recipe)
        tests = [
            (int(row["step"]), float(row["test_accuracy"])) for row in rows if row["test_accuracy"]
        ]
        if tests:
            axes.plot(*zip(*tests, strict=True), "o", color=colour[recipe], label=f"{recipe}, test")
    axes.set_xlabel("step")
    axes.set_ylabel("accuracy of the batches")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _thinned(numbers: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over equal stretches, each at its last step."""
    stretches = np.array_split(np.arange(len(numbers)), min(POINTS, len(numbers)))
    return numbers[[each[-1] for each in stretches]], np.array(
        [values[each].mean() for each in stretches]
    )
