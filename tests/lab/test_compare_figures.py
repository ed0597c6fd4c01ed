"""The figures of a comparison, from runs whose numbers are known."""

import numpy as np
import pytest

from ostinato.lab.compare.figures import WINDOW, Measured, figures_of
from ostinato.training import Record


def measured(accuracy, seed=0, test=0.9, ms=None):
    steps = np.arange(1.0, len(accuracy) + 1)
    ms = np.full(len(steps), 2.0) if ms is None else np.array(ms)
    record = Record(
        data="", data_folder=None, data_fingerprint="", threads=1, device="cpu", steps=len(steps),
        parameters=7, seconds=1.0, ran_by=["native"], result={"test_accuracy": test, "test_loss": 1.0},
    )  # fmt: skip
    return Measured(seed, record, steps, steps / 10, ms, np.ones_like(steps), np.array(accuracy))


def test_an_accuracy_is_reached_when_the_last_batches_have_it_together():
    lucky = [0.5] * 10 + [1.0] + [0.5] * 60
    assert measured(lucky).reaches(0.9) is None
    rising = measured([0.5] * 40 + [0.96] * 60)
    place = rising.reaches(0.9)
    assert rising.accuracy[place - WINDOW + 1 : place + 1].mean() >= 0.9
    assert rising.accuracy[place - WINDOW : place].mean() < 0.9
    assert measured([1.0] * (WINDOW - 1)).reaches(0.9) is None
    assert measured([1.0] * WINDOW).reaches(0.9) == WINDOW - 1


def test_an_end_at_a_batchs_accuracy_is_that_step():
    run = measured([0.5, 0.6, 0.95])
    assert run.reaches(None) is None
    run.record.ended = "Ended after step 3 of 1000"
    assert run.reaches(None) == 2
    found = figures_of([run], [run], to=None, by_turns=True)
    assert (found.reached, found.steps_to, found.seconds_to) == (1, 3.0, 0.3)


def test_steps_and_seconds_to_it_are_means_of_the_seeds_that_came_there():
    runs = [
        measured([1.0] * 40, 0, test=0.8),
        measured([0.0] * 5 + [1.0] * 40, 1, test=0.9),
        measured([0.1] * 40, 2, test=1.0),
    ]
    found = figures_of(runs, runs, to=1.0, by_turns=True)
    assert found.reached == 2
    assert found.steps_to == (25 + 30) / 2
    assert found.seconds_to == pytest.approx(found.steps_to / 10)
    assert found.test_accuracy == pytest.approx(0.9)
    assert found.spread == pytest.approx(0.1)
    assert figures_of(runs[2:], runs, to=1.0, by_turns=True).steps_to is None
    assert figures_of(runs[2:], runs, to=1.0, by_turns=True).spread is None


def test_the_ratio_is_that_of_the_steps_that_both_took():
    """After the first one has ended, the second is alone on the machine: that is no comparison."""
    first = measured([0.5] * 3, ms=[1.0, 2.0, 10.0])
    second = measured([0.5] * 6, ms=[2.0, 4.0, 20.0, 1.0, 1.0, 1.0])
    found = figures_of([second], [first], to=0.9, by_turns=True)
    assert found.ratio == 2
    assert found.ratio_quartiles == (2, 2)
    apart = figures_of([second], [first], to=0.9, by_turns=False)
    assert apart.ratio == 1.5 / 2
    assert apart.ratio_quartiles is None
    other_seed = measured([0.5] * 3, seed=1)
    assert figures_of([other_seed], [first], to=0.9, by_turns=True).ratio is None
