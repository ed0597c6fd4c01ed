"""Tables and facts of a report, as they stand on a terminal."""

from typing import TYPE_CHECKING

from ostinato.lab.report import Facts, Table
from ostinato.lab.report.parts import words

if TYPE_CHECKING:
    from ostinato.lab.report.parts import Part

PIPE = 180
"""Columns where there is no terminal: nobody's window ends there."""


def show(part: "Part") -> None:
    """Prints a table with its caption under it, or facts; other parts are for pages."""
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console()
    if not console.is_terminal:
        console.width = PIPE
    grid = Grid(box=None, pad_edge=False)
    if isinstance(part, Table):
        for heading, kind in zip(part.columns, part.kinds, strict=True):
            grid.add_column(heading, overflow="fold", justify="right" if kind == "number" else "left")
        for row in part.rows:
            grid.add_row(*map(words, row))
    elif isinstance(part, Facts):
        grid.show_header = False
        for name, value in part.rows:
            grid.add_row(name, value)
    console.print(grid, highlight=False)
    if isinstance(part, Table) and part.caption:
        console.print(f"\n{part.caption}", highlight=False)
