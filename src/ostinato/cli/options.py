"""Options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ostinato.training import Recipe

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, as train made it.")]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Read images from IDX files (plain, .gz or .xz, under MNIST's official names) instead "
        "of the MNIST that comes with the package.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Processor threads; all cores by default.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, …")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Change = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the recipe, such as optimizer.lr=0.003; may be repeated.",
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Instead of the recipe's.")]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Train this many steps instead.")]
Epochs = Annotated[int | None, typer.Option(metavar="N", help="Train this many epochs instead.")]


def changed(
    recipe: str,
    change: Sequence[str] | None,
    seed: int | None,
    steps: int | None,
    epochs: int | None,
) -> "Recipe":
    """The recipe with what the options above change in it."""
    from ostinato import training

    if steps is not None and epochs is not None:
        raise typer.BadParameter("expected --steps or --epochs, got both")
    settings = training.read_recipe(recipe, dict(_pair(each) for each in change or ()))
    return training.with_training(settings, seed, steps, epochs)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"expected KEY=VALUE, such as optimizer.lr=0.003; got {text!r}")
    return key.strip(), value.strip()
