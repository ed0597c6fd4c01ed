"""How a case is measured: its sides come to the same numbers, then they take turns.

A case is declared once, most of them as a `Race`: ours, its peers, how near their numbers must be, and
what is claimed. `check` compares the numbers at small sizes; `measure` compares them at full size and
times nothing before they agree. A ratio is that of the medians; its range is the middle half of the
ratios of single turns.
"""

import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from rate import machine_rate
from work import Gates, Maker, Sizes, Work

Times = dict[str, list[float]]
Results = dict[str, Any]

OURS = "ours"


class NotThere(Exception):
    """What a side needs and does not find: a package, or a part of the library."""


class Disagreement(AssertionError):
    """Two sides that should come to the same numbers do not."""


@dataclass(frozen=True)
class Claim:
    """What a figure has to be: `limit` at least, `aim` if all goes well."""

    figure: str
    sign: Literal["<", "≤", "≥"]
    limit: float
    aim: float | None = None

    def met(self, value: float) -> bool:
        signs = {"<": value < self.limit, "≤": value <= self.limit, "≥": value >= self.limit}
        return signs[self.sign]

    def __str__(self) -> str:
        return f"{self.figure} {self.sign} {self.limit}"


class Case(Protocol):
    """What `speed.py` asks of a case."""

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int:
        """Of torch, and of peers that can be told."""
        ...

    @property
    def table(self) -> str:
        """Whose table and record it belongs to."""
        ...

    @property
    def claimed(self) -> str: ...

    def check(self) -> None:
        """At small sizes. Raises AssertionError where numbers differ, NotThere for ours missing."""
        ...

    def measure(self, seconds: float) -> Results:
        """Every side for so many seconds, and three times at least. Raises as `check` does."""
        ...

    def met(self, results: Results) -> bool: ...


