"""What the sides of a case share: sizes, a layer of ours, and what it is given."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells import Cell
from ostinato.drivers import Recurrent
from ostinato.kernels import choose_row
from ostinato.programs.compiled import step_program
from ostinato.programs.program import Op
from ostinato.programs.trace import Untraceable
from ostinato.wrappers import Bidirectional, Stack

Maker = Callable[[int, int], Cell]
"""Of a cell: `(input_size, hidden_size) → cell`."""


@dataclass(frozen=True)
class Sizes:
    hidden: int
    inputs: int
    time: int
    batch: int
    layers: int = 1
    both_ways: bool = False
    lengths: tuple[int, int] | None = None
    """the shortest and the longest row, which is T"""
    resets: float = 0.0
    """the share of steps before which a row starts anew"""

    def tiny(self) -> "Sizes":
        """The same kind of work, done in no time; odd sizes, so that nothing fits by chance."""
        small = replace(
            self,
            hidden=min(self.hidden, 11),
            inputs=self.hidden_if_equal(min(self.hidden, 11), min(self.inputs, 5)),
            time=min(self.time, 7),
            batch=min(self.batch, 6),
        )
        return small if self.lengths is None else replace(small, lengths=(2, small.time))

    def hidden_if_equal(self, hidden: int, inputs: int) -> int:
        return hidden if self.inputs == self.hidden else inputs

    def __str__(self) -> str:
        said = f"{self.layers}×{self.hidden}{' both ways' if self.both_ways else ''}"
        said += f", B={self.batch}, T={self.time}, I={self.inputs}"
        said += "" if self.lengths is None else ", lengths {}–{}".format(*self.lengths)
        return said + (f", {self.resets:.0%} resets" if self.resets else "")


def layers(cell: Maker, sizes: Sizes) -> nn.Module:
    """A layer of ours; a stack of several."""

    def one(inputs: int) -> nn.Module:
        ahead = Recurrent(cell(inputs, sizes.hidden))
        if not sizes.both_ways:
            return ahead
        return Bidirectional(ahead, Recurrent(cell(inputs, sizes.hidden), reverse=True))

    made = [one(sizes.inputs)]
    made += [one(made[0].output_size) for _ in range(sizes.layers - 1)]  # type: ignore[arg-type]
    return made[0] if len(made) == 1 else Stack(made)


@dataclass(frozen=True)
class Work:
    """A layer, and a batch for it. Rows come longest first, as packed sequences like them best."""

    sizes: Sizes
    layer: nn.Module
    x: Tensor
    gradient: Tensor
    """of the outputs"""
    lengths: Tensor | None = None
    resets: Tensor | None = None

    @classmethod
    def of(cls, cell: Maker, sizes: Sizes) -> "Work":
        layer = layers(cell, sizes)
        batch, time = sizes.batch, sizes.time
        lengths = resets = None
        if sizes.lengths is not None:
            shortest, longest = sizes.lengths
            lengths = torch.randint(shortest, longest + 1, (batch,)).sort(descending=True).values
            lengths[0] = time
        if sizes.resets:
            resets = torch.rand(batch, time) < sizes.resets
        x = torch.randn(batch, time, sizes.inputs)
        gradient = torch.randn(batch, time, int(layer.output_size))  # type: ignore[arg-type]
        return cls(sizes, layer, x, gradient, lengths, resets)

    @property
    def marks(self) -> dict[str, Tensor]:
        """What a call of ours is given beside x."""
        marks = {"lengths": self.lengths, "resets": self.resets}
        return {name: each for name, each in marks.items() if each is not None}

    @property
    def steps(self) -> int:
        """Of all rows together, padding left out."""
        padded = self.sizes.batch * self.sizes.time
        return padded if self.lengths is None else int(self.lengths.sum())

    def on(self, cell: Maker) -> "Work":
        """The same batch for layers of another cell; each time the same ones."""
        torch.manual_seed(1)
        return replace(self, layer=layers(cell, self.sizes))

    def rows(self) -> list[str]:
        """Who runs it."""
        parts = [each for each in self.layer.modules() if isinstance(each, Recurrent)]
        ran = (choose_row(each.cell, self.x, each.row)[0].name for each in parts)
        return sorted(set(ran))

    def products(self, training: bool) -> int | None:
        """Multiplications and additions of the matrix products that the work needs, as its steps'
        programs have them; None for a step that is none.

        Backwards one more for the gradient of each weight and of what it is multiplied with, but the
        data, which have no gradient.
        """
        products = 0
        layers = self.layer.layers if isinstance(self.layer, Stack) else [self.layer]
        for index, layer in enumerate(layers):
            for each in (part for part in layer.modules() if isinstance(part, Recurrent)):
                try:
                    parts = step_program(each.cell).parts
                except Untraceable:
                    return None
                of_x, of_state = map(_products, (parts.before, (*parts.walk, *parts.after)))
                products += of_x + of_state
                if training:
                    products += 2 * of_state + (2 if index else 1) * of_x
        return 2 * products * self.steps


def _products(ops: Iterable[Op]) -> int:
    """Multiplications that a row takes."""
    made = ((op.output, next(op.values)) for op in ops if op.kind == "product")
    return sum(prod(output.shape) * read.shape[-1] for output, read in made)


def on_row(network: nn.Module, row: Any) -> nn.Module:
    """All its layers on one row."""
    for each in network.modules():
        if isinstance(each, Recurrent):
            each.row = row
    return network
