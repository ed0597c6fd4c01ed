"""The page of a benchmark: the table, pictures of it, and on what it was measured."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ostinato.lab.bench.harness import OURS
from ostinato.lab.bench.results import Benchmark
from ostinato.lab.bench.table import notes, table
from ostinato.lab.colours import colours
from ostinato.lab.report import Chart, Facts, Page, Section, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAMILY = "width-"
"""What the names of cases begin with that differ in nothing but H: `width-train-lstm/128`."""


def page_of(folder: Path) -> Page:
    """Of the results in a folder. Raises RunError when they are damaged."""
    found = Benchmark.open(folder)
    sections = [Section("Table", [table(found)])]
    if said := notes(found):
        sections.append(Section("What is not in it", [Text(*said)]))
    charts = [*_ratios(found), *_widths(found)]
    if charts and not found.quick:
        sections.insert(0, Section("Pictures", charts))
    about = [Facts(found.machine, "Machine"), Facts(found.versions, "Versions")]
    sections.append(Section("Where it was measured", about))
    return Page("Benchmark", _lead(found), sections)


def _lead(found: Benchmark) -> str:
    said = f"{len(found.cases)} cases, begun {found.started.replace('T', ' ').partition('+')[0]} UTC. "
    if found.check or found.quick:
        return said + "Small sizes: a check that all works, which says nothing of speed."
    return said + "Sides took turns in one process, after they were seen to come to the same numbers."


def _ratios(found: Benchmark) -> Iterator[Chart]:
    """Every peer of every case as a point, by how many times as much as ours it takes."""
    points = [
        (name, peer, ratio)
        for name, each in found.cases.items()
        if each.measured is not None and not name.startswith(FAMILY)
        for peer, ratio in each.measured.ratios.items()
    ]
    if not points:
        return
    names = list(dict.fromkeys(name for name, _, _ in points))
    figure, axes = _figure(7.0, 1.2 + 0.32 * len(names))
    tints = colours(peer for _, peer, _ in points)
    for peer, tint in tints.items():
        own = [(ratio, names.index(name)) for name, each, ratio in points if each == peer]
        middle = [ratio.ratio for ratio, _ in own]
        below = [ratio.ratio - ratio.low for ratio, _ in own]
        above = [ratio.high - ratio.ratio for ratio, _ in own]
        spread = [[max(0.0, each) for each in side] for side in (below, above)]
        at = [place for _, place in own]
        axes.errorbar(middle, at, xerr=spread, fmt="o", color=tint, label=peer, markersize=5)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}×")
    axes.set_xlabel("times as much as ours")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    yield Chart(figure, "Ours is the line at 1; to the right of it ours is better. Bars: middle half.")


def _widths(found: Benchmark) -> Iterator[Chart]:
    """Time over H, a picture for each family."""
    from matplotlib.ticker import LogFormatter

    families: dict[str, dict[int, dict[str, float]]] = {}
    for name, each in found.cases.items():
        if name.startswith(FAMILY) and each.measured is not None and each.measured.values:
            family, _, hidden = name.partition("/")
            families.setdefault(family, {})[int(hidden)] = each.measured.values
    for family, values in families.items():
        figure, axes = _figure(5.5, 3.6)
        sides = colours([OURS, *(side for each in values.values() for side in each)])
        for side, tint in sides.items():
            own = [(hidden, each[side]) for hidden, each in sorted(values.items()) if side in each]
            axes.plot(*zip(*own, strict=True), "o-", color=tint, label=side, markersize=4)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.6)))
        axes.set_xlabel("H")
        axes.set_ylabel("ms")
        axes.legend(frameon=False)
        yield Chart(figure, f"{family.removeprefix(FAMILY)}: time by width")


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