class Side(NamedTuple):
    """One who does the work, ready to: what is timed, and the numbers it comes to, by name."""

    run: Callable[[], object]
    numbers: Callable[[], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Entrant:
    """A side as a case declares it.

    Sides of one `task` must come to the same numbers; one that is not `timed` is there to be equal to.
    """

    make: Callable[[Work], Side]
    task: str = ""
    timed: bool = True


@dataclass(frozen=True)
class Race:
    """Ours beside its peers, on the same work.

    The figure of a claim is a peer, or several as "a or b", of which the fastest counts: how many times
    as long as ours it takes. `tolerance`: how far a number may be from its like, by the largest of its
    tensor. `gates`: how wide the products of a step are, where a share of the machine's rate is meant.
    `calls`: of each side in one turn. `patience`: the share of the seconds given that it takes.
    `pause`: seconds before each turn, in which the threads of other libraries go to sleep.
    """

    name: str
    what: str
    sizes: Sizes
    cell: Maker
    sides: Mapping[str, Entrant]
    claims: tuple[Claim, ...]
    gates: Gates | None = None
    training: bool = True
    tolerance: float = 1e-4
    threads: int = 2
    calls: int = 1
    patience: float = 1.0
    pause: float = 0.0
    table: str = "peers"

    @property
    def claimed(self) -> str:
        return "; ".join(map(str, self.claims))

    def work(self, tiny: bool = False) -> Work:
        torch.manual_seed(0)
        return Work.of(self.cell, self.sizes.tiny() if tiny else self.sizes)

    def check(self) -> None:
        self.agreed(self.work(tiny=True))

    def agreed(self, work: Work) -> tuple[dict[str, Side], dict[str, str]]:
        """The sides that are there, and why others are not; all of one mind. NotThere without ours."""
        sides, missing = self.enter(work)
        self.compare(sides)
        if OURS not in sides:
            raise NotThere(missing[OURS])
        return sides, missing

    def enter(self, work: Work) -> tuple[dict[str, Side], dict[str, str]]:
        """The sides that are there, and why others are not."""
        sides, missing = {}, {}
        for name, entrant in self.sides.items():
            try:
                sides[name] = entrant.make(work)
            except NotThere as reason:
                missing[name] = str(reason)
        return sides, missing

    def compare(self, sides: Mapping[str, Side]) -> None:
        """Each side with the first of its task. Raises Disagreement."""
        first: dict[str, tuple[str, Mapping[str, Tensor]]] = {}
        for name, side in sides.items():
            numbers = {key: each.detach().clone() for key, each in side.numbers().items()}
            model, expected = first.setdefault(self.sides[name].task, (name, numbers))
            agree(f"{self.name}: {name}", numbers, model, expected, self.tolerance)

    def measure(self, seconds: float) -> Results:
        work = self.work()
        sides, missing = self.agreed(work)
        timed = {name: side.run for name, side in sides.items() if self.sides[name].timed}
        taken = by_turns(timed, seconds * self.patience, self.calls, self.pause)
        results: Results = {
            "case": f"{self.what}, {self.sizes}",
            "rows": work.rows(),
            "ms": {name: significant(1e3 * median(times)) for name, times in taken.items()},
            "turns": len(taken[OURS]),
            "beside": {each.figure: self.beside(each, taken) for each in self.claims},
        }
        if missing:
            results["not_there"] = missing
        if self.gates is not None:
            results |= self.shares(work, taken, self.gates)
        return results

    def beside(self, claim: Claim, taken: Times) -> Results:
        """What is claimed beside a peer, or beside the fastest of several, and what was found."""
        peers = [each for each in claim.figure.split(" or ") if each in taken]
        said = {"sign": claim.sign, "at_least": claim.limit, "aim": claim.aim}
        if not peers:
            return {**said, "ratio": None, "met": None}
        fastest = min(peers, key=lambda peer: median(taken[peer]))
        found = compared(taken, fastest, OURS)
        ratio = {key: found[key] for key in ("ratio", "ratio_quartiles")}
        return {**said, "peer": fastest, **ratio, "met": claim.met(found["ratio"])}

    def shares(self, work: Work, taken: Times, gates: Gates) -> Results:
        """Of the machine's rate, that the products alone would need in the time taken."""
        products = work.products(gates, self.training)
        rate, what = machine_rate(torch.get_num_threads())
        return {
            "products_gflop": significant(products / 1e9),
            "machine_gflops": {what: significant(rate / 1e9)},
            "share_of_machine": {
                name: significant(products * self.calls / median(times) / rate)
                for name, times in taken.items()
                if not self.sides[name].task
            },
        }

    def met(self, results: Results) -> bool:
        return all(each["met"] is not False for each in results["beside"].values())


def agree(
    side: str,
    numbers: Mapping[str, Tensor],
    model: str,
    expected: Mapping[str, Tensor],
    tolerance: float,
) -> None:
    """Raises Disagreement, saying which tensor is off and how far."""
    if set(numbers) != set(expected):
        odd = ", ".join(sorted(set(numbers) ^ set(expected)))
        raise Disagreement(f"{side} and {model} do not come to the same things: {odd}.")
    for name, wanted in expected.items():
        found = numbers[name]
        if found.shape != wanted.shape:
            raise Disagreement(
                f"{side} has {name} of {list(found.shape)}, {model} of {list(wanted.shape)}."
            )
        off = float((found - wanted).abs().max()) if wanted.numel() else 0.0
        largest = float(wanted.abs().max()) if wanted.numel() else 0.0
        if not off <= tolerance * largest:
            raise Disagreement(
                f"{side} and {model} differ in {name} by {off:.2g}, whose largest number is "
                f"{largest:.2g}; the tolerance is {tolerance:g} of that."
            )


def by_turns(
    sides: Mapping[str, Callable[[], object]], seconds: float, calls: int = 1, pause: float = 0.0
) -> Times:
    """Seconds of every side's call, each in turn, three turns at least after one that does not count.

    Every second turn goes the other way round, so that nobody always follows the same side.
    """
    taken: Times = {name: [] for name in sides}
    for run in sides.values():
        run()
    order: Sequence[tuple[str, Callable[[], object]]] = list(sides.items())
    end = clock.perf_counter() + seconds * len(sides)
    while len(taken[order[0][0]]) < 3 or clock.perf_counter() < end:
        for name, run in order:
            if pause:
                clock.sleep(pause)
            start = clock.perf_counter()
            for _ in range(calls):
                run()
            taken[name].append((clock.perf_counter() - start) / calls)
        order = order[::-1]
    return taken


def compared(taken: Times, above: str, below: str) -> Results:
    """The ratio of two sides, and what it was made from."""
    ratios = [a / b for a, b in zip(taken[above], taken[below], strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return {
        "ratio": median(taken[above]) / median(taken[below]),
        "ratio_quartiles": [low, high],
        "ms": {name: round(1e3 * median(times), 2) for name, times in taken.items()},
        "turns": len(ratios),
    }


def significant(value: float, digits: int = 4) -> float:
    """As many digits as a measurement has."""
    return float(f"{value:.{digits}g}")
