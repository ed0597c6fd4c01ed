"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
