"""From the runs of an entrant to its row of figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles, stdev
from typing import Self

import numpy as np

from ostinato.lab.compare.description import Figures
from ostinato.training import Record, RunFolder
from ostinato.training.metrics import read_metrics

WINDOW = 25
"""Batches whose mean accuracy counts as reached: a single one may be lucky."""


@dataclass(frozen=True)
class Measured:
    """A finished run, read: its record and the columns of its metrics."""

    seed: int
    record: Record
    steps: np.ndarray
    seconds: np.ndarray
    step_ms: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def of(cls, run: RunFolder) -> Self:
        rows = read_metrics(run.metrics)
        names = ("step", "seconds", "step_ms", "loss", "accuracy")
        columns = [np.array([float(row[name]) for row in rows]) for name in names]
        return cls(run.read_recipe().training.seed, run.read_record(), *columns)

    def reaches(self, accuracy: float | None) -> int | None:
        """The place of the first step at which the mean of the last batches is that high.

        None asks for the step at which the recipe ended for its batch's accuracy.
        """
        if accuracy is None:
            return len(self.steps) - 1 if self.record.ended is not None else None
        if len(self.accuracy) < WINDOW:
            return None
        means = np.convolve(self.accuracy, np.full(WINDOW, 1 / WINDOW), mode="valid")
        above = np.flatnonzero(means >= accuracy)
        return int(above[0]) + WINDOW - 1 if len(above) else None


def figures_of(
    runs: Sequence[Measured], first: Sequence[Measured], to: float | None, by_turns: bool
) -> Figures:
    """Of one entrant's finished runs, beside those of the first entrant."""
    results = [each.record.result["test_accuracy"] for each in runs if each.record.result]
    times = np.concatenate([each.step_ms for each in runs])
    ratio, quartiles = _ratio(runs, first, by_turns)
    reached = [(each, place) for each in runs if (place := each.reaches(to)) is not None]
    compiled = [e.record.compile_seconds for e in runs if e.record.compile_seconds is not None]
    return Figures(
        test_accuracy=mean(results),
        spread=stdev(results) if len(results) > 1 else None,
        lowest=min(results),
        highest=max(results),
        step_ms=_quartiles(times),
        ratio=ratio,
        ratio_quartiles=quartiles,
        parameters=runs[0].record.parameters,
        steps=mean(len(each.steps) for each in runs),
        seconds=mean(each.record.seconds or 0.0 for each in runs),
        compile_seconds=mean(compiled) if compiled else None,
        reached=len(reached),
        steps_to=mean(float(each.steps[place]) for each, place in reached) if reached else None,
        seconds_to=mean(float(each.seconds[place]) for each, place in reached) if reached else None,
        ran_by=sorted({row for each in runs for row in each.record.ran_by}),
    )


def _ratio(
    runs: Sequence[Measured], first: Sequence[Measured], by_turns: bool
) -> tuple[float | None, tuple[float, float] | None]:
    """Of the medians; by turns, of the steps that both took, and of the single turns its quartiles."""
    if not by_turns:
        ours, theirs = (median(np.concatenate([e.step_ms for e in each])) for each in (runs, first))
        return float(ours / theirs), None
    ours, theirs = _in_the_same_turn(runs, first)
    if not len(ours):
        return None, None
    found = _quartiles(ours / theirs)
    return float(median(ours) / median(theirs)), (found["quartile_1"], found["quartile_3"])


def _in_the_same_turn(
    runs: Sequence[Measured], first: Sequence[Measured]
) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of the steps that both took with the same seed."""
    ours, theirs = [np.empty(0)], [np.empty(0)]
    for a in runs:
        for b in first:
            if a.seed == b.seed:
                both = min(len(a.step_ms), len(b.step_ms))
                ours.append(a.step_ms[:both])
                theirs.append(b.step_ms[:both])
    return np.concatenate(ours), np.concatenate(theirs)


def _quartiles(values: np.ndarray) -> dict[str, float]:
    low, middle, high = quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    named = {"quartile_1": low, "median": middle, "quartile_3": high}
    return {name: float(value) for name, value in named.items()}
