"""The table of a comparison: in words for people, in numbers as CSV."""

import csv
import io
from pathlib import Path

from ostinato.files import write_atomically
from ostinato.lab.compare.description import Comparison, Entrant, Figures
from ostinato.lab.compare.figures import WINDOW
from ostinato.lab.report import Table
from ostinato.lab.report.parts import Cell


def table(comparison: Comparison) -> Table:
    """A row for each entrant; what could not be had says why."""
    first = next((each.name for each in comparison.entrants if each.figures), "")
    goal = "its end" if comparison.to is None else f"{comparison.to:.4g}"
    columns = [
        "recipe",
        "test accuracy",
        "ms per step",
        f"× {first}",
        "parameters",
        "memory of a step",
        f"steps to {goal}",
        f"seconds to {goal}",
        "ran by",
    ]
    return Table(columns, [_row(each, first) for each in comparison.entrants])


def legend(comparison: Comparison) -> str:
    """How the table is read."""
    seeds = len(comparison.seeds)
    said = [
        f"Test accuracy: mean ± standard deviation over {seeds} seeds." if seeds > 1 else "",
        "Milliseconds: median (quartiles) of all steps, beside the first recipe as a ratio of medians"
        + (" with the quartiles of single turns." if comparison.by_turns else "; trained apart."),
        "Memory: by what a training step raises a fresh process." if comparison.measures_memory else "",
        "Steps and seconds to its end: until a batch is classified as well as the recipe asks."
        if comparison.to is None
        else f"Steps and seconds to {comparison.to:.4g}: until the mean accuracy of the last {WINDOW} "
        "training batches is that high.",
        "Seconds are those of its own turns.",
    ]
    return " ".join(filter(None, said))


def failures(comparison: Comparison) -> list[str]:
    """A sentence for each training that did not come to its end."""
    return [
        f"{each.name}, seed {run.seed}, failed: {run.failed}"
        for each in comparison.entrants
        for run in each.runs
        if run.failed is not None
    ]


def write_table(comparison: Comparison, path: Path) -> None:
    """Every figure as a number, a row a recipe."""
    text = io.StringIO()
    rows = [_numbers(each) for each in comparison.entrants]
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def _row(entrant: Entrant, first: str) -> list[Cell]:
    found, seeds = entrant.figures, len(entrant.runs)
    if found is None:
        return [entrant.name, "failed", *[None] * 7]
    return [
        entrant.name,
        f"{found.test_accuracy:.2%}" + ("" if found.spread is None else f" ± {found.spread:.2%}"),
        _between(found.step_ms["median"], found.step_ms["quartile_1"], found.step_ms["quartile_3"]),
        "1" if entrant.name == first else _ratio(found),
        found.parameters,
        _memory(entrant),
        _reached(found.steps_to, found, seeds),
        _reached(found.seconds_to, found, seeds),
        ", ".join(found.ran_by) or "torch",
    ]


def _ratio(found: Figures) -> str | None:
    return None if found.ratio is None else _between(found.ratio, *(found.ratio_quartiles or ()))


def _memory(entrant: Entrant) -> str | None:
    return entrant.no_memory if entrant.memory is None else f"{entrant.memory / 1e6:.1f} MB"


def _reached(mean: float | None, figures: Figures, seeds: int) -> str:
    if mean is None:
        return "not reached"
    return f"{mean:,.4g}" + (
        "" if figures.reached == seeds else f" ({figures.reached} of {seeds} seeds)"
    )


def _between(middle: float, *quartiles: float) -> str:
    around = "–".join(f"{each:.3g}" for each in quartiles)
    return f"{middle:.3g}" + (f" ({around})" if around else "")


def _numbers(entrant: Entrant) -> dict[str, object]:
    row: dict[str, object] = {"recipe": entrant.name}
    if entrant.figures is not None:
        for name, value in entrant.figures.model_dump().items():
            match value:
                case dict():
                    row |= {f"{name}_{key}": each for key, each in value.items()}
                case tuple():
                    row |= {f"{name}_low": value[0], f"{name}_high": value[1]}
                case list():
                    row[name] = " ".join(value)
                case _:
                    row[name] = value
    return row | {
        "memory_bytes": entrant.memory,
        "failed": sum(r.failed is not None for r in entrant.runs),
    }
