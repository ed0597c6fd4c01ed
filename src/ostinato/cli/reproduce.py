"""`ostinato reproduce`: the tutorials again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostinato.cli.options import Threads

if TYPE_CHECKING:
    from ostinato.lab.reproduce import Reproduction

EXAMPLE = "Example: ostinato reproduce sru --quick"


def reproduce(
    tutorials: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TUTORIAL…]",
            help="1 (sru), 2 (bigru), 3 (static), 4 (introduction), 5 (deep): all five by default.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A look: few steps, short timings; no measure of accuracy."),
    ] = False,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Train everything from so many seeds.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where it goes; runs/reproduction by default."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Train and time what the five tutorials did, and put it beside what they published.

    Interrupted, it goes on when the same command is given again.
    """
    from ostinato.cli.stages import watcher
    from ostinato.lab import reproduce as lab

    known = lab.tutorials()
    say_outcome(
        *lab.reproduce(
            tutorials or (),
            out,
            effort=known.quick if quick else known.full,
            seeds=seeds,
            threads=threads,
            watcher=watcher(),
        )
    )


def say_outcome(folder: Path, found: "Reproduction") -> None:
    """Published beside ours, and where everything is."""
    from rich.console import Console
    from rich.table import Table

    from ostinato.lab.report.parts import words
    from ostinato.lab.reproduce.page import beside, lead

    table = Table(box=None, pad_edge=False)
    for number, part in [(each.number, beside(each, found)) for each in found.chosen()]:
        if not table.columns:
            for heading in ("tutorial", *part.columns):
                table.add_column(heading, overflow="fold")
        for row in part.rows:
            table.add_row(str(number), *map(words, row))
    print()
    Console().print(table)
    print(f"\n{lead(found)}\n")
    print(f"  report   {folder / 'report.html'}")
    print(f"  figures  {found.file(folder)}")
