"""How a case is measured: its sides come to the same numbers, then they take turns.

A case is declared once, most of them as a `Race`: ours, its peers, how near their numbers must be.
`check` compares the numbers; `measure` does so too and times nothing before they agree. A ratio is that
of the medians; its range is the middle half of the ratios of single turns.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from ostinato.lab.bench.turns import Crash, Ratio, by_turns, compared, in_short, milliseconds
from ostinato.lab.bench.work import Maker, Sizes, Work

OURS = "ours"

ASLEEP = 0.06
"""Seconds after which no thread of a library still spins, in the hope of more work, on a core that the
next side would need: ONNX Runtime's do for 40 ms, OpenMP's for 10 (seen here, 2026-11-23)."""


class NotThere(Exception):
    """What a side needs and does not find: a package, or a part of the library."""


class Disagreement(AssertionError):
    """Two sides that should come to the same numbers do not."""


class Side(NamedTuple):
    """One who does the work, ready to: what is timed, and the numbers it comes to, by name."""

    run: Callable[[], object]
    numbers: Callable[[], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Entrant:
    """A side as a case declares it; `peer` is its name in `peers.PEERS`.

    Sides of one `task` must come to the same numbers; one that is not `timed` is there to be equal to.
    """

    make: Callable[[Work], Side]
    peer: str = "ostinato"
    task: str = ""
    timed: bool = True


@dataclass
class Measured:
    """What was found of a case; of one that was only checked, who is not there."""

    rows: list[str]
    """who ran ours"""
    unit: str = "ms"
    values: dict[str, float] = field(default_factory=dict)
    """the median of each side, ours among them"""
    ratios: dict[str, Ratio] = field(default_factory=dict)
    """of each peer: how many times as much as ours"""
    turns: int | None = None
    missing: dict[str, str] = field(default_factory=dict)
    """sides that are not there, and why"""
    crashed: dict[str, str] = field(default_factory=dict)
    """sides that failed, and how"""
    gflop: float | None = None
    """of the matrix products that ours needs"""
    threads: int | None = None
    """that ours uses, where it does not use all"""


class Case(Protocol):
    """What can be checked and measured."""

    @property
    def name(self) -> str: ...

    @property
    def what(self) -> str:
        """The kind of work, and its sizes."""
        ...

    @property
    def peers(self) -> frozenset[str]:
        """Who is measured beside ours, by their names in `peers.PEERS`."""
        ...

    def among(self, peers: Collection[str]) -> Self:
        """The same beside these peers alone."""
        ...

    def tiny(self) -> Self:
        """The same kind of work at small sizes, done in no time."""
        ...

    def check(self) -> Measured:
        """Raises AssertionError where numbers differ, NotThere for ours missing."""
        ...

    def measure(self, seconds: float) -> Measured:
        """Every side for so many seconds, and three times at least. Raises as `check` does."""
        ...


class Agreed(NamedTuple):
    """The sides that are there, all of one mind; and why the others are not."""

    sides: dict[str, Side]
    missing: dict[str, str]
    crashed: dict[str, str]


@dataclass(frozen=True)
class Race:
    """Ours beside its peers, on the same work.

    `tolerance`: how far a number may be from its like, by the largest of its tensor. `calls`: of
    each side in one turn. `one_step`: each call takes one step of all rows, by one thread.
    `patience`: the share of the seconds given that it takes. `pause`: seconds before each turn, in
    which the threads of other libraries go to sleep.
    """

    name: str
    doing: str
    sizes: Sizes
    cell: Maker
    sides: Mapping[str, Entrant]
    training: bool = True
    tolerance: float = 1e-4
    calls: int = 1
    patience: float = 1.0
    pause: float = 0.0
    one_step: bool = False

    @property
    def what(self) -> str:
        return f"{self.doing}, {self.sizes}"

    @property
    def peers(self) -> frozenset[str]:
        return frozenset(each.peer for name, each in self.sides.items() if each.timed and name != OURS)

    def among(self, peers: Collection[str]) -> Self:
        def stays(name: str, entrant: Entrant) -> bool:
            return name == OURS or not entrant.timed or entrant.peer in peers

        return replace(
            self, sides={name: each for name, each in self.sides.items() if stays(name, each)}
        )

    def tiny(self) -> Self:
        return replace(self, sizes=self.sizes.tiny())

    def work(self) -> Work:
        torch.manual_seed(0)
        return Work.of(self.cell, self.sizes)

    def check(self) -> Measured:
        work = self.work()
        _, missing, crashed = self.agreed(work)
        return Measured(work.rows(), missing=missing, crashed=crashed)

    def agreed(self, work: Work) -> Agreed:
        """Raises Disagreement; NotThere without ours, and whatever ours raises."""
        found = Agreed({}, {}, {})
        first: dict[str, tuple[str, Mapping[str, Tensor]]] = {}
        for name, entrant in self.sides.items():
            try:
                side = entrant.make(work)
                numbers = {key: each.detach().clone() for key, each in side.numbers().items()}
            except NotThere as reason:
                if name == OURS:
                    raise
                found.missing[name] = str(reason)
                continue
            except Exception as error:
                if name == OURS:
                    raise
                found.crashed[name] = in_short(error)
                continue
            model, expected = first.setdefault(entrant.task, (name, numbers))
            agree(f"{self.name}: {name}", numbers, model, expected, self.tolerance)
            found.sides[name] = side
        return found

    def measure(self, seconds: float) -> Measured:
        work = self.work()
        sides, missing, crashed = self.agreed(work)
        timed = {name: side.run for name, side in sides.items() if self.sides[name].timed}
        taken = None
        while taken is None:
            try:
                taken = by_turns(timed, seconds * self.patience, self.calls, self.pause)
            except Crash as crash:
                if crash.side == OURS:
                    raise crash.reason from None
                crashed[crash.side] = in_short(crash.reason)
                del timed[crash.side]
        return Measured(
            work.rows(),
            values=milliseconds(taken),
            ratios={name: compared(taken, name, OURS) for name in taken if name != OURS},
            turns=len(taken[OURS]),
            missing=missing,
            crashed=crashed,
            gflop=self.products(work),
            threads=1 if self.one_step else None,
        )

    def products(self, work: Work) -> float | None:
        """Of one call, in 10⁹ multiplications and additions."""
        products = work.products(self.training)
        if products is None:
            return None
        return products / 1e9 / (self.sizes.time if self.one_step else 1)


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
