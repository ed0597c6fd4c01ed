"""Who runs a layer, on which program, and why others do not."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.drivers.recurrent import Recurrent
from ostinato.errors import OptionError
from ostinato.kernels.dispatch import ROWS, Row, choose_row
from ostinato.nn import RecurrentLayers
from ostinato.programs.compiled import StepProgram, step_program
from ostinato.programs.operator import MAKERS
from ostinato.programs.text import Reader


@dataclass(frozen=True)
class Explanation:
    """What is to be said of one recurrent layer; `str` says it."""

    name: str
    layer: str
    row: Row
    why_not: dict[str, str]
    forward: str | None
    backward: str | None
    kept: str | None

    def __str__(self) -> str:
        title = f"{self.name}: {self.layer}" if self.name else self.layer
        lines = [title, f"row {self.row.name}: {self.row.what}"]
        lines += [f"not {name}: {reason}" for name, reason in self.why_not.items()]
        for heading, text in (("forward", self.forward), ("backward", self.backward)):
            if text is not None:
                lines += ["", heading, *("    " + line for line in text.splitlines())]
        return "\n".join([*lines, *([] if self.kept is None else ["", self.kept])])


def explain(layer: nn.Module, x: Tensor) -> None:
    """Prints of each recurrent layer its program in three parts, forwards and backwards, and its row.

    `layer` is a cell, a Recurrent, or anything that contains some; `x` is a batch that it might be
    given.

        >>> import torch, ostinato
        >>> from ostinato.cells import SRU
        >>> from ostinato.drivers import Recurrent
        >>> ostinato.explain(Recurrent(SRU(28, 128)), torch.zeros(1, 28, 28))  # doctest: +ELLIPSIS
        SRU(input_size=28, hidden_size=128)
        row program: ...
    """
    print("\n\n".join(map(str, explanations(layer, x))))


def explanations(layer: nn.Module, x: Tensor) -> list[Explanation]:
    """What `explain` prints, one a kind of layer.

    Raises OptionError for a module without a recurrent layer.
    """
    found = dict(_recurrent(layer))
    if isinstance(layer, Cell):
        found = {"": Recurrent(layer)}
    if not found:
        raise OptionError(
            f"explain: expected a cell, a Recurrent, or a module with some inside, got "
            f"{type(layer).__name__}, which has none."
        )
    return [_explained(name, each, x) for name, each in found.items()]


def _recurrent(layer: nn.Module) -> Iterator[tuple[str, Recurrent]]:
    for name, each in layer.named_modules():
        if isinstance(each, Recurrent):
            yield name, each
        elif isinstance(each, RecurrentLayers):
            for own, part in each.named_layers():
                yield f"{name}.{own}" if name else own, part


def _explained(name: str, layer: Recurrent, x: Tensor) -> Explanation:
    cell = layer.cell
    row, why_not = choose_row(cell, x, layer.row)
    if layer.row != "auto":
        others = [each for each in ROWS if each is not row]
        why_not = {each.name: f'the layer was made with row="{layer.row}"' for each in others}
    title = _named(cell)
    if "program" in why_not and layer.row == "auto":
        return Explanation(name, title, row, why_not, None, None, None)
    steps = MAKERS.get(row.name, step_program)(cell)
    return Explanation(name, title, row, why_not, *_programs(cell, steps))


def _named(cell: Cell) -> str:
    """A cell with its options, those within it first."""
    within = [part for part in cell.modules() if isinstance(part, Cell) and part is not cell]
    deeper = {part for outer in within for part in outer.modules() if part is not outer}
    said = [*(_named(part) for part in within if part not in deeper), cell.extra_repr()]
    return f"{type(cell).__name__}({', '.join(filter(None, said))})"


def _programs(cell: Cell, steps: StepProgram) -> tuple[str, str, str]:
    widths = {cell.hidden_size: "H", cell.input_size: "I"}
    reader = Reader(widths)
    forward = reader.work(steps.lowered) + reader.listing(steps.program)
    weights = steps.program.weights
    derived = steps.derived(True, (True,) * len(weights))
    backward = reader.listing(derived.program)
    numbers = sum(prod(value.shape) for value in derived.kept if value not in steps.program.sequences)
    kept = ", ".join(reader[value] for value in derived.kept)
    return forward, backward, f"kept for the backward pass: {kept}; {numbers} numbers a row and step"
