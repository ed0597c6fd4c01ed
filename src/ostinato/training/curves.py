"""Loss and accuracy over the steps of a run, as a picture."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ostinato.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAIN, VALIDATION = "#9aa5b1", "#c2410c"


def draw_curves(
    rows: Sequence[Mapping[str, str]], title: str, test_accuracy: float, path: Path
) -> None:
    """Draws a run's metrics as PNG: each batch faint, their running mean, validation as points."""
    # Imported here: it takes half a second; the object interface needs no display and no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained", dpi=120)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    plot_loss(loss_axes, rows)
    plot_accuracy(accuracy_axes, rows, test_accuracy)
    figure.suptitle(title)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_atomically(path, image.getvalue())


def plot_loss(axes: "Axes", rows: Sequence[Mapping[str, str]]) -> None:
    """The loss over the steps, by its order of magnitude."""
    _plot(axes, rows, "loss")
    logarithmic(axes)


def logarithmic(axes: "Axes") -> None:
    """The scale of a loss, with plain numbers beside it."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def plot_accuracy(axes: "Axes", rows: Sequence[Mapping[str, str]], test_accuracy: float) -> None:
    """The accuracy over the steps, and where the test came out."""
    _plot(axes, rows, "accuracy")
    low, _ = axes.get_ylim()
    axes.set_ylim(max(0.0, low), 1.005)
    axes.axhline(test_accuracy, color="black", linestyle=":", label=f"test {test_accuracy:.2%}")
    axes.legend(loc="lower right", frameon=False)


def plot_step_times(axes: "Axes", rows: Sequence[Mapping[str, str]]) -> None:
    """How long each step took; the few slowest, such as the first, may stand above the picture."""
    steps, values = _column(rows, "step_ms")
    axes.plot(steps, values, color=TRAIN, alpha=0.35, linewidth=0.8)
    axes.plot(steps, running_mean(values), color=TRAIN, linewidth=1.8, label="running mean")
    axes.axhline(
        np.median(values), color="black", linestyle=":", label=f"median {np.median(values):.1f}"
    )
    axes.set_ylim(0, 1.5 * np.quantile(values, 0.95))
    axes.legend(frameon=False)
    _label(axes, "ms per step")


def _plot(axes: "Axes", rows: Sequence[Mapping[str, str]], name: str) -> None:
    steps, values = _column(rows, name)
    axes.plot(steps, values, color=TRAIN, alpha=0.35, linewidth=0.8)
    axes.plot(steps, running_mean(values), color=TRAIN, linewidth=1.8, label="training batches")
    steps, values = _column(rows, f"validation_{name}")
    if len(steps):
        axes.plot(steps, values, "o-", color=VALIDATION, markersize=4, label="validation")
    _label(axes, name)


def _label(axes: "Axes", name: str) -> None:
    axes.set_xlabel("step")
    axes.set_ylabel(name)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _column(rows: Sequence[Mapping[str, str]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, where the column was measured."""
    measured = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
    steps, values = zip(*measured, strict=True) if measured else ((), ())
    return np.array(steps), np.array(values)


def running_mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last fiftieth of the run, over what there is at its start."""
    window = max(1, len(values) // 50)
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means
