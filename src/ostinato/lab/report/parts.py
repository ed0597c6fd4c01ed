"""What a section of a page is made of. Each part has a template of its own in `templates/`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

FEW = 6
"""Columns that a table may have and still stand beside another part."""


class Part(Protocol):
    """Something that a section shows; `wide`: it wants the whole width of the page."""

    template: ClassVar[str]

    @property
    def wide(self) -> bool: ...


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to another page, given relative to this one."""

    text: str
    href: str


Cell = str | int | float | Link | None


class Text:
    """Paragraphs of plain text."""

    template: ClassVar[str] = "text.html"
    wide = True

    def __init__(self, *paragraphs: str):
        self.paragraphs = paragraphs


@dataclass(frozen=True)
class Facts:
    """Names and what they are: machine, versions, settings."""

    pairs: Mapping[str, Cell]
    caption: str = ""
    template: ClassVar[str] = "facts.html"

    @property
    def wide(self) -> bool:
        return False

    @property
    def rows(self) -> list[tuple[str, str]]:
        return [(name, words(value)) for name, value in self.pairs.items()]


@dataclass(frozen=True)
class Code:
    """Text to be copied as it is: a command, a file. `folded`: shown when its caption is clicked."""

    text: str
    caption: str = ""
    folded: bool = False
    template: ClassVar[str] = "code.html"

    @property
    def wide(self) -> bool:
        return True


@dataclass(frozen=True)
class Table:
    """Rows under columns. Numbers stand to the right; a string is shown as it is given.

    The first column names its row. A table of many columns scrolls in its own box on a phone.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    template: ClassVar[str] = "table.html"

    @property
    def wide(self) -> bool:
        return len(self.columns) > FEW

    @property
    def kinds(self) -> list[str]:
        """Of each column: "number" when all that it shows are, else "text"."""
        columns = [[row[index] for row in self.rows] for index in range(len(self.columns))]
        return ["number" if _numbers(column) else "text" for column in columns]


def words(cell: Cell) -> str:
    """What a cell shows.

    >>> words(12345), words(12345.6), words(0.123456), words(None)
    ('12,345', '12,346', '0.1235', '–')
    """
    match cell:
        case None:
            return "–"
        case bool():
            return "yes" if cell else "no"
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:,.0f}" if 1e4 <= abs(cell) < 1e15 else f"{cell:,.4g}"
        case Link():
            return cell.text
        case _:
            return cell


def _numbers(cells: Sequence[Cell]) -> bool:
    shown = [words(cell) for cell in cells if cell is not None]
    return bool(shown) and all(re.match(r"[-−+±<>≤≥~≈]?\s?\.?\d|–$|nan|inf", each) for each in shown)
