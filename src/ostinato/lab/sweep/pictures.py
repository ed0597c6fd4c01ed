"""A sweep as pictures: accuracy over each parameter, and over the trials."""

import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ostinato.files import write_atomically
from ostinato.lab.colours import COLOURS
from ostinato.lab.sweep.description import Sweep
from ostinato.lab.sweep.space import Choice, Dimension, parse_space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST, TRIED = COLOURS[0], COLOURS[7]

WIDTH, HEIGHT = 4.6, 3.4
"""Inches of one diagram."""

Diagram = Callable[["Axes"], None]


def diagrams(sweep: Sweep) -> Mapping[str, Diagram]:
    """What draws the accuracy over each key that was searched, and over the trials."""
    space = parse_space(sweep.over, sweep.settings())
    return {each.key: partial(_over, sweep, each) for each in space} | {
        "trial": partial(_history, sweep)
    }


def side_by_side(parts: Mapping[str, Diagram]) -> "Figure":
    """A figure of some diagrams in a row."""
    # Imported here: it takes half a second; the object interface needs no display and no global state.
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(WIDTH * len(parts), HEIGHT), layout="constrained", dpi=120)
    row = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for axes, (name, draw) in zip(row, parts.items(), strict=True):
        draw(axes)
        axes.set_xlabel(name)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    row[0].set_ylabel("validation accuracy")
    row[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def draw_all(sweep: Sweep, path: Path) -> None:
    """Every diagram in one PNG."""
    image = io.BytesIO()
    side_by_side(diagrams(sweep)).savefig(image, format="png")
    write_atomically(path, image.getvalue())


def _history(sweep: Sweep, axes: "Axes") -> None:
    """Each trial's accuracy in their order, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    measured = _measured(sweep)
    numbers = list(measured)
    best = [max(list(measured.values())[: end + 1]) for end in range(len(measured))]
    axes.plot(numbers, list(measured.values()), "o", color=TRIED, markersize=5, label="a trial")
    axes.step(numbers, best, where="post", color=BEST, linewidth=1.8, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)


def _over(sweep: Sweep, dimension: Dimension, axes: "Axes") -> None:
    for number, accuracy in _measured(sweep).items():
        best = sweep.best is not None and number == sweep.best.number
        value = sweep.trials[number - 1].point[dimension.key]
        place = dimension.values.index(value) if isinstance(dimension, Choice) else float(value)
        axes.plot(place, accuracy, "o", color=BEST if best else TRIED, markersize=8 if best else 5)
    if isinstance(dimension, Choice):
        axes.set_xticks(range(len(dimension.values)), [_short(value) for value in dimension.values])
        axes.set_xlim(-0.5, len(dimension.values) - 0.5)
    elif dimension.log:
        axes.set_xscale("log")


def _measured(sweep: Sweep) -> dict[int, float]:
    return {each.number: each.accuracy for each in sweep.trials if each.accuracy is not None}


def _short(value: str, width: int = 18) -> str:
    return value if len(value) <= width else f"{value[: width - 1]}…"
