"""A sweep on one page."""

import shlex
from pathlib import Path

from ostinato.lab.report import Chart, Code, Facts, Link, Page, Section, Table
from ostinato.lab.report.parts import Cell
from ostinato.lab.sweep.description import Sweep, SweepFolder, Trial
from ostinato.lab.sweep.pictures import diagrams, side_by_side
from ostinato.lab.sweep.space import at_point

COLUMNS = ("outcome", "validation accuracy", "steps", "seconds", "why")


def page_of(path: Path) -> Page:
    """The page of the sweep in a folder, as it stands there."""
    return page(SweepFolder(path), Sweep.open(path))


def page(folder: SweepFolder, sweep: Sweep) -> Page:
    """The pictures, every trial, the best recipe, and how it was made."""
    recipe = sweep.settings()
    sections = [Section("Trials", [trials(sweep, folder)])]
    if sweep.best is not None:
        charts = [
            Chart(side_by_side({name: diagram}), f"Validation accuracy over {name}.")
            for name, diagram in diagrams(sweep).items()
        ]
        best = at_point(recipe, sweep.best.point).to_toml()
        sections = [
            Section("Accuracy", charts),
            *sections,
            Section("The best recipe", [Code(best, f"best.toml: ostinato train {folder.best}")]),
        ]
    sections.append(
        Section("How it was made", [
            Code(command(sweep, folder)),
            Facts({"data": sweep.data_folder or "MNIST (bundled)", "threads": sweep.threads,
                   "device": sweep.device, "began": sweep.started}, "The sweep."),
            Facts(sweep.machine | sweep.versions, "Machine and versions."),
        ])
    )  # fmt: skip
    return Page(f"Sweep of {recipe.name}", lead(sweep), sections)


def lead(sweep: Sweep) -> str:
    """What came out, in a sentence or two."""
    failed = sum(each.outcome == "failed" for each in sweep.trials)
    ending = f" {failed} of {len(sweep.trials)} trials failed." if failed else ""
    if sweep.best is None:
        return f"No trial came to its end.{ending}"
    best = sweep.best
    return (
        f"Best of {len(sweep.trials)} trials: {said(best.point)}, with {best.accuracy:.2%} on the "
        f"validation images. Its model, tested once: {best.test_accuracy:.2%} of the test images."
        f"{ending}"
    )


def trials(sweep: Sweep, folder: SweepFolder) -> Table:
    """Best first; those without an accuracy after them."""
    keys = list(sweep.trials[0].point) if sweep.trials else []
    ordered = sorted(sweep.trials, key=lambda each: -(each.accuracy or 0.0))
    return Table(
        ("trial", *keys, *COLUMNS),
        [_row(each, keys, folder) for each in ordered],
        "Every trial, best first. Validation images judge; the test images have no say.",
    )


def said(point: dict[str, str]) -> str:
    """A point in words."""
    return ", ".join(f"{key} = {shown(value)}" for key, value in point.items())


def shown(value: str) -> str:
    """A value with as many digits as one reads."""
    try:
        number = float(value)
    except ValueError:
        return value
    return value if number == int(number) else f"{number:.4g}"


def command(sweep: Sweep, folder: SweepFolder) -> str:
    """What makes the sweep again."""
    words = ["ostinato", "sweep", str(folder.recipe)]
    words += [word for each in sweep.over for word in ("--over", each)]
    words += [] if sweep.grid else ["--trials", str(sweep.count)]
    words += [] if sweep.data_folder is None else ["--data", sweep.data_folder]
    return shlex.join([*words, "--threads", str(sweep.threads)])


def _row(trial: Trial, keys: list[str], folder: SweepFolder) -> list[Cell]:
    accuracy = None if trial.accuracy is None else f"{trial.accuracy:.2%}"
    report = folder.run(trial.number).path / "report.html"
    number = str(trial.number)
    return [
        Link(number, str(report.relative_to(folder.path))) if report.exists() else number,
        *(shown(trial.point[key]) for key in keys),
        trial.outcome,
        accuracy,
        trial.steps,
        trial.seconds,
        trial.why,
    ]
