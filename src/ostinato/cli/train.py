"""`ostinato train`: from a recipe to a tested model."""

from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli.options import Data, Device, Threads

EXAMPLE = "Example: ostinato train sru --epochs 1 --set optimizer.lr=0.003 --out runs/slower"


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name from `ostinato recipes`, or a TOML file.")
    ],
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one key of the recipe, such as optimizer.lr=0.003; may be repeated.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Instead of the recipe's.")] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Train this many steps instead.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Train this many epochs instead.")
    ] = None,
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

    if steps is not None and epochs is not None:
        raise typer.BadParameter("expected --steps or --epochs, got both")
    settings = training.read_recipe(recipe, dict(_pair(each) for each in change or ()))
    settings = training.with_training(settings, seed, steps, epochs)
    run, score = training.train(
        settings, out, data=data, device=device, threads=threads, observer=observer()
    )
    say_outcome(run, score)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"expected KEY=VALUE, such as optimizer.lr=0.003; got {text!r}")
    return key.strip(), value.strip()
