"""Loss and accuracy over the steps of a run, as a picture."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ostinato.files import write_atomically

TRAIN, VALIDATION = "#9aa5b1", "#c2410c"


def draw_curves(
    rows: Sequence[Mapping[str, str]], title: str, test_accuracy: float, path: Path
) -> None:
    """Draws a run's metrics as PNG: each batch faint, their running mean, validation as points."""
    # Imported here: it takes half a second; the object interface needs no display and no global state.
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter, StrMethodFormatter

    figure = Figure(figsize=(11, 4.2), layout="constrained", dpi=120)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    for axes, name in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        steps, values = _column(rows, name)
        axes.plot(steps, values, color=TRAIN, alpha=0.35, linewidth=0.8)
        axes.plot(steps, running_mean(values), color=TRAIN, linewidth=1.8, label="training batches")
        steps, values = _column(rows, f"validation_{name}")
        if len(steps):
            axes.plot(steps, values, "o-", color=VALIDATION, markersize=4, label="validation")
        axes.set_xlabel("step")
        axes.set_ylabel(name)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    loss_axes.set_yscale("log")
    loss_axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    loss_axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.6)))
    low, _ = accuracy_axes.get_ylim()
    accuracy_axes.set_ylim(max(0.0, low), 1.005)
    accuracy_axes.axhline(
        test_accuracy, color="black", linestyle=":", label=f"test {test_accuracy:.2%}"
    )
    accuracy_axes.legend(loc="lower right", frameon=False)
    figure.suptitle(title)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_atomically(path, image.getvalue())


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
