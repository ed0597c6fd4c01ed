"""A comparison on one page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ostinato.lab.compare.description import (
    Comparison,
    ComparisonFolder,
    Entrant,
    Ragged,
)
from ostinato.lab.compare.drivers import RECIPES, claims
from ostinato.lab.compare.figures import Measured
from ostinato.lab.compare.pictures import DIAGRAMS, draw
from ostinato.lab.compare.table import failures, legend, table
from ostinato.lab.report import Chart, Code, Facts, Link, Page, Section, Table, Text
from ostinato.lab.report.parts import Part
from ostinato.training import read_recipe, recipe_names


def page_of(path: Path) -> Page:
    """The page of the comparison in a folder, as it stands there."""
    folder, comparison = ComparisonFolder(path), Comparison.open(path)
    runs = {
        each.name: [Measured.of(run) for run in folder.finished(each)] for each in comparison.entrants
    }
    return page(folder, comparison, runs)


def page(
    folder: ComparisonFolder, comparison: Comparison, runs: Mapping[str, Sequence[Measured]]
) -> Page:
    """The table, what failed, the pictures, the drivers' part, each run, and how it was made."""
    failed = failures(comparison)
    parts: list[Part] = [table(comparison), Text(*failed, legend(comparison))]
    sections = [Section("Table", parts)]
    if any(runs.values()):
        charts = [Chart(draw(each, runs), each.caption) for each in DIAGRAMS]
        sections.append(Section("Curves", charts))
    sections += about_drivers(comparison)
    sections += [
        Section("Runs", [runs_table(folder, comparison)]),
        Section(
            "How it was made",
            [
                Code(command(folder, comparison)),
                Facts(
                    {
                        "data": comparison.data,
                        "seeds": ", ".join(map(str, comparison.seeds)),
                        "threads": comparison.threads,
                        "device": comparison.device,
                        "began": comparison.started,
                        "ended": comparison.finished,
                    },
                    "The comparison.",
                ),
                Facts(comparison.machine | comparison.versions, "Machine and versions."),
            ],
        ),
    ]
    return Page(f"{comparison.title}, compared", lead(comparison), sections)


def lead(comparison: Comparison) -> str:
    """What came out, in a sentence or two."""
    found = {each.name: each.figures for each in comparison.entrants if each.figures is not None}
    if not found:
        return "No recipe came to its end."
    best = max(found, key=lambda name: found[name].test_accuracy)
    fastest = min(found, key=lambda name: found[name].step_ms["median"])
    said = f"Best on the test images: {best}, with {found[best].test_accuracy:.2%}."
    said += f" Fastest: {fastest}, with {found[fastest].step_ms['median']:.3g} ms per step."
    if failed := len(failures(comparison)):
        said += f" {failed} {'training' if failed == 1 else 'trainings'} failed."
    return said


def about_drivers(comparison: Comparison) -> list[Section]:
    """What is asked of the static and the dynamic driver alone."""
    sections = []
    if comparison.about_drivers and (found := claims(comparison)):
        sections.append(Section("Static and dynamic", [Facts(found, "One loop unrolled, one not.")]))
    if comparison.ragged:
        sections.append(Section("Rows of many lengths", [ragged_table(comparison.ragged)]))
    return sections


def ragged_table(ragged: Sequence[Ragged]) -> Table:
    columns = ("case", "no padding", "µs with lengths", "µs padded", "padded takes", "ran by")
    rows = [
        (
            each.case,
            f"{each.valid:.0%}",
            each.us_per_step["lengths"],
            each.us_per_step["padded"],
            f"{each.ratio:.2f}× ({each.ratio_quartiles[0]:.2f}–{each.ratio_quartiles[1]:.2f})",
            ", ".join(each.ran_by),
        )
        for each in ragged
    ]
    return Table(
        columns,
        rows,
        "The dynamic driver, forwards and backwards, in microseconds for each step that is no padding: "
        "a batch whose lengths it is told, beside the same batch walked to its end. The static driver "
        "has one length alone.",
    )


def runs_table(folder: ComparisonFolder, comparison: Comparison) -> Table:
    rows = []
    for each in comparison.entrants:
        for entry in each.runs:
            run = folder.run(entry)
            result = None
            if entry.failed is None and (run.path / "run.json").exists():
                result = (run.read_record().result or {}).get("test_accuracy")
            report = run.path / "report.html"
            name: str | Link = each.name
            if report.exists():
                name = Link(each.name, os.path.relpath(report, folder.path))
            said = entry.failed if result is None else f"{result:.2%}"
            rows.append((name, entry.seed, said, entry.path))
    return Table(
        ("recipe", "seed", "test accuracy", "folder"),
        rows,
        "Each run by itself; ostinato report makes the page of one.",
    )


def command(folder: ComparisonFolder, comparison: Comparison) -> str:
    """What makes the comparison again."""
    seeds = f"--seeds {','.join(map(str, comparison.seeds))}"
    if not comparison.by_turns:
        named, seeds = [run.path for each in comparison.entrants for run in each.runs], ""
    elif comparison.about_drivers and all(_as_shipped(each) for each in comparison.entrants):
        named = list(RECIPES)
    else:
        named = [
            each.name if _as_shipped(each) else str(folder.run(each.runs[0]).path / "recipe.toml")
            for each in comparison.entrants
        ]
    return " ".join(
        filter(
            None,
            [
                "ostinato compare",
                *named,
                seeds,
                "" if comparison.to is None else f"--to {comparison.to:g}",
            ],
        )
    )


def _as_shipped(entrant: Entrant) -> bool:
    """Whether its name alone says what it is."""
    if entrant.name not in recipe_names():
        return False
    return read_recipe(entrant.name).to_toml() == entrant.recipe


def write_page(
    folder: ComparisonFolder, comparison: Comparison, runs: Mapping[str, Sequence[Measured]]
) -> None:
    """Writes `report.html`."""
    page(folder, comparison, runs).write(folder.report)
