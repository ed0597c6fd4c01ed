"""The table of rows: who can run a call, fastest first, and why not where one cannot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ostinato.cells import Cell
from ostinato.errors import OptionError, RowError, nearest
from ostinato.programs.compiled import step_program
from ostinato.programs.trace import Untraceable

RowName = Literal["auto", "program", "reference"]


@dataclass(frozen=True)
class Row:
    """Who runs a call: a name, what it is, and why it cannot run one (None where it can)."""

    name: str
    what: str
    why_not: Callable[[Cell, Tensor], str | None]


def _program(cell: Cell, x: Tensor) -> str | None:
    if torch.compiler.is_compiling():
        return "torch.compile is at work, and sees more in the plain loop"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a transform of torch.func is at work, which autograd alone can follow"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is at work, and a program has a backward pass alone"
    if torch.is_autocast_enabled(x.device.type):
        return "autocast chooses a kind of number for each operation, and a program has one for all"
    try:
        step_program(cell)
    except Untraceable as reason:
        return f"the step cannot become a program: {reason}"
    return None


ROWS = (
    Row("program", "the step's program in plain torch, with its derived backward", _program),
    Row("reference", "the plain loop over the step, with autograd", lambda cell, x: None),
)
"""In the order in which `auto` asks them."""


def choose_row(cell: Cell, x: Tensor, wish: str = "auto") -> tuple[Row, dict[str, str]]:
    """The row that runs a call, and why each one before it does not.

    Raises RowError for a wished row that cannot run it, OptionError for one that does not exist.
    """
    if wish == "auto":
        reasons: dict[str, str] = {}
        for row in ROWS:
            why_not = row.why_not(cell, x)
            if why_not is None:
                return row, reasons
            reasons[row.name] = why_not
        raise AssertionError("the reference runs everything")
    check_row(wish)
    row = next(row for row in ROWS if row.name == wish)
    why_not = row.why_not(cell, x)
    if why_not is not None:
        raise RowError(
            f'{type(cell).__name__}: the row "{wish}" cannot run this call: {why_not}. '
            'Use row="auto" or row="reference".'
        )
    return row, {}


def check_row(wish: str) -> None:
    """Raises OptionError for a row that does not exist."""
    names = ["auto", *(row.name for row in ROWS)]
    if wish not in names:
        raise OptionError(f'There is no row "{wish}"; {nearest(wish, names)}')
