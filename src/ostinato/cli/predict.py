"""`ostinato predict`: what a picture shows."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli.options import Json, Run

EXAMPLE = "Example: ostinato predict runs/sru-seed0 seven.png photo.jpg"


def predict(
    run: Run,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE…",
            help="Pictures of one digit each: PNG or JPEG, any size, light on dark or dark on light.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say which digit each picture shows, with a probability for every digit.

    A picture is cropped, scaled and centred as MNIST's were; one of 28×28 is taken as it is.
    """
    from ostinato import training

    for path, probabilities in zip(images, training.classify(run, images), strict=True):
        if as_json:
            best = probabilities.index(max(probabilities))
            print(json.dumps({"image": str(path), "digit": best, "probabilities": probabilities}))
        else:
            _show(path, probabilities)


def _show(path: Path, probabilities: list[float]) -> None:
    best = probabilities.index(max(probabilities))
    print(f"{path}: {best}")
    for digit, probability in enumerate(probabilities):
        bar = "█" * round(probability * 30)
        print(f"  {digit}  {probability:6.2%}  {bar}".rstrip())
