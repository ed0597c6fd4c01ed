"""`ostinato sweep`: the best values of a recipe's keys."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostinato.cli.options import Change, Data, Device, Epochs, Seed, Steps, Threads, changed
from ostinato.errors import OstinatoError

if TYPE_CHECKING:
    from ostinato.lab.sweep import Sweep, SweepFolder

EXAMPLE = (
    "Example: ostinato sweep sru --over optimizer.lr=1e-4..1e-1:log --over model.hidden=64,128 "
    "--epochs 1"
)


def sweep(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name from `ostinato recipes`, or a TOML file.")
    ],
    over: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUES",
            help="What to search: KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=VALUE,VALUE; may be "
            "repeated.",
        ),
    ],
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many to train. By default 20; where there are only lists, every combination.",
        ),
    ] = None,
    change: Change = None,
    seed: Seed = None,
    steps: Steps = None,
    epochs: Epochs = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the sweep goes; runs/RECIPE-sweep by default."),
    ] = None,
    data: Data = None,
    threads: Threads = None,
    device: Device = "cpu",
) -> None:
    """Train a recipe with many values of some keys, and find the best on the validation images.

    Interrupted, it goes on when the same command is given again. The best recipe is tested once, on the
    test images, and written as TOML.
    """
    from ostinato.cli.stages import watcher
    from ostinato.lab import sweep as lab

    folder, found = lab.sweep(
        changed(recipe, change, seed, steps, epochs),
        over,
        out,
        trials=trials,
        data=data,
        device=device,
        threads=threads,
        watcher=watcher(),
    )
    say_outcome(folder, found)


def say_outcome(folder: "SweepFolder", sweep: "Sweep") -> None:
    """The trials, best first, and where everything is."""
    from rich.console import Console
    from rich.table import Table

    from ostinato.lab.report.parts import words
    from ostinato.lab.sweep.page import lead, trials

    listed = trials(sweep, folder)
    table = Table(box=None, pad_edge=False)
    for heading in listed.columns:
        table.add_column(heading, overflow="fold")
    for row in listed.rows:
        table.add_row(*(words(cell).split("\n")[0] for cell in row))
    print()
    Console().print(table)
    print(f"\n{lead(sweep)}\n")
    print(f"  report   {folder.report}")
    if sweep.best is None:
        raise OstinatoError(f"{folder.path}: no trial came to its end; the table says why.")
    print(f"  picture  {folder.picture}")
    print(f"  model    {folder.run(sweep.best.number).model}")
    print(f"  recipe   {folder.best}  (again: ostinato train {folder.best})")
