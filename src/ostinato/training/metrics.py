"""The record of a training, step by step: a CSV file for everyone, TensorBoard events beside it."""

import csv
import io
import os
import statistics
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from ostinato.files import write_atomically

COLUMNS = (
    "step",
    "epoch",
    "seconds",
    "step_ms",
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
)
"""`step_ms` is the training step alone; validation and test stand where they were measured."""

TAGS = {
    "loss": "loss/train",
    "accuracy": "accuracy/train",
    "validation_loss": "loss/validation",
    "validation_accuracy": "accuracy/validation",
    "test_loss": "loss/test",
    "test_accuracy": "accuracy/test",
    "step_ms": "speed/step_ms",
}


class Metrics:
    """Appends one row a step to `metrics.csv` and the same numbers to TensorBoard.

    Opened after step n, it forgets what an interrupted training wrote beyond n, a half line included.
    """

    def __init__(self, csv_path: Path, events: Path, after_step: int):
        # Imported here: it takes a second that `ostinato --help` need not wait for.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch.utils.tensorboard.writer import SummaryWriter

        kept = [row for row in read_metrics(csv_path) if int(row["step"]) <= after_step]
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_atomically(csv_path, text.getvalue())
        self._file = csv_path.open("a", newline="", encoding="utf-8")
        self._csv = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._events = SummaryWriter(str(events), purge_step=after_step + 1 if after_step else None)

    def add(self, row: Mapping[str, float]) -> None:
        """One step's row; columns that were not measured stay empty."""
        self._csv.writerow({name: f"{value:.9g}" for name, value in row.items()})
        for name, tag in TAGS.items():
            if name in row:
                self._events.add_scalar(tag, row[name], int(row["step"]))

    def flush(self) -> None:
        """Everything so far is on the disk when this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics file, a half-written last one left out; none if there is no file."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = csv.DictReader(io.StringIO(whole))
    return [row for row in rows if None not in row.values()]


def step_times(rows: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Median and quartiles, and what the second tutorial counts: seconds per 500 steps."""
    milliseconds = [float(row["step_ms"]) for row in rows]
    low, median, high = (
        statistics.quantiles(milliseconds, n=4) if len(milliseconds) > 1 else milliseconds * 3
    )
    times = {"quartile_1": low, "median": median, "quartile_3": high}
    times["seconds_per_500_steps"] = median / 2
    return {name: round(value, 3) for name, value in times.items()}
