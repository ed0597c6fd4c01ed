"""A benchmark as a table: a row for each peer of a case, and what is to be said beneath it."""

from collections.abc import Iterator
from typing import NamedTuple

from ostinato.lab.bench.harness import OURS, Measured
from ostinato.lab.bench.results import Benchmark, Outcome
from ostinato.lab.report import Table

COLUMNS = (
    *("case", "work", "ours", "ran by", "share of peak"),
    *("beside", "theirs", "ratio", "middle half"),
)


class Row(NamedTuple):
    """What is said of a peer."""

    peer: str = "–"
    theirs: str | None = None
    ratio: str | None = None
    middle: str | None = None


def table(found: Benchmark) -> Table:
    """Ours and each peer; the ratio says how many times as much as ours a peer takes."""
    rows = [row for name, each in found.cases.items() for row in _rows(found, name, each)]
    return Table(COLUMNS, rows, caption=_caption(found))


def notes(found: Benchmark) -> list[str]:
    """Who is not there and what would bring them, who failed, whose numbers differ."""
    said = [f"Without {', '.join(sides)}: {why}" for why, sides in found.absent().items()]
    for name, each in found.cases.items():
        for side, how in each.measured.crashed.items() if each.measured else ():
            said.append(f"{name}: {side} failed: {how}")
        if each.problem is not None:
            said.append(f"{name}: {each.problem}")
    left = len(found.names) - len(found.cases)
    return [*said, f"Stopped: {left} of {len(found.names)} cases were not measured."] if left else said


def in_words(outcome: Outcome) -> str:
    """What was found of a case, in a line."""
    found = outcome.measured
    if found is None:
        return str(outcome.problem)
    ours = f"ours {_amount(found, OURS)}" if found.values else "numbers agree"
    beside = (f"{row.peer} {row.theirs}{f' {row.ratio}' if row.ratio else ''}" for row in _peers(found))
    return "; ".join([ours, *beside])


def _rows(benchmark: Benchmark, name: str, outcome: Outcome) -> list[tuple[str | None, ...]]:
    found = outcome.measured
    if found is None:
        return [(name, outcome.what, None, None, None, *Row())]
    share = benchmark.share(found)
    ours = (
        *(name, outcome.what, _amount(found, OURS), ", ".join(found.rows)),
        None if share is None else f"{share:.0%}",
    )
    first, *others = [*_peers(found)] or [Row()]
    return [(*ours, *first), *(("",) * len(ours) + each for each in others)]


def _peers(found: Measured) -> Iterator[Row]:
    """Those that were measured, then those that were not."""
    for name, each in found.ratios.items():
        # Memory is measured by itself, not by turns.
        middle = None if each.low == each.high else f"{each.low:.2f}–{each.high:.2f}"
        yield Row(name, _amount(found, name), f"{each.ratio:.2f}×", middle)
    for name in found.missing:
        yield Row(name, "not there")
    for name in found.crashed:
        yield Row(name, "failed")


def _amount(found: Measured, side: str) -> str | None:
    return f"{found.values[side]:,.4g} {found.unit}" if side in found.values else None


def _caption(found: Benchmark) -> str:
    if found.check:
        return "Numbers compared at small sizes; nothing was timed."
    threads = f"{found.threads} {'thread' if found.threads == 1 else 'threads'} of torch"
    said = f"Medians, sides by turns; a ratio is how many times as much as ours. {threads}."
    if found.quick:
        return f"Small sizes, which say nothing of speed. {said}"
    if found.gflops is None:
        return said
    return f"{said} The peak is that of torch's matrix product here: {found.gflops:,.0f} GFLOP/s."
