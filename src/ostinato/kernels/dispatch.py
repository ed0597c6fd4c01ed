"""The table of rows: who can run a call, fastest first, and why not where one cannot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.cells.checks import autocast_chooses
from ostinato.errors import OptionError, RowError, nearest
from ostinato.kernels import native
from ostinato.programs import operator
from ostinato.programs.compiled import step_program
from ostinato.programs.trace import Untraceable

RowName = Literal["auto", "native", "program", "reference"]

exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)
"""Whether torch.export is at work; torch could not always say so."""


@dataclass(frozen=True)
class Row:
    """Who runs a call: a name, what it is, and why it cannot run one (None where it can)."""

    name: str
    what: str
    why_not: Callable[[Cell, Tensor], str | None]


def _program(cell: Cell, x: Tensor) -> str | None:
    if exporting():
        return "torch.export is at work, and what it writes has to run without this library"
    if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return "torch.jit.trace is at work, which writes down what the plain loop calls"
    if torch._C._functorch.maybe_current_level() is not None:
        return "a transform of torch.func is at work, which autograd alone can follow"
    if autocast_chooses(x.device):
        return "autocast chooses a kind of number for each operation, and a program has one for all"
    if x.is_meta:
        return "a meta tensor has a shape alone, and nothing to compute with"
    if x.is_complex():
        return "complex numbers have slopes of their own, which a program does not know"
    if torch.compiler.is_compiling():
        reason = operator.why_not(cell, "program")
        return None if reason is None else f"the step cannot become a program: {reason}"
    if any(weight.is_inference() for weight in cell.parameters()):
        return "its weights were made in inference mode, and cannot be told when they change"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is at work, and a program has a backward pass alone"
    try:
        step_program(cell)
    except Untraceable as reason:
        return f"the step cannot become a program: {reason}"
    return None


def _native(cell: Cell, x: Tensor) -> str | None:
    if x.device.type != "cpu":
        return f"it runs on CPUs, and x is on {x.device}"
    if x.dtype != torch.float32:
        return f"it computes in float32, and x is {x.dtype}"
    if not torch.compiler.is_compiling():
        for each in (x, *cell.parameters(), *cell.buffers()):
            # Its numbers may be elsewhere than where its memory is, or nowhere.
            if type(each) not in (Tensor, nn.Parameter):
                return f"it reads memory, and a {type(each).__name__} is more than that, or less"
    return _program(cell, x) or native.why_not(cell)


ROWS = (
    Row("native", "the step's program, walked by the compiled core", _native),
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
