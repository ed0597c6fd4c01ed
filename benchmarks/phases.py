"""Where the time of the native row goes: what it does in one call, phase by phase.

    python benchmarks/phases.py                        # every case that trains or infers
    python benchmarks/phases.py 'train/*' --seconds 2

Each phase is timed where the core is called: the walk forwards, the walk backwards, the gradients of
weights, the packing of weights; what is left is torch and Python. Of the products in a phase it says
how near they come to what the machine's multiply-adds can do; of a walk, at which rate it reads and
writes the arrays of all steps, beside that of a copy of a large one. The record is `DATE-phases.json`.
"""

import sys
import time as clock
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest import mock

import torch
import typer

import tables
from claims import CLAIMED
from ostinato.kernels import outside
from ostinato.kernels.core import core
from ostinato.kernels.walker import Walker
from ostinato.lab.bench.harness import OURS, Race
from ostinato.lab.bench.results import versions
from ostinato.lab.bench.turns import significant
from ostinato.training.run import machine
from rate import machine_rate
from record import Results, commit, todays, write

KINDS = ("train/*", "packed/*", "resets/*", "infer/*")


class Phases:
    """Seconds, multiplications and additions, and bytes of each phase of one call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.operations: dict[str, float] = defaultdict(float)
        self.bytes: dict[str, float] = defaultdict(float)

    @contextmanager
    def watching(self) -> Iterator[None]:
        run, pack, outer = Walker.__call__, Walker._pack, core().outer  # type: ignore[union-attr]

        def walked(walker: Walker, block: Any, reads: Any, *rest: Any) -> Any:
            histories, writes = rest[4], rest[5]
            phase = "walk backwards" if writes_gradients(histories) else "walk"
            arrays = [*reads, *writes, *(each for each in histories if each is not None)]
            self.bytes[phase] += sum(4 * each.numel() for each in arrays)
            self.operations[phase] += block.rows * products_of(walker)
            packing = self.seconds["packing"]
            made = self.timed(phase, run, walker, block, reads, *rest)
            # Weights are packed within the first call.
            self.seconds[phase] -= self.seconds["packing"] - packing
            return made

        def summed(outers: Any, n: int, k: int, *rest: Any) -> None:
            self.operations["gradients of weights"] += 2 * k * n * sum(m for m, *_ in outers)
            self.timed("gradients of weights", outer, outers, n, k, *rest)

        with (
            mock.patch.object(Walker, "__call__", walked),
            mock.patch.object(Walker, "_pack", lambda *given: self.timed("packing", pack, *given)),
            mock.patch.object(outside, "core", return_value=mock.Mock(outer=summed)),
        ):
            yield

    def timed(self, phase: str, run: Callable[..., Any], *given: Any) -> Any:
        start = clock.perf_counter()
        made = run(*given)
        self.seconds[phase] += clock.perf_counter() - start
        return made


def writes_gradients(histories: Any) -> bool:
    """A backward pass remembers no state."""
    return all(each is None for each in histories)


def products_of(walker: Walker) -> int:
    """Multiplications and additions of one row's step."""
    code = (each for stage in walker.lowered.stages for each in stage.instructions)
    return sum(2 * terms.length * each.outputs[0].length for each in code for terms in each.terms)


def profile(race: Race, seconds: float) -> Results:
    """One case of ours, over and over."""
    side = race.sides[OURS].make(race.work())
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(3):
        side.run()
    end = clock.perf_counter() + seconds
    while len(taken["all"]) < 5 or clock.perf_counter() < end:
        phases = Phases()
        with phases.watching():
            start = clock.perf_counter()
            side.run()
            whole = clock.perf_counter() - start
        for phase, each in phases.seconds.items():
            taken[phase].append(each)
        taken["all"].append(whole)
        taken["the rest"].append(whole - sum(phases.seconds.values()))
    ms = {phase: median(each) * 1e3 for phase, each in taken.items()}
    rate, _ = machine_rate(torch.get_num_threads())
    return {
        "case": f"{race.what}, {race.sizes}",
        "commit": commit(),
        "threads": torch.get_num_threads(),
        "turns": len(taken["all"]),
        "ms": {phase: significant(each) for phase, each in ms.items()},
        "share_of_machine": {
            phase: significant(each / (ms[phase] / 1e3) / rate, 3)
            for phase, each in phases.operations.items()
            if each
        },
        "MB": {phase: significant(each / 1e6, 3) for phase, each in phases.bytes.items()},
        "GB_per_s": {
            phase: significant(each / (ms[phase] / 1e3) / 1e9, 3)
            for phase, each in phases.bytes.items()
        },
    }


def copy_rate(threads: int, megabytes: int = 256) -> float:
    """Bytes a second that a copy of a large array reads and writes, at best."""
    torch.set_num_threads(threads)
    a, b = (torch.ones(megabytes << 18) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        start = clock.perf_counter()
        b.copy_(a)
        best = min(best, clock.perf_counter() - start)
    return 2 * 4 * a.numel() / best


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Cases or patterns.")] = None,
    seconds: Annotated[float, typer.Option(help="For which each is run.")] = 2.0,
    out: Annotated[Path | None, typer.Option(help="Folder of the record.")] = None,
) -> None:
    """Profile, print and record."""
    wanted = names or KINDS
    races = [each.case for each in CLAIMED if any(fnmatch(each.name, name) for name in wanted)]
    found = {}
    for race in races:
        assert isinstance(race, Race), f"{race.name} is no race"
        print(race.name, file=sys.stderr, flush=True)
        torch.manual_seed(0)
        torch.set_num_threads(2)
        found[race.name] = profile(race, seconds)
    rate = significant(copy_rate(2) / 1e9, 3)
    path = todays("phases", out)
    note = f"ms are medians; a copy of 256 MB reads and writes {rate} GB/s with two threads."
    together = write(path, "cases", found, machine(), versions(), note)
    print(f"{tables.of_phases(together)}\n\n{note}\n\n{path}")


if __name__ == "__main__":
    typer.run(main)
