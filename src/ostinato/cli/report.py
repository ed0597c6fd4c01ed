"""`ostinato report`: what came out, as one page."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: ostinato report runs/sru-seed0 --open"


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="What a command of Ostinato made, such as a run.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the page goes; report.html in FOLDER by default."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write the page of a folder: one HTML file that needs no network."""
    import webbrowser

    from ostinato.errors import OstinatoError
    from ostinato.lab.report import write_report

    page = write_report(folder, out)
    print(page)
    if show and not webbrowser.open(page.resolve().as_uri()):
        raise OstinatoError(
            f"{page} is written, but there is no browser here that could show it. Open it with one."
        )
