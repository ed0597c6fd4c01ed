"""`ostinato train`: from a recipe to a tested model."""

from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli.options import Change, Data, Device, Epochs, Seed, Steps, Threads, changed

EXAMPLE = "Example: ostinato train sru --epochs 1 --set optimizer.lr=0.003 --out runs/slower"


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name from `ostinato recipes`, or a TOML file.")
    ],
    change: Change = None,
    seed: Seed = None,
    steps: Steps = None,
    epochs: Epochs = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the run goes; runs/RECIPE-seedN by default."),
    ] = None,
    data: Data = None,
    threads: Threads = None,
    device: Device = "cpu",
) -> None:
    """Train a recipe, save the model, read it back and test it."""
    from ostinato import training
    from ostinato.cli.outcome import say_outcome
    from ostinato.cli.progress import observer

    settings = changed(recipe, change, seed, steps, epochs)
    run, score = training.train(
        settings, out, data=data, device=device, threads=threads, observer=observer()
    )
    say_outcome(run, score)
