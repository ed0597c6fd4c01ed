"""Sides take turns on the clock, and what their times say of one another."""

import time as clock
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple

Times = dict[str, list[float]]


class Crash(Exception):
    """A side failed while it was timed."""

    def __init__(self, side: str, reason: Exception):
        super().__init__(f"{side}: {in_short(reason)}")
        self.side, self.reason = side, reason


class Ratio(NamedTuple):
    """Of the medians of two sides' times; the middle half of single turns' ratios is low to high."""

    ratio: float
    low: float
    high: float


def by_turns(
    sides: Mapping[str, Callable[[], object]], seconds: float, calls: int = 1, pause: float = 0.0
) -> Times:
    """Seconds of every side's call, each in turn, three turns at least after one that does not count.

    Every second turn goes the other way round, so that nobody always follows the same side. `pause`:
    seconds before each turn, in which the threads of others go to sleep; a call that does not count
    then wakes the side's own.
    Raises Crash.
    """
    taken: Times = {name: [] for name in sides}
    order: Sequence[tuple[str, Callable[[], object]]] = list(sides.items())
    for name, run in order:
        timed(name, run, 1)
    end = clock.perf_counter() + seconds * len(sides)
    while len(taken[order[0][0]]) < 3 or clock.perf_counter() < end:
        for name, run in order:
            if pause:
                clock.sleep(pause)
                timed(name, run, 1)
            taken[name].append(timed(name, run, calls))
        order = order[::-1]
    return taken


def timed(name: str, run: Callable[[], object], calls: int) -> float:
    """Seconds of one of so many calls. Raises Crash."""
    start = clock.perf_counter()
    try:
        for _ in range(calls):
            run()
    except Exception as reason:
        raise Crash(name, reason) from reason
    return (clock.perf_counter() - start) / calls


def compared(taken: Times, above: str, below: str) -> Ratio:
    """How many times as long as `below` the side `above` takes."""
    ratios = [a / b for a, b in zip(taken[above], taken[below], strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return Ratio(median(taken[above]) / median(taken[below]), low, high)


def milliseconds(taken: Times) -> dict[str, float]:
    """The median of each side."""
    return {name: significant(1e3 * median(times)) for name, times in taken.items()}


def significant(value: float, digits: int = 4) -> float:
    """As many digits as a measurement has."""
    return float(f"{value:.{digits}g}")


def in_short(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
