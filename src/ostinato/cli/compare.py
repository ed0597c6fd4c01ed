"""`ostinato compare`: recipes side by side, or runs trained before."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostinato.cli.options import Change, Data, Device, Epochs, Steps, Threads, changed

if TYPE_CHECKING:
    from ostinato.lab.compare import Comparison, ComparisonFolder

EXAMPLE = "Example: ostinato compare sru lstm --seeds 3 --epochs 1 --to 0.95"


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE…",
            help="Names from `ostinato recipes` or TOML files, two or more; or the folders of "
            "finished runs; or the words static dynamic, which stand for lstm-static and "
            "lstm-dynamic and all that their tutorial asks.",
        ),
    ],
    seeds: Annotated[
        str,
        typer.Option(metavar="N", help="How many, from 0 on; or which, separated by commas: 0,1,2."),
    ] = "1",
    to: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="ACCURACY",
            help="Count the steps and seconds until this one; 0.97, unless all recipes end at one.",
        ),
    ] = None,
    change: Change = None,
    steps: Steps = None,
    epochs: Epochs = None,
    memory: Annotated[
        bool, typer.Option(help="Measure the memory of a training step, in processes of its own.")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the comparison goes, or where one goes on; runs/A-vs-B by default.",
        ),
    ] = None,
    data: Data = None,
    threads: Threads = None,
    device: Device = "cpu",
) -> None:
    """Train recipes side by side, a step each in turn, and say which learns better and faster.

    All see the same images in the same order, from each seed in turn. Interrupted, it goes on when the
    same command is given with --out, or by `ostinato resume FOLDER`.
    """
    from ostinato.cli.compare_progress import watcher
    from ostinato.lab import compare as lab
    from ostinato.training import recipe_names

    runs = [Path(name) for name in names if Path(name).is_dir() and name not in recipe_names()]
    if runs:
        if len(runs) < len(names):
            raise typer.BadParameter(f"expected recipes or folders of runs, got both ({runs[0]})")
        if change or steps or epochs or data:
            raise typer.BadParameter("runs are as they are: --set, --steps, … are for recipes")
        say_outcome(*lab.compare_runs(runs, out, to=to))
        return
    about_drivers = sorted(names) == sorted(lab.DRIVERS)
    recipes = [lab.DRIVERS[name] for name in names] if about_drivers else names
    folder, comparison = lab.compare(
        [changed(recipe, change, None, steps, epochs) for recipe in recipes],
        _parse(seeds),
        out,
        to=to,
        memory=memory,
        about_drivers=about_drivers,
        data=data,
        device=device,
        threads=threads,
        watcher=watcher(),
    )
    say_outcome(folder, comparison)


def say_outcome(folder: "ComparisonFolder", comparison: "Comparison") -> None:
    """The table, what failed, and where everything is."""
    from ostinato.cli.tables import show
    from ostinato.lab.compare.page import about_drivers
    from ostinato.lab.compare.table import failures, legend, table

    print()
    show(table(comparison))
    for words in (*failures(comparison), legend(comparison)):
        print(f"\n{words}")
    for section in about_drivers(comparison):
        print(f"\n{section.heading}")
        for part in section.parts:
            show(part)
    print(f"\n  report   {folder.report}")
    print(f"  picture  {folder.curves}")
    print(f"  table    {folder.table}")


def _parse(seeds: str) -> list[int]:
    try:
        numbers = [int(each) for each in seeds.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise typer.BadParameter(
            f"expected --seeds N, or numbers of 0 or more such as 0,1,2; got {seeds!r}"
        )
    return list(range(numbers[0])) if len(numbers) == 1 else numbers
